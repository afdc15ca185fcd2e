const USAGE: Record<string, string> = {
  create: 'create [-b BUNDLE] [--console-socket PATH] [--pid-file FILE] [--preserve-fds N] CONTAINER',
  run: 'run [-b BUNDLE] [-d] [--keep] [--console-socket PATH] [--pid-file FILE] CONTAINER',
  start: 'start CONTAINER',
  state: 'state CONTAINER',
  kill: 'kill [-a] CONTAINER [SIGNAL]',
  delete: 'delete [-f] [--regex] CONTAINER',
  list: 'list [-f table|json] [-q]',
  ps: 'ps [-f table|json] CONTAINER [PS-OPTIONS]',
  pause: 'pause CONTAINER',
  resume: 'resume CONTAINER',
  exec: 'exec [-d] [-t] [-u UID[:GID]] [-e K=V] [--cwd DIR] [-p PROCESS.JSON] CONTAINER [COMMAND [ARG…]]',
  events: 'events [--stats] [--interval DURATION] CONTAINER',
  update: 'update [-r FILE|-] [--memory BYTES] [--cpu-quota N] … CONTAINER',
  spec: 'spec [-b BUNDLE]',
  features: 'features',
  mounts: 'mounts add|remove CONTAINER FILE',
  checkpoint:
    'checkpoint [--image-path DIR] [--work-path DIR] [--parent-path DIR] [--leave-running] [--pre-dump] [--tcp-established] [--tcp-skip-in-flight] [--ext-unix-sk] [--shell-job] [--file-locks] [--link-remap] [--lazy-pages] [--status-fd N] [--page-server ADDRESS:PORT] [--manage-cgroups-mode soft|full|strict|ignore] [--empty-ns network] [--auto-dedup] CONTAINER',
  restore:
    'restore [-b BUNDLE] [-d] [--image-path DIR] [--work-path DIR] [--console-socket PATH] [--pid-file FILE] [--tcp-established] [--ext-unix-sk] [--shell-job] [--file-locks] [--lazy-pages] [--manage-cgroups-mode soft|full|strict|ignore] [--empty-ns network] [--auto-dedup] [--lsm-profile TYPE:NAME] [--lsm-mount-context CONTEXT] CONTAINER',
};

/** What `--help` prints, for one command or all. */
export function helpText(commands: readonly string[], one?: string): string {
  const global =
    '[--root DIR] [--log FILE] [--log-format text|json] [--debug] [--systemd-cgroup] [--cgroup-manager cgroupfs|systemd|disabled] [--criu PATH]';
  if (one !== undefined && USAGE[one]) return `Usage: nsbox-oci ${global} ${USAGE[one]}\n`;
  return [
    'nsbox-oci - runs containers of OCI bundles, for podman, containerd, CRI-O and Docker',
    '',
    `Usage: nsbox-oci ${global} COMMAND`,
    '',
    ...commands.map((c) => `  ${USAGE[c] ?? c}`),
    '',
  ].join('\n');
}
