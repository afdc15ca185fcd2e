import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    /** flock(2) on an open fd; operation is LOCK_SH|LOCK_EX|LOCK_UN (| LOCK_NB). False when it would block. */
    flock(fd: number, operation: number): boolean;
  }
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/**
 * Takes a kernel lock on an open file without waiting. It dies with the last copy of the fd, whatever kills the
 * process.
 * @returns false where another holds it
 * @see flock(2)
 */
export function tryLock(fd: number, mode: 'shared' | 'exclusive'): boolean {
  return addon().flock(fd, (mode === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB);
}

export function unlock(fd: number): void {
  addon().flock(fd, LOCK_UN);
}
