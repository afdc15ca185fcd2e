import { monotonicMs } from '../base/index.js';
import {
  type Usage as CgroupUsage,
  type Groups,
  type IoUsage,
  type NetworkUsage,
  usageOfReport,
} from '../cgroup/index.js';
import type { ExitReport } from '../kernel/index.js';

/** What a program used: rusage of its first process and its children, and figures of its cgroup where it had one. */
export interface Usage {
  /** Milliseconds from the start of the launch to the end. */
  wallTime: number;
  /** Milliseconds of CPU. */
  userTime: number;
  systemTime: number;
  /** Bytes: the largest resident set of one process. */
  maxRss: number;
  minorFaults: number;
  majorFaults: number;
  /**
   * Figures of its cgroup, of all its processes. Those of memory, processes and block IO are there where a limit brought
   * the controller in.
   */
  cgroup?: {
    /** Milliseconds of CPU, in all, and as the program and for it in the kernel. */
    cpuTime?: number;
    userTime?: number;
    systemTime?: number;
    /** How often, and for how many milliseconds, `cpus` held it back. */
    throttledPeriods?: number;
    throttledTime?: number;
    /** Bytes: the most that was in use at once. */
    memoryPeak?: number;
    /** Bytes: the most that was in swap at once. Where the kernel keeps it: cgroup2, Linux 6.5. */
    swapPeak?: number;
    /** Processes killed for want of memory. */
    oomKills?: number;
    /** Times that memory.high throttled it. */
    memoryHigh?: number;
    /** Forks refused by the limit of processes. */
    forksRefused?: number;
    /** Bytes and requests, by device. */
    io?: IoUsage[];
  };
}

/** Figures of a sandbox that runs, as the kernel counts them at this moment. */
export interface Figures extends CgroupUsage {
  /** By interface, without the loopback. */
  network: NetworkUsage[];
}

/**
 * Figures of an exit report.
 * @param groups those of the program; absent: it ran in those of another
 */
export function usageOf(report: ExitReport | undefined, started: number, groups?: Groups): Usage {
  const usage: Usage = {
    wallTime: monotonicMs() - started,
    userTime: (report?.userTime ?? 0) / 1000,
    systemTime: (report?.systemTime ?? 0) / 1000,
    maxRss: report?.maxRss ?? 0,
    minorFaults: report?.minorFaults ?? 0,
    majorFaults: report?.majorFaults ?? 0,
  };
  const files = new Map(Object.entries(report?.files ?? {}));
  if (files.size === 0 || !groups) return usage;
  const has = (name: string) => [...files.keys()].some((file) => file.endsWith(`/${name}`));
  const { cpu, memory, io, events } = usageOfReport(groups, files);
  const counted = has('memory.events') || has('memory.oom_control');
  usage.cgroup = {
    ...(has('cpu.stat') || has('cpuacct.usage')
      ? {
          cpuTime: cpu.usageUsec / 1000,
          userTime: cpu.userUsec / 1000,
          systemTime: cpu.systemUsec / 1000,
          throttledPeriods: cpu.throttledPeriods,
          throttledTime: cpu.throttledUsec / 1000,
        }
      : {}),
    ...(counted && memory.peak !== null ? { memoryPeak: memory.peak } : {}),
    ...(counted && memory.swapPeak !== null ? { swapPeak: memory.swapPeak } : {}),
    ...(counted ? { oomKills: events.oomKill, memoryHigh: events.memoryHigh } : {}),
    ...(has('pids.events') ? { forksRefused: events.pidsMax } : {}),
    ...(has('io.stat') || has('blkio.throttle.io_service_bytes_recursive') ? { io } : {}),
  };
  return usage;
}
