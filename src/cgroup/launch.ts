import { deviceProgram } from './device-program.js';
import type { CgroupPlan } from './plan.js';
import { type GroupReader, readUsage, type Usage } from './stats.js';
import type { Groups } from './tree.js';

/**
 * A cgroup plan in the words of the launch: what is done before the clone, and what init enters.
 * @param options.hideFigures the container is shown the v1 groups that hold limits of it, not those for figures alone
 */
export function launchCgroup(
  plan: CgroupPlan,
  options: { hideFigures?: boolean } = {},
): {
  steps: ({ op: 'mkdir'; path: string } | { op: 'write'; path: string; value: string; optional: boolean })[];
  into?: string;
  sparesMonitor: boolean;
  join: string[];
  shown: string[];
  device?: { cgroup: string; program: Uint8Array; rules: number };
  remove: string[];
} {
  const join = plan.groups.filter((g) => g.join === 'write').map((g) => g.path);
  return {
    steps: plan.steps,
    sparesMonitor: plan.sparesMonitor === true,
    ...(plan.unified ? { into: plan.unified } : {}),
    join,
    shown: options.hideFigures ? join.filter((p) => hasLimit(plan, p)) : join,
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

/** Whether a v1 group was made for a limit or the device rules; on a host without cgroup v2 every one counts. */
function hasLimit(plan: CgroupPlan, group: string): boolean {
  return (
    plan.unified === null ||
    plan.writes.some((w) => w.path.startsWith(`${group}/`)) ||
    (plan.devices?.how === 'v1' && plan.devices.directory === group)
  );
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
