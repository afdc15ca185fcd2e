import { InvalidError } from '../base/index.js';
import type { SpecResources } from '../spec/index.js';

/**
 * A limit in the shape of cgroup2, whatever hierarchy enforces it in the end: the one vocabulary between the
 * OCI resources above and the back ends below.
 */
export interface Limit {
  /** cgroup2's controller name: memory, cpu, cpuset, pids, io, hugetlb, rdma, misc; `cgroup` for core files. */
  controller: string;
  /** File name of cgroup2, `memory.max`. For what only v1 has: the name there, with `only: 'v1'`. */
  file: string;
  value: string;
  /** `v1`: cgroup2 has nothing of the kind; `reason` says why. */
  only?: 'v1';
  reason?: string;
  /** Exact v1 value where the way over cgroup2's scale would lose digits. */
  legacy?: string;
  /** May be missing (an additional file of newer kernels). */
  optional?: boolean;
}

/** What a fresh group has: asking for it needs no controller. */
const DEFAULTS: Record<string, string> = {
  'memory.max': 'max',
  'memory.high': 'max',
  'memory.low': '0',
  'memory.min': '0',
  'memory.swap.max': 'max',
  'memory.swap.high': 'max',
  'memory.oom.group': '0',
  'cpu.weight': '100',
  'cpu.max.burst': '0',
  'cpu.idle': '0',
  'cpuset.cpus': '',
  'cpuset.mems': '',
  'pids.max': 'max',
  'io.weight': 'default 100',
};

/** Whether a limit is what every group has from the start. */
export function isDefault(limit: Limit): boolean {
  if (limit.only) return false;
  if (limit.file === 'cpu.max') return /^max( |$)/.test(limit.value);
  if (/^hugetlb\..*\.max$/.test(limit.file)) return limit.value === 'max';
  return DEFAULTS[limit.file] === limit.value;
}

/**
 * The limits that OCI resources ask for, in the order in which they are written.
 * @throws InvalidError for values that no kernel takes, and for swap without memory
 */
export function limitsOf(resources: SpecResources): Limit[] {
  const { 'cpu.idle': idle, ...unified } = resources.unified ?? {};
  return [
    ...memoryLimits(resources.memory ?? {}),
    ...cpuLimits(resources.cpu ?? {}, idle),
    ...pidsLimits(resources.pids),
    ...ioLimits(resources.blockIO ?? {}),
    ...hugetlbLimits(resources.hugepageLimits ?? []),
    ...networkLimits(resources.network ?? {}),
    ...Object.entries(resources.rdma ?? {}).map(([device, r]): Limit => {
      const parts = [device];
      if (r.hcaHandles !== undefined) parts.push(`hca_handle=${r.hcaHandles}`);
      if (r.hcaObjects !== undefined) parts.push(`hca_object=${r.hcaObjects}`);
      return { controller: 'rdma', file: 'rdma.max', value: parts.join(' ') };
    }),
    ...Object.entries(unified).map(([file, value]) => rawLimit(file, value)),
  ];
}

function memoryLimits(memory: NonNullable<SpecResources['memory']>): Limit[] {
  const out: Limit[] = [];
  const { limit, swap, reservation, swappiness } = memory;
  const set = (file: string, value: string): number => out.push({ controller: 'memory', file, value });
  if (limit !== undefined && limit !== 0) set('memory.max', bytes('memory.limit', limit));
  if (swap !== undefined && swap !== 0) set('memory.swap.max', swapMax(limit, swap));
  if (reservation !== undefined && reservation !== 0)
    set('memory.low', reservation < 0 ? 'max' : bytes('memory.reservation', reservation));
  if (swappiness !== undefined && swappiness >= 0 && swappiness <= 200) {
    out.push({
      controller: 'memory',
      file: 'memory.swappiness',
      value: String(swappiness),
      only: 'v1',
      reason: 'cgroup2 has no swappiness per group; limit swap itself with --memory-swap',
    });
  }
  if (memory.disableOOMKiller) {
    out.push({
      controller: 'memory',
      file: 'memory.oom_control',
      value: '1',
      only: 'v1',
      reason: 'cgroup2 cannot switch the OOM killer off; use --cgroup-conf memory.high=… to throttle instead',
    });
  }
  if (memory.kernelTCP !== undefined && memory.kernelTCP > 0) {
    out.push({
      controller: 'memory',
      file: 'memory.kmem.tcp.limit_in_bytes',
      value: String(memory.kernelTCP),
      only: 'v1',
      reason: 'cgroup2 counts socket buffers as memory: limit memory as a whole',
    });
  }
  if (memory.kernel !== undefined && memory.kernel > 0) {
    throw new InvalidError(
      'kernel memory cannot be limited on its own: Linux dropped it in 5.16 and counts it as memory',
      {
        code: 'INVALID_SPEC',
        path: 'linux.resources.memory.kernel',
        hint: 'limit memory as a whole',
      },
    );
  }
  return out;
}

/** OCI counts memory plus swap, cgroup2 swap alone. */
function swapMax(limit: number | undefined, swap: number): string {
  if (swap < 0) return 'max';
  if (limit === undefined || limit <= 0) {
    throw new InvalidError('a limit of memory plus swap needs a limit of memory', {
      path: 'linux.resources.memory.swap',
      hint: 'give --memory as well as --memory-swap',
    });
  }
  if (swap < limit) {
    throw new InvalidError(
      `memory plus swap (${swap} bytes) must be at least the memory limit (${limit} bytes)`,
      {
        path: 'linux.resources.memory.swap',
      },
    );
  }
  return String(swap - limit);
}

function bytes(field: string, value: number): string {
  if (value < 0) return 'max';
  if (!Number.isFinite(value))
    throw new InvalidError(`linux.resources.${field}: expected bytes, got ${value}`);
  // A value beyond 2^53 is a number of bytes that nobody has: the kernel takes it as no limit.
  return value >= Number.MAX_SAFE_INTEGER ? 'max' : String(Math.floor(value));
}

/** 2…262144 with 1024 as default → 1…10000 with 100 as default. */
export function weightOfShares(shares: number): number {
  // The scheduler's own scale (sched_weight_from_cgroup in kernel/sched/sched.h): proportions hold, 1:3 stays 1:3.
  return Math.min(10000, Math.max(1, Math.round((shares * 100) / 1024)));
}

/** Docker's 10…1000 with 500 as default → 1…10000 of io.weight. */
export function ioWeightOfBlkio(weight: number): number {
  return Math.round(1 + ((weight - 10) * 9999) / 990);
}

/** @param rawIdle cpu.idle as a raw file, which decides over weights like cpu.idle of the spec */
function cpuLimits(cpu: NonNullable<SpecResources['cpu']>, rawIdle: string | undefined): Limit[] {
  const out: Limit[] = [];
  const set = (file: string, value: string, legacy?: string): void => {
    out.push({
      controller: file.startsWith('cpuset') ? 'cpuset' : 'cpu',
      file,
      value,
      ...(legacy ? { legacy } : {}),
    });
  };
  const idle = rawIdle?.trim() ?? cpu.idle?.toString();
  // First: the kernel refuses a weight for an idle group.
  if (idle !== undefined) set('cpu.idle', idle);
  if (cpu.shares !== undefined && cpu.shares > 0 && (idle === undefined || idle === '0')) {
    const shares = Math.min(262144, Math.max(2, cpu.shares));
    set('cpu.weight', String(weightOfShares(shares)), String(shares));
  }
  if (cpu.quota || cpu.period) {
    const quota = cpu.quota && cpu.quota > 0 ? String(cpu.quota) : 'max';
    set('cpu.max', `${quota} ${cpu.period || 100000}`);
  }
  if (cpu.burst !== undefined) set('cpu.max.burst', String(cpu.burst));
  if (cpu.realtimePeriod || cpu.realtimeRuntime) {
    throw new InvalidError(
      'real-time scheduling cannot be limited per group (cpu.realtimeRuntime, --cpu-rt-runtime)',
      {
        path: 'linux.resources.cpu.realtimeRuntime',
        hint: 'cgroup2 has no such control; give the container CAP_SYS_NICE and an rtprio ulimit, and confine it with --cpus and --cpuset-cpus',
      },
    );
  }
  if (cpu.cpus) set('cpuset.cpus', cpu.cpus);
  if (cpu.mems) set('cpuset.mems', cpu.mems);
  return out;
}

function pidsLimits(pids: SpecResources['pids']): Limit[] {
  if (pids?.limit === undefined) return [];
  return [{ controller: 'pids', file: 'pids.max', value: pids.limit > 0 ? String(pids.limit) : 'max' }];
}

function ioLimits(io: NonNullable<SpecResources['blockIO']>): Limit[] {
  const out: Limit[] = [];
  const weigh = (weight: number): string => {
    if (weight < 10 || weight > 1000) {
      throw new InvalidError(`a block IO weight is between 10 and 1000, not ${weight}`, {
        path: 'linux.resources.blockIO.weight',
      });
    }
    return String(ioWeightOfBlkio(weight));
  };
  if (io.weight)
    out.push({
      controller: 'io',
      file: 'io.weight',
      value: `default ${weigh(io.weight)}`,
      legacy: String(io.weight),
    });
  for (const d of io.weightDevice ?? []) {
    if (!d.weight) continue;
    out.push({
      controller: 'io',
      file: 'io.weight',
      value: `${d.major}:${d.minor} ${weigh(d.weight)}`,
      legacy: `${d.major}:${d.minor} ${d.weight}`,
    });
  }
  const leaf = io.leafWeight || io.weightDevice?.find((d) => d.leafWeight)?.leafWeight;
  if (leaf) {
    throw new InvalidError(
      'blockIO.leafWeight was a setting of the CFQ scheduler, which Linux dropped in 5.0',
      {
        path: 'linux.resources.blockIO.leafWeight',
        hint: 'use blockIO.weight',
      },
    );
  }
  const perDevice = new Map<string, string[]>();
  const throttle = (
    key: string,
    list: { major: number; minor: number; rate: number }[] | undefined,
  ): void => {
    for (const { major, minor, rate } of list ?? []) {
      const device = `${major}:${minor}`;
      const entry = `${key}=${rate > 0 ? rate : 'max'}`;
      perDevice.set(device, [...(perDevice.get(device) ?? []), entry]);
    }
  };
  throttle('rbps', io.throttleReadBpsDevice);
  throttle('wbps', io.throttleWriteBpsDevice);
  throttle('riops', io.throttleReadIOPSDevice);
  throttle('wiops', io.throttleWriteIOPSDevice);
  for (const [device, keys] of perDevice) {
    out.push({ controller: 'io', file: 'io.max', value: `${device} ${keys.join(' ')}` });
  }
  return out;
}

function hugetlbLimits(limits: NonNullable<SpecResources['hugepageLimits']>): Limit[] {
  return limits.flatMap(({ pageSize, limit }): Limit[] => {
    const value = limit >= Number.MAX_SAFE_INTEGER ? 'max' : String(limit);
    return [
      { controller: 'hugetlb', file: `hugetlb.${pageSize}.max`, value },
      // Reservations (mmap) as well as faults, so that a program learns at mmap and not by SIGBUS. Linux 5.7.
      { controller: 'hugetlb', file: `hugetlb.${pageSize}.rsvd.max`, value, optional: true },
    ];
  });
}

function networkLimits(network: NonNullable<SpecResources['network']>): Limit[] {
  const reason = 'cgroup2 has no network classes; match the cgroup itself in nftables (socket cgroupv2)';
  const out: Limit[] = [];
  if (network.classID) {
    const value = String(network.classID);
    out.push({ controller: 'net_cls', file: 'net_cls.classid', value, only: 'v1', reason });
  }
  for (const { name, priority } of network.priorities ?? []) {
    const value = `${name} ${priority}`;
    out.push({ controller: 'net_prio', file: 'net_prio.ifpriomap', value, only: 'v1', reason });
  }
  return out;
}

function rawLimit(file: string, value: string): Limit {
  const at = `linux.resources.unified["${file}"]`;
  if (!/^[a-z0-9_]+\.[A-Za-z0-9_.]+$/.test(file) || file.includes('..')) {
    throw new InvalidError(`${at}: not the name of a cgroup2 file`, {
      path: at,
      hint: 'names look like memory.high; they are listed in Documentation/admin-guide/cgroup-v2.rst of the kernel',
    });
  }
  if (/^cgroup\.(procs|threads|subtree_control|type|freeze|kill)$/.test(file)) {
    throw new InvalidError(`${at}: nsbox itself writes ${file}`, { path: at });
  }
  return { controller: file.slice(0, file.indexOf('.')), file, value };
}
