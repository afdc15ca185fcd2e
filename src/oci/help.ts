const USAGE: Record<string, string> = {
  create:
    'create [-b|--bundle DIR] [-f|--config FILE] [--console-socket PATH] [--pid-file FILE] [--pidfd-socket PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] [--no-subreaper] CONTAINER',
  run: 'run [-b|--bundle DIR] [-f|--config FILE] [-d|--detach] [--keep] [--console-socket PATH] [--pid-file FILE] [--pidfd-socket PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] [--no-subreaper] CONTAINER',
  start: 'start CONTAINER',
  state: 'state CONTAINER',
  kill: 'kill [-a|--all] [-r|--regex] CONTAINER [SIGNAL]',
  delete: 'delete [-f|--force] [--regex] CONTAINER',
  list: 'list [-f|--format table|json] [-q|--quiet]',
  ps: 'ps [-f|--format table|json] CONTAINER [PS-OPTIONS]',
  pause: 'pause CONTAINER',
  resume: 'resume CONTAINER',
  exec: 'exec [-d|--detach] [-t|--tty] [-u|--user UID[:GID]] [-g|--additional-gids GID] [-e|--env K=V] [--cwd DIR] [-p|--process FILE] [-c|--cap CAPABILITY] [--no-new-privs] [--apparmor PROFILE] [--process-label LABEL] [--cgroup [CONTROLLER:]PATH] [--ignore-paused] [--console-socket PATH] [--pid-file FILE] [--pidfd-socket PATH] [--preserve-fds N] CONTAINER [COMMAND [ARG…]]',
  events: 'events [--stats] [--interval DURATION] CONTAINER',
  update:
    'update [-r|--resources FILE|-] [--memory BYTES] [--memory-reservation BYTES] [--memory-swap BYTES] [--kernel-memory BYTES] [--kernel-memory-tcp BYTES] [--cpu-period N] [--cpu-quota N] [--cpu-burst N] [--cpu-rt-period N] [--cpu-rt-runtime N] [--cpu-share N] [--cpu-idle 0|1] [--cpuset-cpus LIST] [--cpuset-mems LIST] [--blkio-weight N] [--pids-limit N] [--l3-cache-schema SCHEMA] [--mem-bw-schema SCHEMA] CONTAINER',
  spec: 'spec [-b|--bundle DIR] [--rootless]',
  features: 'features',
  mounts: 'mounts add|remove CONTAINER FILE',
  checkpoint:
    'checkpoint [--image-path DIR] [--work-path DIR] [--parent-path DIR] [--leave-running] [--pre-dump] [--tcp-established] [--tcp-skip-in-flight] [--ext-unix-sk] [--shell-job] [--file-locks] [--link-remap] [--lazy-pages] [--status-fd N] [--page-server ADDRESS:PORT] [--manage-cgroups-mode soft|full|strict|ignore] [--empty-ns network] [--auto-dedup] CONTAINER',
  restore:
    'restore [-b|--bundle DIR] [-d|--detach] [--image-path DIR] [--work-path DIR] [--console-socket PATH] [--pid-file FILE] [--no-subreaper] [--no-pivot] [--tcp-established] [--ext-unix-sk] [--shell-job] [--file-locks] [--lazy-pages] [--manage-cgroups-mode soft|full|strict|ignore] [--empty-ns network] [--auto-dedup] [--lsm-profile TYPE:NAME] [--lsm-mount-context CONTEXT] CONTAINER',
};

/** What `--help` prints, for one command or all. */
export function helpText(commands: readonly string[], one?: string): string {
  const global =
    '[--root DIR] [--log FILE] [--log-format text|json] [--debug] [--rootless true|false|auto] [--systemd-cgroup] [--cgroup-manager cgroupfs|systemd|disabled] [--criu PATH] [-h|--help] [-v|--version]';
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
