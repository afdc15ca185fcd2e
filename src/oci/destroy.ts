import { rmdirSync } from 'node:fs';
import path from 'node:path';
import { isErrno, NsboxError } from '../base/index.js';
import { directoriesOf, killAll, removeGroups, stopScope } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import { isAlive, openPidfd, signalProcess, waitPidfd } from '../kernel/index.js';
import { forget, type OciRecord } from './containers.js';
import type { Runtime } from './runtime.js';

/** Milliseconds that a killed init has to end. */
const PATIENCE = 10_000;

/**
 * Removes all of a container: processes (with `kill`), groups, directory; then runs its poststop hooks.
 * @throws NsboxError TIMEOUT where a process doesn't die; the container stays, and delete can be tried again
 */
export async function destroy(runtime: Runtime, record: OciRecord, kill: boolean): Promise<void> {
  // Nobody may go on making what is being removed.
  if (kill && !record.init && isAlive(record.creator) && record.creator.pid !== process.pid) {
    signalProcess(record.creator, 9);
  }
  if (kill) killGroups(record);
  if (kill && record.init && isAlive(record.init)) {
    const fd = pidfd(record.init.pid);
    signalProcess(record.init, 9);
    if (fd !== undefined && !waitPidfd(fd, PATIENCE)) {
      throw new NsboxError('TIMEOUT', `container init still running: process ${record.init.pid}`, {
        hint: 'a process that waits in the kernel (state D) cannot be killed; try again',
      });
    }
  }
  await removeGroups(record.groups, PATIENCE);
  if (record.scope) await stopScope(hostFacts(runtime.ctx).cgroup, record.scope);
  removeEmptyParents(record);
  if (record.rdt) (await import('./rdt.js')).removeRdt(record.rdt);
  if (record.hooks?.poststop?.length) {
    const { poststop } = await import('./create.js');
    await poststop(runtime, record);
  }
  forget(runtime.root, record.id);
}

/** The parent of containers that came without a path of their own goes with the last of them. */
function removeEmptyParents(record: OciRecord): void {
  if (record.cgroup !== `/nsbox-oci/${record.id}`) return;
  for (const group of directoriesOf(record.groups)) {
    try {
      rmdirSync(path.dirname(group));
    } catch {
      // Others are in it, or it has gone.
    }
  }
}

function killGroups(record: OciRecord): void {
  try {
    killAll(record.groups);
  } catch (error) {
    // A group that is gone, or never came to be.
    if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error;
  }
}

function pidfd(pid: number): number | undefined {
  try {
    return openPidfd(pid);
  } catch {
    return undefined;
  }
}
