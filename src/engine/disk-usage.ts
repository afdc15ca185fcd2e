import { lstatSync, opendirSync } from 'node:fs';
import path from 'node:path';
import { isErrno } from '../base/index.js';

/**
 * Bytes of the files below a directory, each inode once, on that filesystem only; 0 where it doesn't exist. With
 * `disk`, what they occupy on disk.
 */
export function directorySize(directory: string, measure: 'content' | 'disk' = 'content'): number {
  const seen = new Set<number>();
  const stack = [directory];
  let total = 0;
  let device: number | undefined;
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    try {
      const dir = opendirSync(at);
      try {
        for (let entry = dir.readSync(); entry; entry = dir.readSync()) {
          const full = path.join(at, entry.name);
          const stat = lstatSync(full, { throwIfNoEntry: false });
          if (!stat) continue;
          device ??= stat.dev;
          if (stat.dev !== device) continue;
          if (stat.isDirectory()) stack.push(full);
          else if (stat.nlink > 1) {
            if (seen.has(stat.ino)) continue;
            seen.add(stat.ino);
          }
          if (measure === 'disk') total += stat.blocks * 512;
          else if (stat.isFile() || stat.isSymbolicLink()) total += stat.size;
        }
      } finally {
        dir.closeSync();
      }
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error; // gone meanwhile
    }
  }
  return total;
}
