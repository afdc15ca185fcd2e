import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { CgroupFacts } from './facts.js';
import { parseMountinfo } from './mountinfo.js';

/** The texts that say how cgroups are laid out; read once, so that the deciding part is pure. */
export interface CgroupSources {
  /** Lines of /proc/self/mountinfo of type cgroup and cgroup2. */
  mountinfo: string;
  /** /proc/self/cgroup */
  self: string;
  /** /proc/cgroups; empty where the kernel no longer has it. */
  cgroups: string;
  /** Reads a file below a mount point; undefined where it isn't there. */
  read: (file: string) => string | undefined;
  exists: (file: string) => boolean;
  /** Contents of /sys/block/…/queue/scheduler: `[none] mq-deadline bfq`. */
  schedulers: () => string[];
}

/** Reads a small file of /proc or /sys; undefined where it can't be read. */
export function readSmall(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1').trimEnd();
  } catch {
    return undefined;
  }
}

/** The sources of this machine. */
export function cgroupSources(mountinfo: string): CgroupSources {
  return {
    mountinfo,
    self: readSmall('/proc/self/cgroup') ?? '',
    cgroups: readSmall('/proc/cgroups') ?? '',
    read: readSmall,
    exists: existsSync,
    schedulers: () => blockDevices().map((device) => readSmall(`/sys/block/${device}/queue/scheduler`) ?? ''),
  };
}

function blockDevices(): string[] {
  try {
    return readdirSync('/sys/block');
  } catch {
    return [];
  }
}

/** Finds out which controller is bound where. See cgroups(7). */
export function cgroupFacts(sources: CgroupSources): CgroupFacts {
  const mounts = parseMountinfo(sources.mountinfo, (type) => type === 'cgroup' || type === 'cgroup2');
  // The last mount on a path covers earlier ones.
  const v2 = mounts.findLast((m) => m.type === 'cgroup2');
  const v1: Record<string, string> = {};
  for (const m of mounts) {
    if (m.type !== 'cgroup') continue;
    for (const option of m.superOptions) {
      if (!V1_CONTROLLERS.has(option)) continue;
      v1[option] = m.target;
    }
  }
  const controllers = v2
    ? (sources.read(`${v2.target}/cgroup.controllers`) ?? '').split(' ').filter(Boolean)
    : [];
  const mode = v2
    ? Object.keys(v1).length > 0
      ? 'hybrid'
      : 'unified'
    : Object.keys(v1).length > 0
      ? 'legacy'
      : 'none';
  const own = ownGroups(sources.self);
  // The real root alone has no cgroup.type.
  const type = v2 ? sources.read(`${v2.target}/cgroup.type`) : undefined;
  const cpusetRoot = v1['cpuset'] ?? (controllers.includes('cpuset') ? v2?.target : undefined);
  return {
    mode,
    unified: v2?.target ?? null,
    controllers,
    v1,
    known: knownControllers(sources.cgroups, controllers, v1),
    boundToV1: table(sources.cgroups, (hierarchy) => hierarchy !== '0'),
    disabled: table(sources.cgroups, (_, enabled) => enabled === '0'),
    ioWeight: ioWeightFile(sources, v2?.target, controllers, v1),
    own: ownFacts(sources.mountinfo, sources.self),
    realRoot: v2 ? type === undefined : true,
    type: type ?? 'domain',
    writable: v2 ? v2.options.includes('rw') : true,
    cpuset: cpusetOf(sources, cpusetRoot),
    swap: swapCounted(sources, v2?.target, controllers, v1, own),
    systemd:
      sources.exists('/run/systemd/system') &&
      (sources.exists('/run/systemd/private') || sources.exists('/run/dbus/system_bus_socket')),
  };
}

/**
 * The groups of this process below the mount points: unlike the rest, another for each process that asks.
 * @param mountinfo lines of type cgroup and cgroup2
 * @param self /proc/self/cgroup
 */
export function ownFacts(mountinfo: string, self: string): CgroupFacts['own'] {
  const own = ownGroups(self);
  const v1: Record<string, string> = {};
  let unified = '/';
  for (const m of parseMountinfo(mountinfo, (type) => type === 'cgroup' || type === 'cgroup2')) {
    if (m.type === 'cgroup2') unified = below(m.root, own[''] ?? '/');
    else {
      for (const c of m.superOptions) if (V1_CONTROLLERS.has(c)) v1[c] = below(m.root, own[c] ?? '/');
    }
  }
  return { unified, v1 };
}

const V1_CONTROLLERS = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'misc',
]);

/** `hierarchy-id:controllers:path` lines; the key of cgroup2 is ''. */
function ownGroups(self: string): Record<string, string> {
  const own: Record<string, string> = {};
  for (const line of self.split('\n')) {
    const [, names, ...path] = line.split(':');
    if (names === undefined) continue;
    for (const name of names.split(',')) own[name] = path.join(':') || '/';
  }
  return own;
}

/** A path of /proc/self/cgroup as seen below a mount whose root may itself be a group. */
function below(root: string, path: string): string {
  if (root === '/' || root.startsWith('/..')) return path.startsWith('/..') ? '/' : path;
  if (path === root) return '/';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : '/';
}

function knownControllers(cgroups: string, controllers: string[], v1: Record<string, string>): string[] {
  const enabled = table(cgroups, (_, on) => on === '1');
  const mounted = [...controllers.map((c) => (c === 'io' ? 'blkio' : c)), ...Object.keys(v1)];
  return [...new Set([...mounted, ...enabled])].sort();
}

/** Names of /proc/cgroups (`name hierarchy groups enabled`) that fit; see cgroups(7). */
function table(cgroups: string, fits: (hierarchy: string, enabled: string) => boolean): string[] {
  const names: string[] = [];
  for (const line of cgroups.split('\n')) {
    const [name, hierarchy, , enabled] = line.split(/\s+/);
    if (name && !name.startsWith('#') && fits(hierarchy ?? '', enabled ?? '')) names.push(name);
  }
  return names;
}

function ioWeightFile(
  sources: CgroupSources,
  unified: string | undefined,
  controllers: string[],
  v1: Record<string, string>,
): CgroupFacts['ioWeight'] {
  const legacy = v1['blkio'];
  if (legacy) {
    if (sources.exists(`${legacy}/blkio.bfq.io_service_bytes`)) return 'blkio.bfq.weight';
    return sources.exists(`${legacy}/blkio.weight`) ? 'blkio.weight' : null;
  }
  if (!unified || !controllers.includes('io')) return null;
  const schedulers = sources.schedulers();
  if (schedulers.some((s) => s.includes('[bfq]'))) return 'io.bfq.weight';
  // io.cost.qos is at the real root alone; io.weight everywhere else.
  if (sources.exists(`${unified}/io.cost.qos`) || sources.exists(`${unified}/io.weight`)) return 'io.weight';
  return schedulers.some((s) => s.includes('bfq')) ? 'io.bfq.weight' : null;
}

function cpusetOf(sources: CgroupSources, root: string | undefined): { cpus: string; mems: string } {
  const read = (what: string): string | undefined =>
    (root &&
      (sources.read(`${root}/cpuset.${what}.effective`) ||
        sources.read(`${root}/cpuset.effective_${what}`) ||
        sources.read(`${root}/cpuset.${what}`))) ||
    undefined;
  return {
    cpus: read('cpus') ?? sources.read('/sys/devices/system/cpu/online') ?? '0',
    mems: read('mems') ?? sources.read('/sys/devices/system/node/online') ?? '0',
  };
}

function swapCounted(
  sources: CgroupSources,
  unified: string | undefined,
  controllers: string[],
  v1: Record<string, string>,
  own: Record<string, string>,
): boolean {
  if (v1['memory']) return sources.exists(`${v1['memory']}/memory.memsw.limit_in_bytes`);
  if (!unified || !controllers.includes('memory')) return false;
  // The real root has no memory.swap.max; a group below has, where swap is counted. Without one to look at, the
  // kernel's default (on) holds.
  const file = `${unified}${own[''] === '/' ? '' : own['']}/memory.swap.max`;
  return sources.exists(file) || !sources.exists(file.replace('swap.max', 'max'));
}
