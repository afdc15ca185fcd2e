import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, isErrno, monotonicMs, NsboxError } from '../base/index.js';
import { tryLock } from '../kernel/index.js';
import { ensureDirectory } from './records.js';

/** A held lock: `using lock = acquireLock(…)`. */
export class FileLock implements Disposable {
  #fd: number | undefined;
  constructor(fd: number) {
    this.#fd = fd;
  }
  get fd(): number {
    if (this.#fd === undefined) throw new NsboxError('INTERNAL', 'the lock was released');
    return this.#fd;
  }
  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/**
 * Tries to take a lock on a file (made if need be) at once; undefined where another process or open file holds it.
 * Safe against the file being removed and made again between open and lock.
 */
export function tryAcquireLock(
  file: string,
  mode: 'shared' | 'exclusive' = 'exclusive',
): FileLock | undefined {
  for (;;) {
    const fd = openLockFile(file);
    try {
      if (!tryLock(fd, mode)) {
        closeSync(fd);
        return undefined;
      }
      if (isSameFile(fd, file)) return new FileLock(fd);
    } catch (error) {
      closeSync(fd);
      throw fromErrno(`lock ${file}`, error, { path: file });
    }
    closeSync(fd);
  }
}

/**
 * Waits for a lock.
 * @param timeoutMs how long at most, in milliseconds; default 30 000
 * @throws NsboxError TIMEOUT
 */
export async function acquireLock(
  file: string,
  options: { mode?: 'shared' | 'exclusive'; timeoutMs?: number } = {},
): Promise<FileLock> {
  const end = monotonicMs() + (options.timeoutMs ?? 30_000);
  for (let pause = 1; ; pause = Math.min(pause * 1.5, 50)) {
    const lock = tryAcquireLock(file, options.mode ?? 'exclusive');
    if (lock) return lock;
    if (monotonicMs() > end) {
      throw new NsboxError('TIMEOUT', `another nsbox process holds the lock ${file}`, { path: file });
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function openLockFile(file: string): number {
  try {
    return openSync(file, 'a', 0o600);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`open the lock ${file}`, error, { path: file });
    ensureDirectory(path.dirname(file));
    return openSync(file, 'a', 0o600);
  }
}

function isSameFile(fd: number, file: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(file).ino;
  } catch {
    return false;
  }
}
