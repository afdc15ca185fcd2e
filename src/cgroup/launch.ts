import { deviceProgram } from './device-program.js';
import type { CgroupPlan } from './plan.js';
import { type GroupReader, readUsage, type Usage } from './stats.js';
import type { Groups } from './tree.js';

/** A cgroup plan in the words of the launch: what is done before the clone, and what init enters. */
export function launchCgroup(plan: CgroupPlan): {
  steps: ({ op: 'mkdir'; path: string } | { op: 'write'; path: string; value: string; optional: boolean })[];
  into?: string;
  join: string[];
  device?: { cgroup: string; program: Uint8Array; rules: number };
  remove: string[];
} {
  return {
    steps: plan.steps,
    ...(plan.unified ? { into: plan.unified } : {}),
    join: plan.groups.filter((g) => g.join === 'write').map((g) => g.path),
    ...(plan.devices?.how === 'bpf'
      ? {
          device: {
            cgroup: plan.devices.directory,
            program: deviceProgram(plan.devices.rules),
            rules: plan.devices.rules.length,
          },
        }
      : {}),
    remove: plan.groups.map((g) => g.path),
  };
}

/** The groups of a plan, as the readers of figures and the tree's verbs take them. */
export function plannedGroups(plan: CgroupPlan): Groups {
  const v1 = plan.groups.flatMap((g) => g.controllers.map((c) => [c, g.path] as const));
  return { unified: plan.unified, v1: Object.fromEntries(v1) };
}

const REPORTED: Record<string, string[]> = {
  unified: ['cpu.stat', 'memory.peak', 'memory.events', 'memory.swap.peak', 'io.stat', 'pids.events'],
  memory: [
    'memory.max_usage_in_bytes',
    'memory.oom_control',
    'memory.failcnt',
    'memory.memsw.max_usage_in_bytes',
  ],
  cpu: ['cpu.stat'],
  cpuacct: ['cpuacct.usage', 'cpuacct.stat'],
  blkio: ['blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_serviced_recursive'],
  pids: ['pids.events'],
};

/** Files whose contents at the end of a run are worth keeping: read before the groups are removed. */
export function reportFiles(plan: CgroupPlan): string[] {
  return plan.groups.flatMap((g) =>
    (g.hierarchy === 'unified' ? ['unified'] : g.controllers).flatMap((c) =>
      (REPORTED[c] ?? []).map((name) => `${g.path}/${name}`),
    ),
  );
}

/** Figures of a run that has ended, out of the contents of its report files (missing ones left out). */
export function usageOfReport(groups: Groups, contents: ReadonlyMap<string, string>): Usage {
  const read: GroupReader = (directory, name) => contents.get(`${directory}/${name}`);
  return readUsage(groups, read);
}
