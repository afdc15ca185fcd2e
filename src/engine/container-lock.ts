import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { type Context, fromErrno, isErrno, monotonicMs, NotFoundError, NsboxError } from '../base/index.js';
import { tryLock } from '../kernel/index.js';
import { containerPaths } from './paths.js';

/**
 * Takes the right to start, remove or recover a container: one process at a time. It is a lock on the container's own
 * directory (flock(2)), so that nothing is left of it when the container, or the holder, goes.
 * @param wait how long at most, in milliseconds; 0 tries once
 * @returns undefined where it is taken and `wait` is 0
 * @throws NotFoundError where the container has gone; NsboxError TIMEOUT
 */
export async function lockContainer(ctx: Context, id: string): Promise<Disposable>;
export async function lockContainer(ctx: Context, id: string, wait: number): Promise<Disposable | undefined>;
export async function lockContainer(
  ctx: Context,
  id: string,
  wait = 60_000,
): Promise<Disposable | undefined> {
  const directory = containerPaths(ctx, id).data;
  const end = monotonicMs() + wait;
  for (let pause = 1; ; pause = Math.min(pause * 1.5, 30)) {
    let fd: number;
    try {
      fd = openSync(directory, 'r');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw new NotFoundError('container', id.slice(0, 12));
      throw fromErrno(`open ${directory}`, error, { path: directory });
    }
    if (tryLock(fd, 'exclusive')) {
      if (sameDirectory(fd, directory)) return { [Symbol.dispose]: () => closeSync(fd) };
      closeSync(fd);
      continue;
    }
    closeSync(fd);
    if (wait === 0) return undefined;
    if (monotonicMs() > end) {
      throw new NsboxError(
        'TIMEOUT',
        `container ${id.slice(0, 12)} is being started or removed by another process`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function sameDirectory(fd: number, directory: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(directory).ino;
  } catch {
    return false; // removed while we waited
  }
}
