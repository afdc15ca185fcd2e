import { Writer } from '../kernel/index.js';
import type { CgroupPlan } from './plan.js';

/**
 * The plan of an update in the form that a monitor applies when it starts the program again (native/launch,
 * StepLimitChanges): u32 count, then u8 kind (0 make, 1 write, 2 join, 3 write if possible), path, value.
 * @param plan made with `update: true` from all limits of the container
 */
export function encodeChanges(plan: CgroupPlan): Uint8Array {
  const w = new Writer();
  const made = plan.groups.filter((g) => g.join === 'write');
  w.u32(plan.steps.length + made.length);
  for (const step of plan.steps) {
    if (step.op === 'mkdir') w.u8(0).str(step.path).str('');
    else
      w.u8(step.optional ? 3 : 1)
        .str(step.path)
        .str(step.value);
  }
  for (const group of made) w.u8(2).str(`${group.path}/cgroup.procs`).str('');
  return w.finish();
}
