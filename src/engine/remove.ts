import { existsSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, isErrno, monotonicMs, NsboxError } from '../base/index.js';
import { findGroups, killAll, removeGroups, stopScope } from '../cgroup/index.js';
import { removeTree } from '../kernel/index.js';
import { release } from './claims.js';
import { lockContainer } from './container-lock.js';
import { containerState, isActive, isHeld, listContainers, writeContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { containerPaths, idsDirectory, namesDirectory } from './paths.js';
import { runDuePoststop } from './poststop.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';
import { scopeOf } from './scope.js';
import { openVolumes } from './volumes.js';

export interface RemoveOptions {
  /** Kill it first where it runs. */
  force?: boolean | undefined;
  /** Remove its anonymous volumes too. */
  volumes?: boolean | undefined;
}

import { releaseProject } from './storage-opt.js';

/**
 * Removes a container: processes, cgroups, addresses, writable layer, record, claims. Marked first, so that a crash
 * half-way is finished by recover().
 * @throws ConflictError while it runs and `force` isn't given
 */
export async function removeContainer(
  ctx: Context,
  record: ContainerRecord,
  options: RemoveOptions = {},
): Promise<void> {
  using _lock = await lockContainer(ctx, record.id);
  const state = containerState(ctx, record);
  const { status } = state;
  const alive = isActive(state);
  if (alive && !options.force) {
    throw new ConflictError(
      `cannot remove container "/${record.name}": container is ${status}: stop the container before removing or force remove`,
      { exitCode: 1 },
    );
  }
  markRemoving(ctx, record);
  if (alive || status === 'dead') await killContainer(ctx, record);
  await finishRemoval(ctx, record, options.volumes ?? false);
  emitEvent(ctx, 'destroy', record);
}

/** So that recover() finishes what a crash interrupts. On a full disk it can't, and removing is what makes room. */
function markRemoving(ctx: Context, record: ContainerRecord): void {
  try {
    writeContainer(ctx, { ...record, removing: true });
  } catch (error) {
    // ENOENT: its monitor removes it at this moment (--rm).
    if (!isErrno(error, 'ENOSPC', 'EDQUOT', 'ENOENT')) throw error;
  }
}

/** What remains to be done once nothing of the container runs. Safe to repeat. */
export async function finishRemoval(ctx: Context, record: ContainerRecord, volumes: boolean): Promise<void> {
  const paths = containerPaths(ctx, record.id);
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  await killAll(groups);
  await removeGroups(groups);
  const scope = scopeOf(record);
  if (scope) await stopScope(factsOf(ctx).cgroup, scope);
  const { openNetworks } = await import('../network/index.js');
  await openNetworks(ctx).release(record.id);
  await runDuePoststop(ctx, paths.poststop);
  const anonymous = volumes || record.request.autoRemove ? record.mounts.filter((m) => m.anonymous) : [];
  if (existsSync(paths.state)) await removeTree(paths.state); // its monitor has removed it, most often
  release(path.join(namesDirectory(ctx), record.name), record.id);
  if (record.idRange) release(path.join(idsDirectory(ctx), String(record.idRange.start)), record.id);
  if (existsSync(paths.data)) await removeTree(paths.data);
  releaseProject(ctx, record.project);
  if (anonymous.length > 0) {
    await openVolumes(ctx).removeAnonymous(
      anonymous.map((m) => m.name!),
      (name) => volumeUsers(ctx, name),
    );
  }
}

/** Ids of the containers that have a volume. */
export function volumeUsers(ctx: Context, name: string): string[] {
  return listContainers(ctx)
    .filter((c) => c.mounts.some((m) => m.type === 'volume' && m.name === name))
    .map((c) => c.id);
}

/**
 * Kills everything of a container at once (cgroup.kill, also when it is frozen) and waits until its monitor has gone.
 * @throws NsboxError TIMEOUT where a process can't be killed within 10 s
 */
export async function killContainer(ctx: Context, record: ContainerRecord): Promise<void> {
  const paths = containerPaths(ctx, record.id);
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  const { running } = containerState(ctx, record);
  // The monitor first where it would start the program again.
  if (running?.state === 'restarting' || record.request.restart.name !== 'no') {
    if (running && isHeld(paths.lock)) tryKill(running.monitorPid);
  }
  if (running?.pid) tryKill(running.pid);
  await killAll(groups);
  const end = monotonicMs() + 10_000;
  for (let pause = 1; isHeld(paths.lock); pause = Math.min(pause * 2, 50)) {
    if (monotonicMs() > end) {
      throw new NsboxError('TIMEOUT', `container ${record.name} could not be killed within 10 s`, {
        hint: 'a process of it waits in the kernel (state D); see /proc/PID/stack',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}
