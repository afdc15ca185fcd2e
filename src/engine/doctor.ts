import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { type Context, packageRoot } from '../base/index.js';
import { controllerReport } from '../cgroup/index.js';
import { type FeatureName, type HostFacts, hostFacts } from '../host/index.js';

/** One thing that `nsbox doctor` looked at. */
export interface Finding {
  level: 'ok' | 'note' | 'problem';
  what: string;
  /** What is so. */
  found: string;
  /** What it means and what to do; for what isn't ok. */
  advice?: string | undefined;
}

/** What a missing feature costs, and whether containers start without it. */
const FEATURES: readonly [FeatureName, string, 'note' | 'problem', string][] = [
  ['clone3', 'clone3', 'problem', 'Linux 5.3 or newer is needed'],
  ['newMountApi', 'new mount API', 'problem', 'Linux 5.2 or newer is needed'],
  ['openat2', 'openat2', 'problem', 'Linux 5.6 or newer is needed'],
  ['pidfd', 'pidfds', 'problem', 'Linux 5.3 or newer is needed'],
  ['mountSetattr', 'mount_setattr', 'note', 'without it (Linux 5.12) binds are made read-only one by one'],
  [
    'idmappedRoot',
    'idmapped mounts of the root directory',
    'note',
    'containers run with the ids of the host: put --root on ext4, xfs or btrfs',
  ],
  [
    'idmappedOverlay',
    'idmapped layers under overlayfs',
    'note',
    'containers of images run with the ids of the host before Linux 5.19',
  ],
  ['cgroupKill', 'cgroup.kill', 'note', 'before Linux 5.14 processes are killed one by one'],
  ['cgroupFreeze', 'cgroup freezer', 'note', 'pause needs Linux 5.2 or the v1 freezer'],
  [
    'bpfDevice',
    'device programs (BPF)',
    'note',
    'device access is then limited by the user namespace and the nodes in /dev alone',
  ],
  ['overlayVolatile', 'volatile overlays', 'note', 'containers with --rm end more slowly before Linux 5.10'],
  ['psi', 'pressure stall information', 'note', 'stats show no pressure; boot with psi=1'],
];

/** Looks at the machine and says what is missing, what it costs and what to do. */
export function examineHost(ctx: Context): Finding[] {
  const findings: Finding[] = [];
  const add = (ok: boolean, level: 'note' | 'problem', what: string, found: string, advice: string) =>
    findings.push(ok ? { level: 'ok', what, found } : { level, what, found, advice });

  add(
    existsSync(`${packageRoot()}/build/Release/nsbox-init`),
    'problem',
    'native helper',
    `${packageRoot()}/build/Release/nsbox-init`,
    'build it: npm run build',
  );
  let host: HostFacts;
  try {
    host = hostFacts(ctx);
  } catch (error) {
    add(false, 'problem', 'host facts', String((error as Error).message), 'build it: npm run build');
    return findings;
  }
  add(true, 'problem', 'kernel', `${host.kernel.release} ${host.machine}`, '');
  add(
    host.capabilities.effective.includes('SYS_ADMIN'),
    'problem',
    'root',
    process.geteuid?.() === 0 ? 'uid 0' : `uid ${process.geteuid?.()}`,
    'nsbox needs root with CAP_SYS_ADMIN: run it with sudo',
  );
  for (const name of ['SYS_RESOURCE', 'NET_ADMIN', 'MKNOD', 'SETFCAP', 'SYS_CHROOT']) {
    add(
      host.capabilities.effective.includes(name),
      'note',
      `CAP_${name}`,
      host.capabilities.effective.includes(name) ? 'have' : 'missing',
      CAPABILITY_ADVICE[name]!,
    );
  }
  for (const [feature, what, level, advice] of FEATURES) {
    const known = host.features[feature];
    add(
      known.have,
      level,
      what,
      `${known.have ? 'yes' : 'no'} (${known.how}${known.detail ? ` ${known.detail}` : ''})`,
      advice,
    );
  }
  add(
    host.userns.available && host.ids.ranges.count > 0,
    'note',
    'user namespaces',
    host.userns.available
      ? `${host.ids.ranges.count} ranges of ${host.ids.ranges.size} ids`
      : (host.userns.reason ?? 'no'),
    'root inside a container is then root outside',
  );
  add(
    host.seccomp.available,
    'problem',
    'seccomp',
    host.seccomp.actions.join(' ') || 'no',
    'use a kernel with CONFIG_SECCOMP_FILTER',
  );
  addCgroups(host, add);
  addPlaces(ctx, host, add);
  return findings;
}

const CAPABILITY_ADVICE: Record<string, string> = {
  SYS_RESOURCE: '--ulimit above the present hard limit and a lower --oom-score-adj are refused by the kernel',
  NET_ADMIN: 'no bridge network: use --network none or host',
  MKNOD: 'no devices by --device',
  SETFCAP: 'file capabilities in layers and user namespaces with root mapped are refused',
  SYS_CHROOT: 'exec into containers is refused',
};

type Add = (ok: boolean, level: 'note' | 'problem', what: string, found: string, advice: string) => void;

function addCgroups(host: HostFacts, add: Add): void {
  const { cgroup } = host;
  const v1 = Object.keys(cgroup.v1);
  add(
    cgroup.mode === 'unified',
    'note',
    'cgroups',
    cgroup.mode === 'unified' ? 'cgroup2' : `${cgroup.mode}${v1.length > 0 ? `, v1: ${v1.join(' ')}` : ''}`,
    cgroup.mode === 'none'
      ? 'nothing is mounted at /sys/fs/cgroup: no limits, no figures'
      : 'controllers bound to v1 are driven there; booting with systemd.unified_cgroup_hierarchy=1 gives cgroup2 alone',
  );
  for (const report of controllerReport(cgroup)) {
    add(
      report.place !== undefined,
      'note',
      `${report.controller} controller`,
      report.place === undefined
        ? (report.why ?? 'none')
        : `${report.version === 2 ? 'cgroup2' : 'cgroup v1'} at ${report.place}`,
      `limits of ${report.controller} are refused; ${report.remedy ?? ''}`,
    );
  }
}

function addPlaces(ctx: Context, host: HostFacts, add: Add): void {
  let free: number | undefined;
  try {
    const fs = statfsSync(ctx.root);
    free = fs.bavail * fs.bsize;
  } catch {
    // not there yet
  }
  add(
    host.root.filesystem !== 'overlay',
    'problem',
    'root directory',
    `${ctx.root} on ${host.root.filesystem}`,
    'overlayfs takes no upper directory on overlayfs: use --root on another filesystem',
  );
  if (free !== undefined) {
    add(
      free > 1e9,
      'note',
      'free space',
      `${(free / 1e9).toFixed(1)} GB below ${ctx.root}`,
      'make room: nsbox system prune',
    );
  }
  const forward = readOr('/proc/sys/net/ipv4/ip_forward');
  add(forward !== undefined, 'note', 'network', `ip_forward=${forward ?? '?'}`, 'is /proc/sys there?');
}

function readOr(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}
