import { ConflictError, type Context } from '../base/index.js';
import { findGroups, freeze, thaw } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import { emitEvent } from './emit.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';

/**
 * Freezes every process of a container (cgroup.freeze, or the v1 freezer).
 * @throws ConflictError unless it runs; NsboxError TIMEOUT where a process can't be frozen
 */
export async function pauseContainer(ctx: Context, record: ContainerRecord): Promise<void> {
  const { status } = stateOf(ctx, record);
  if (status === 'paused') throw new ConflictError(`Container ${record.name} is already paused`);
  if (status !== 'running') throw new ConflictError(`Container ${record.name} is not running`);
  await freeze(findGroups(hostFacts(ctx).cgroup, record.cgroup));
  emitEvent(ctx, 'pause', record);
}

/** Undoes pauseContainer. @throws ConflictError unless it is paused */
export async function unpauseContainer(ctx: Context, record: ContainerRecord): Promise<void> {
  if (stateOf(ctx, record).status !== 'paused') {
    throw new ConflictError(`Container ${record.name} is not paused`);
  }
  await thaw(findGroups(hostFacts(ctx).cgroup, record.cgroup));
  emitEvent(ctx, 'unpause', record);
}
