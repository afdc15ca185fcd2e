import { type Context, isErrno, monotonicMs } from '../base/index.js';
import { findGroups, type NetworkUsage, readNetwork, readUsage, type Usage } from '../cgroup/index.js';
import { type ContainerState, isUp, listContainers } from './containers.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';

/** Figures of one container at one moment. */
export interface StatsSample {
  id: string;
  name: string;
  /** Milliseconds of a clock that only goes forward. */
  at: number;
  state: ContainerState['status'];
  /** Host pid of its first process; 0 where it doesn't run. */
  pid: number;
  /** undefined where it doesn't run. */
  usage: Usage | undefined;
  network: NetworkUsage[];
  /** Bytes that it can have at most: its limit, or the machine's memory. */
  memoryLimit: number;
}

/** Reads the figures of a container, from the kernel's files and nothing else: about 0.2 ms. */
export function sampleStats(ctx: Context, record: ContainerRecord): StatsSample {
  const host = factsOf(ctx);
  const state = stateOf(ctx, record);
  const alive = isUp(state);
  const pid = alive ? (state.running?.pid ?? 0) : 0;
  const usage = alive ? readUsage(findGroups(host.cgroup, record.cgroup)) : undefined;
  const limit = usage?.memory.limit ?? null;
  return {
    id: record.id,
    name: record.name,
    at: monotonicMs(),
    state: state.status,
    pid,
    usage,
    network: pid > 0 ? readNetwork(pid) : [],
    memoryLimit: limit === null ? host.memory : Math.min(limit, host.memory),
  };
}

/**
 * CPU use between two samples in per cent of one CPU: 200 is two CPUs kept busy.
 * @returns undefined with samples of different runs, or without a time between them
 */
export function cpuPercent(before: StatsSample | undefined, now: StatsSample): number | undefined {
  if (!before?.usage || !now.usage || before.pid !== now.pid) return undefined;
  const elapsed = (now.at - before.at) * 1000;
  const used = now.usage.cpu.usageUsec - before.usage.cpu.usageUsec;
  return elapsed <= 0 || used < 0 ? undefined : (used / elapsed) * 100;
}

/** Bytes over all interfaces and over all disks. */
export function totals(sample: StatsSample): { rx: number; tx: number; read: number; write: number } {
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const io = sample.usage?.io ?? [];
  return {
    rx: sum(sample.network.map((n) => n.rxBytes)),
    tx: sum(sample.network.map((n) => n.txBytes)),
    read: sum(io.map((d) => d.readBytes)),
    write: sum(io.map((d) => d.writeBytes)),
  };
}

/** Samples of the containers that run (or all), by a name for each. A container removed meanwhile is left out. */
export function sampleAll(ctx: Context, options: { all?: boolean | undefined } = {}): StatsSample[] {
  const out: StatsSample[] = [];
  for (const record of listContainers(ctx)) {
    try {
      const sample = sampleStats(ctx, record);
      if (options.all || sample.usage) out.push(sample);
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error;
    }
  }
  return out;
}
