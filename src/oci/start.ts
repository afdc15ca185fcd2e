import { renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, isErrno } from '../base/index.js';
import { askUnix, decodeInitFailure, isAlive } from '../kernel/index.js';
import { directoryOf, type OciRecord, statusOf } from './containers.js';
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
