import { existsSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, isErrno } from '../base/index.js';
import { askUnix, decodeInitFailure, isAlive } from '../kernel/index.js';
import { directoryOf, type OciRecord, statusOf } from './containers.js';
import type { Notify } from './notify.js';
import type { Runtime } from './runtime.js';

/**
 * Lets the program of a created container run, and returns when it has been executed.
 * @throws ConflictError where the container isn't in the state "created"; LaunchError where the program can't be executed
 */
export async function startContainer(runtime: Runtime, record: OciRecord): Promise<void> {
  switch (statusOf(runtime.root, record)) {
    case 'created':
      break;
    case 'stopped':
      throw new ConflictError('cannot start a container that has stopped');
    case 'running':
      throw new ConflictError('cannot start an already running container');
    default:
      throw new ConflictError(`cannot start a container in the ${statusOf(runtime.root, record)} state`);
  }
  const directory = directoryOf(runtime.root, record.id);
  const notify = await notifyOf(runtime, directory);
  try {
    await letRun(runtime, record, directory);
    // As runc: `start` ends when the container is ready, or gone.
    if (notify && record.init) await notify.forward(record.init.pid, record.init);
  } finally {
    notify?.close();
  }
}

/** With NOTIFY_SOCKET in the environment of `create` and of `start`: the container's socket. */
async function notifyOf(runtime: Runtime, directory: string): Promise<Notify | undefined> {
  const host = runtime.ctx.env['NOTIFY_SOCKET'];
  if (!host || !existsSync(path.join(directory, 'notify'))) return undefined;
  const { listenNotify } = await import('./notify.js');
  return listenNotify(directory, host, runtime.ctx.warn);
}

async function letRun(runtime: Runtime, record: OciRecord, directory: string): Promise<void> {
  const socket = path.join(directory, 'starting.sock');
  try {
    // Of two that start at the same time, one finds the socket gone.
    renameSync(path.join(directory, 'start.sock'), socket);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw new ConflictError('cannot start an already running container');
    throw fromErrno(`start ${record.id}`, error);
  }
  let answer: Buffer;
  try {
    answer = askUnix(socket, 1);
  } catch (error) {
    if (!record.init || !isAlive(record.init))
      throw new ConflictError('cannot start a container that has stopped');
    throw fromErrno(`start ${record.id}`, error);
  } finally {
    rmSync(socket, { force: true });
  }
  const failure = decodeInitFailure(answer);
  if (failure) {
    const { startError } = await import('./start-error.js');
    throw startError(runtime, record, failure);
  }
  if (record.hooks?.poststart?.length) {
    const { poststart } = await import('./create.js');
    await poststart(record);
  }
}
