import type { CgroupFacts } from '../host/index.js';
import type { Limit } from './limits.js';

/** What to write into a v1 group for one or more limits in cgroup2's shape. */
export interface LegacyWrite {
  file: string;
  value: string;
  /** May be missing. */
  optional?: boolean;
}

/** v1's name of a cgroup2 controller. */
export function legacyController(controller: string): string {
  return controller === 'io' ? 'blkio' : controller;
}

/**
 * Maps the limits of one controller to v1 files. Limits come together because two of cgroup2's can be one of v1's:
 * v1 counts memory plus swap.
 * @returns the writes in order, or the limit that v1 can't express and why
 * @see Documentation/admin-guide/cgroup-v1 of the kernel
 */
export function legacyWrites(
  limits: readonly Limit[],
  facts: CgroupFacts,
): LegacyWrite[] | { refused: Limit; reason: string } {
  const out: LegacyWrite[] = [];
  for (const limit of limits) {
    if (limit.only === 'v1') {
      out.push({ file: limit.file, value: limit.value });
      continue;
    }
    const made = mapOne(limit, limits, facts);
    if (typeof made === 'string') return { refused: limit, reason: made };
    out.push(...(limit.optional ? made.map((w) => ({ ...w, optional: true })) : made));
  }
  return out;
}

/** The writes, or a reason why not. */
function mapOne(limit: Limit, all: readonly Limit[], facts: CgroupFacts): LegacyWrite[] | string {
  const one = (file: string, value: string): LegacyWrite[] => [{ file, value }];
  const { file, value } = limit;
  switch (file) {
    case 'memory.max':
      return one('memory.limit_in_bytes', value === 'max' ? '-1' : value);
    case 'memory.low':
      return one('memory.soft_limit_in_bytes', value === 'max' ? '-1' : value);
    case 'memory.swap.max': {
      if (value === 'max') return one('memory.memsw.limit_in_bytes', '-1');
      const memory = all.find((l) => l.file === 'memory.max')?.value;
      if (memory === undefined || memory === 'max') {
        return 'cgroup v1 limits memory plus swap, so a limit of memory is needed too (--memory)';
      }
      return one('memory.memsw.limit_in_bytes', String(parseBytes(memory) + parseBytes(value)));
    }
    case 'cpu.weight':
      return one('cpu.shares', limit.legacy ?? String(Math.max(2, Math.round((Number(value) * 1024) / 100))));
    case 'cpu.max': {
      const [quota, period = '100000'] = value.split(' ');
      // The period first: a quota is checked against the period it meets.
      return [
        { file: 'cpu.cfs_period_us', value: period },
        { file: 'cpu.cfs_quota_us', value: quota === 'max' ? '-1' : String(quota) },
      ];
    }
    case 'cpu.max.burst':
      return one('cpu.cfs_burst_us', value);
    case 'cpu.idle':
      return one('cpu.idle', value);
    case 'cpuset.cpus':
    case 'cpuset.mems':
    case 'pids.max':
      return one(file, value);
    case 'io.weight':
      if (facts.ioWeight === null) {
        return 'weights need the bfq scheduler, which this kernel does not have (CONFIG_IOSCHED_BFQ)';
      }
      if (!value.startsWith('default ')) return one(`${facts.ioWeight}_device`, limit.legacy ?? value);
      return one(facts.ioWeight, limit.legacy ?? String(blkioWeight(Number(value.slice(8)))));
    case 'io.max':
      return throttles(value);
  }
  const hugetlb = /^hugetlb\.([^.]+)\.(rsvd\.)?max$/.exec(file);
  if (hugetlb) {
    return one(`hugetlb.${hugetlb[1]}.${hugetlb[2] ?? ''}limit_in_bytes`, value === 'max' ? '-1' : value);
  }
  return `cgroup v1 has nothing like ${file}`;
}

/** 1…10000 → Docker's 10…1000. */
function blkioWeight(weight: number): number {
  return Math.round(10 + ((weight - 1) * 990) / 9999);
}

const THROTTLES: Record<string, string> = {
  rbps: 'blkio.throttle.read_bps_device',
  wbps: 'blkio.throttle.write_bps_device',
  riops: 'blkio.throttle.read_iops_device',
  wiops: 'blkio.throttle.write_iops_device',
};

/** `8:0 rbps=1048576 wiops=max` → one file per key; 0 is no limit in v1. */
function throttles(value: string): LegacyWrite[] | string {
  const [device, ...keys] = value.split(' ');
  const out: LegacyWrite[] = [];
  for (const entry of keys) {
    const [key = '', rate = ''] = entry.split('=');
    const file = THROTTLES[key];
    if (!file) return `cgroup v1 cannot throttle by ${key}`;
    out.push({ file, value: `${device} ${rate === 'max' ? '0' : rate}` });
  }
  return out;
}

/** Bytes with the kernel's suffixes K, M, G, T. */
export function parseBytes(text: string): number {
  const m = /^(\d+)([KMGT]?)$/i.exec(text.trim());
  if (!m) return Number.NaN;
  const unit = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }[(m[2] ?? '').toUpperCase()] ?? 1;
  return Number(m[1]) * unit;
}
