import { readFileSync } from 'node:fs';
import { type Groups, keyOf, pidsIn, readGroupFile } from './tree.js';

/** What a container uses, as the kernel counts it. Bytes, microseconds, counts. */
export interface Usage {
  cpu: {
    usageUsec: number;
    userUsec: number;
    systemUsec: number;
    /** Enforcement periods (--cpus) that passed, in which it was held back, and for how long. */
    periods: number;
    throttledPeriods: number;
    throttledUsec: number;
  };
  memory: {
    /** Working set as `docker stats` counts it: all minus inactive page cache. */
    usage: number;
    /** All that is charged. */
    total: number;
    /** Page cache, and anonymous memory. */
    cache: number;
    anon: number;
    swap: number;
    /** Highest total; null where the kernel keeps none (cgroup2 before 5.19). */
    peak: number | null;
    /** Highest use of swap; null where the kernel keeps none (cgroup v1, cgroup2 before 6.5). */
    swapPeak: number | null;
    /** null: no limit. */
    limit: number | null;
    swapLimit: number | null;
  };
  pids: { current: number; limit: number | null };
  io: IoUsage[];
  /** Share of time in which work waited; null without PSI. */
  pressure: { cpu: Pressure; memory: Pressure; io: Pressure } | null;
  /** How often something was refused, throttled or killed. */
  events: {
    /** memory.high was exceeded and the container throttled. */
    memoryHigh: number;
    /** memory.max was hit. */
    memoryMax: number;
    oom: number;
    oomKill: number;
    /** fork was refused. */
    pidsMax: number;
  };
}

export interface IoUsage {
  /** `major:minor`. */
  device: string;
  readBytes: number;
  writeBytes: number;
  reads: number;
  writes: number;
}

/** Averages in per cent over 10, 60 and 300 seconds, and the total in microseconds. See psi.rst of the kernel. */
export interface Pressure {
  some: PressureLine;
  full: PressureLine;
}
export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  totalUsec: number;
}

export interface NetworkUsage {
  name: string;
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}

/** Reads one file of a group; undefined where it isn't there. */
export type GroupReader = (directory: string, name: string) => string | undefined;

/**
 * Reads all figures of a container. A group that is gone reads as zero.
 * @param read where the files come from; default the kernel. The monitor's last report is another source.
 */
export function readUsage(groups: Groups, read: GroupReader = readGroupFile): Usage {
  return {
    cpu: readCpu(groups, read),
    memory: readMemory(groups, read),
    pids: readPids(groups, read),
    io: readIo(groups, read),
    pressure: readPressure(groups, read),
    events: readEvents(groups, read),
  };
}

/** A number, or null for `max` (and for v1's "unlimited", which is some 2^63). */
function limitOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const n = Number(text.trim());
  return Number.isFinite(n) && n < 2 ** 62 ? n : null;
}

function numberOf(text: string | undefined): number {
  const n = Number(text?.trim() ?? 0);
  return Number.isFinite(n) ? n : 0;
}

function readCpu({ unified, v1 }: Groups, read: GroupReader): Usage['cpu'] {
  const out = { usageUsec: 0, userUsec: 0, systemUsec: 0, periods: 0, throttledPeriods: 0, throttledUsec: 0 };
  const stat = unified ? read(unified, 'cpu.stat') : undefined;
  if (stat !== undefined) {
    out.usageUsec = keyOf(stat, 'usage_usec') ?? 0;
    out.userUsec = keyOf(stat, 'user_usec') ?? 0;
    out.systemUsec = keyOf(stat, 'system_usec') ?? 0;
    out.periods = keyOf(stat, 'nr_periods') ?? 0;
    out.throttledPeriods = keyOf(stat, 'nr_throttled') ?? 0;
    out.throttledUsec = keyOf(stat, 'throttled_usec') ?? 0;
  } else if (v1['cpuacct']) {
    // Nanoseconds, and ticks of 10 ms.
    out.usageUsec = Math.round(numberOf(read(v1['cpuacct'], 'cpuacct.usage')) / 1000);
    const ticks = read(v1['cpuacct'], 'cpuacct.stat');
    out.userUsec = (keyOf(ticks, 'user') ?? 0) * 10_000;
    out.systemUsec = (keyOf(ticks, 'system') ?? 0) * 10_000;
  }
  if (v1['cpu']) {
    const held = read(v1['cpu'], 'cpu.stat');
    out.periods = keyOf(held, 'nr_periods') ?? 0;
    out.throttledPeriods = keyOf(held, 'nr_throttled') ?? 0;
    out.throttledUsec = Math.round((keyOf(held, 'throttled_time') ?? 0) / 1000);
  }
  return out;
}

function readMemory({ unified, v1 }: Groups, read: GroupReader): Usage['memory'] {
  if (v1['memory']) return readLegacyMemory(v1['memory'], read);
  const file = (name: string): string | undefined => (unified ? read(unified, name) : undefined);
  const total = numberOf(file('memory.current'));
  const stat = file('memory.stat');
  const peak = file('memory.peak');
  const swapPeak = file('memory.swap.peak');
  return {
    usage: workingSet(total, keyOf(stat, 'inactive_file')),
    total,
    cache: keyOf(stat, 'file') ?? 0,
    anon: keyOf(stat, 'anon') ?? 0,
    swap: numberOf(file('memory.swap.current')),
    peak: peak === undefined ? null : numberOf(peak),
    swapPeak: swapPeak === undefined ? null : numberOf(swapPeak),
    limit: limitOf(file('memory.max')),
    swapLimit: limitOf(file('memory.swap.max')),
  };
}

function readLegacyMemory(directory: string, read: GroupReader): Usage['memory'] {
  const total = numberOf(read(directory, 'memory.usage_in_bytes'));
  const stat = read(directory, 'memory.stat');
  const limit = limitOf(read(directory, 'memory.limit_in_bytes'));
  const both = limitOf(read(directory, 'memory.memsw.limit_in_bytes'));
  return {
    usage: workingSet(total, keyOf(stat, 'total_inactive_file')),
    total,
    cache: keyOf(stat, 'total_cache') ?? 0,
    anon: keyOf(stat, 'total_rss') ?? 0,
    swap: keyOf(stat, 'total_swap') ?? 0,
    peak: numberOf(read(directory, 'memory.max_usage_in_bytes')),
    swapPeak: null,
    limit,
    swapLimit: both === null || limit === null ? null : Math.max(0, both - limit),
  };
}

function workingSet(total: number, inactive: number | undefined): number {
  return inactive !== undefined && inactive < total ? total - inactive : total;
}

function readPids({ unified, v1 }: Groups, read: GroupReader): Usage['pids'] {
  const directory = v1['pids'] ?? unified;
  if (!directory) return { current: 0, limit: null };
  const current = read(directory, 'pids.current');
  if (current !== undefined) {
    return { current: numberOf(current), limit: limitOf(read(directory, 'pids.max')) };
  }
  return { current: countThreads(directory), limit: null };
}

/** Without a pids controller: threads, as that counts. */
function countThreads(directory: string): number {
  let count = 0;
  for (const pid of pidsIn(directory)) {
    try {
      count += Number(/^Threads:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 1);
    } catch {
      // It ended meanwhile.
    }
  }
  return count;
}

function readIo({ unified, v1 }: Groups, read: GroupReader): IoUsage[] {
  if (v1['blkio']) return readLegacyIo(v1['blkio'], read);
  const text = unified ? read(unified, 'io.stat') : undefined;
  const out: IoUsage[] = [];
  for (const line of (text ?? '').split('\n')) {
    const [device, ...pairs] = line.split(' ').filter(Boolean);
    if (!device || pairs.length === 0) continue;
    const values = Object.fromEntries(pairs.map((p) => p.split('=') as [string, string]));
    out.push({
      device,
      readBytes: numberOf(values['rbytes']),
      writeBytes: numberOf(values['wbytes']),
      reads: numberOf(values['rios']),
      writes: numberOf(values['wios']),
    });
  }
  return out;
}

/** Lines `254:0 Read 4096`; the bfq files count what the throttle files don't see only where bfq schedules. */
function readLegacyIo(directory: string, read: GroupReader): IoUsage[] {
  const devices = new Map<string, IoUsage>();
  const fill = (name: string, reads: 'readBytes' | 'reads', writes: 'writeBytes' | 'writes'): void => {
    for (const line of (read(directory, name) ?? '').split('\n')) {
      const [device, what, value] = line.split(' ');
      if (!device || (what !== 'Read' && what !== 'Write')) continue;
      const entry = devices.get(device) ?? { device, readBytes: 0, writeBytes: 0, reads: 0, writes: 0 };
      entry[what === 'Read' ? reads : writes] = numberOf(value);
      devices.set(device, entry);
    }
  };
  fill('blkio.throttle.io_service_bytes_recursive', 'readBytes', 'writeBytes');
  fill('blkio.throttle.io_serviced_recursive', 'reads', 'writes');
  return [...devices.values()];
}

function readPressure({ unified }: Groups, read: GroupReader): Usage['pressure'] {
  if (!unified) return null;
  const cpu = read(unified, 'cpu.pressure');
  const memory = read(unified, 'memory.pressure');
  const io = read(unified, 'io.pressure');
  if (cpu === undefined || memory === undefined || io === undefined) return null;
  return { cpu: parsePressure(cpu), memory: parsePressure(memory), io: parsePressure(io) };
}

/** Parses a PSI file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and `full …`. */
export function parsePressure(text: string): Pressure {
  const line = (kind: string): PressureLine => {
    const m = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)`, 'm').exec(
      text,
    );
    return {
      avg10: Number(m?.[1] ?? 0),
      avg60: Number(m?.[2] ?? 0),
      avg300: Number(m?.[3] ?? 0),
      totalUsec: Number(m?.[4] ?? 0),
    };
  };
  return { some: line('some'), full: line('full') };
}

function readEvents({ unified, v1 }: Groups, read: GroupReader): Usage['events'] {
  const out = { memoryHigh: 0, memoryMax: 0, oom: 0, oomKill: 0, pidsMax: 0 };
  if (v1['memory']) {
    out.oomKill = keyOf(read(v1['memory'], 'memory.oom_control'), 'oom_kill') ?? 0;
    out.oom = out.oomKill;
    out.memoryMax = numberOf(read(v1['memory'], 'memory.failcnt'));
  } else if (unified) {
    const memory = read(unified, 'memory.events');
    out.memoryHigh = keyOf(memory, 'high') ?? 0;
    out.memoryMax = keyOf(memory, 'max') ?? 0;
    out.oom = keyOf(memory, 'oom') ?? 0;
    out.oomKill = keyOf(memory, 'oom_kill') ?? 0;
  }
  const pids = v1['pids'] ?? unified;
  if (pids) out.pidsMax = keyOf(read(pids, 'pids.events'), 'max') ?? 0;
  return out;
}

/**
 * Interfaces of a process's network namespace, without the loopback.
 * @param pid in our pid namespace; one that is gone has none
 */
export function readNetwork(pid: number): NetworkUsage[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, 'latin1');
  } catch {
    return [];
  }
  return parseNetDev(text).filter((n) => n.name !== 'lo');
}

/** Parses /proc/net/dev. See proc_pid_net(5). */
export function parseNetDev(text: string): NetworkUsage[] {
  const out: NetworkUsage[] = [];
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    out.push({
      name: line.slice(0, colon).trim(),
      rxBytes: n[0] ?? 0,
      rxPackets: n[1] ?? 0,
      rxErrors: n[2] ?? 0,
      rxDropped: n[3] ?? 0,
      txBytes: n[8] ?? 0,
      txPackets: n[9] ?? 0,
      txErrors: n[10] ?? 0,
      txDropped: n[11] ?? 0,
    });
  }
  return out;
}
