import { monotonicMs } from '../base/index.js';
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
  cgroup?: {
    /** Milliseconds of CPU of all its processes. */
    cpuTime?: number;
    /** Bytes: the most that was in use at once. */
    memoryPeak?: number;
    /** Processes killed for want of memory. */
    oomKills?: number;
  };
}

/** Figures of an exit report. */
export function usageOf(report: ExitReport | undefined, started: number): Usage {
  const usage: Usage = {
    wallTime: monotonicMs() - started,
    userTime: (report?.userTime ?? 0) / 1000,
    systemTime: (report?.systemTime ?? 0) / 1000,
    maxRss: report?.maxRss ?? 0,
    minorFaults: report?.minorFaults ?? 0,
    majorFaults: report?.majorFaults ?? 0,
  };
  const files = Object.entries(report?.files ?? {});
  if (files.length === 0) return usage;
  const text = (name: string) => files.find(([file]) => file.endsWith(`/${name}`))?.[1];
  const number = (match: RegExpExecArray | null) => (match ? Number(match[1]) : undefined);
  const cpu = number(/^usage_usec (\d+)/m.exec(text('cpu.stat') ?? ''));
  const peak = text('memory.peak') ?? text('memory.max_usage_in_bytes');
  const oom = number(/^oom_kill (\d+)/m.exec(text('memory.events') ?? text('memory.oom_control') ?? ''));
  usage.cgroup = {
    ...(cpu === undefined ? {} : { cpuTime: cpu / 1000 }),
    ...(peak === undefined ? {} : { memoryPeak: Number(peak) }),
    ...(oom === undefined ? {} : { oomKills: oom }),
  };
  return usage;
}
