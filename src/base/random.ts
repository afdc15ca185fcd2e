import { closeSync, openSync, readSync } from 'node:fs';

/**
 * Random bytes from the kernel (random(4)). Not node:crypto: loading it takes 3 ms of a command's start.
 */
export function randomBytes(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  const fd = openSync('/dev/urandom', 'r');
  try {
    readSync(fd, bytes, 0, count, null);
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** A random whole number from `low` (0 unless told) up to, but without, `high`; the range below 2^32. */
export function randomInt(low: number, high?: number): number {
  const [from, to] = high === undefined ? [0, low] : [low, high];
  return from + Math.floor((randomBytes(6).readUIntBE(0, 6) / 2 ** 48) * (to - from));
}
