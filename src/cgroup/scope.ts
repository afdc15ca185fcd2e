import { UnsupportedError } from '../base/index.js';
import type { CgroupFacts } from '../host/index.js';
import type { Limit } from './limits.js';
import { type ScopeName, supervisorOf } from './path.js';
import type { CgroupPlan } from './plan.js';
import type { HeldScope } from './systemd/scope.js';

/**
 * The systemd manager (--cgroup-manager systemd): systemd makes the group that a container's plan is carried out in, as
 * a delegated scope, and keeps its limits as properties. All else (device program, freezing, figures) is as without.
 */

/**
 * @throws UnsupportedError where there is no systemd to ask, or no cgroup2 of its own
 */
export function checkSystemd(facts: CgroupFacts): void {
  const hint =
    'use --cgroup-manager cgroupfs (podman: --cgroup-manager=cgroupfs; containerd: SystemdCgroup = false)';
  if (!facts.systemd) {
    throw new UnsupportedError('systemd not running on this host, cannot use systemd cgroups manager', {
      hint,
    });
  }
  if (facts.mode !== 'unified' || !facts.writable) {
    throw new UnsupportedError(
      `the systemd cgroup manager needs cgroup2 alone, mounted writable; this host is ${facts.mode}`,
      { hint },
    );
  }
}

/**
 * Tasks in a scope that are ours, where the container has a group of its own below it: the monitor, and the holder until
 * the container runs. A container that is the scope itself has exactly what was asked for.
 */
function extraTasks(name: ScopeName): number {
  return name.leaf ? 2 : 0;
}

/** The limits of a plan that are in cgroup2. */
function limitsIn(plan: CgroupPlan): Limit[] {
  const prefix = `${plan.unified}/`;
  return plan.writes
    .filter((w) => w.path.startsWith(prefix))
    .map((w) => ({ controller: w.controller, file: w.path.slice(prefix.length), value: w.value }));
}

/**
 * Has systemd make the scope of a plan. Release it once the container runs, or won't.
 * @throws BusError with systemd's words; UnsupportedError where no systemd answers
 */
export async function makeScope(facts: CgroupFacts, plan: CgroupPlan, name: ScopeName): Promise<HeldScope> {
  const systemd = await import('./systemd/scope.js');
  return await systemd.makeScope(facts, {
    name,
    description: `nsbox container ${name.unit.replace(/^.*?-|\.scope$/g, '')}`,
    limits: limitsIn(plan),
    extraTasks: extraTasks(name),
  });
}

/** Tells systemd what an update changes, before it is written into the container's group. */
export async function updateScope(plan: CgroupPlan, name: ScopeName): Promise<void> {
  const systemd = await import('./systemd/scope.js');
  await systemd.updateScope(name, limitsIn(plan), extraTasks(name));
}

/** Ends a container's scope with whatever is in it; gone already is fine. */
export async function stopScope(facts: CgroupFacts, name: ScopeName): Promise<void> {
  const systemd = await import('./systemd/scope.js');
  await systemd.stopScope(facts, name);
}

/** The monitor moves into the scope before it makes anything there, so that the scope lasts as long as it does. */
export function superviseScope(plan: CgroupPlan, facts: CgroupFacts, name: ScopeName): void {
  const directory = `${facts.unified}${supervisorOf(name)}`;
  plan.steps.unshift(
    { op: 'mkdir', path: directory },
    // 0 is whoever writes it.
    { op: 'write', path: `${directory}/cgroup.procs`, value: '0', controller: 'cgroup', optional: false },
  );
  plan.sparesMonitor = true;
}
