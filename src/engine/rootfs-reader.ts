import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import path from 'node:path';
import type { RootfsReader } from '../spec/index.js';

/**
 * Reads small files of an image as the overlay would show them, without mounting it: the topmost layer that has the
 * path wins, a whiteout (character device 0:0) hides what is below. Links are followed within the layers, never on
 * the host.
 * @param layers directories, topmost first
 */
export function layersReader(layers: readonly string[]): RootfsReader {
  return (file) => {
    const real = resolveIn(layers, file, 0);
    if (real === undefined) return undefined;
    try {
      return readFdText(openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
    } catch {
      return undefined;
    }
  };
}

/** Host path of what `file` means in the stack of layers; every component looked up by hand, so no link leaves it. */
function resolveIn(layers: readonly string[], file: string, links: number): string | undefined {
  if (links > 40) return undefined;
  const parts = path.posix.normalize(`/${file}`).split('/').filter(Boolean);
  let candidates = [...layers];
  let walked = '';
  for (const [i, part] of parts.entries()) {
    const next: string[] = [];
    for (const layer of candidates) {
      const at = `${layer}${walked}/${part}`;
      let st: ReturnType<typeof lstatSync>;
      try {
        st = lstatSync(at);
      } catch {
        continue;
      }
      if (!st) continue;
      if (st.isCharacterDevice() && st.rdev === 0) break; // whiteout
      if (st.isSymbolicLink()) {
        if (next.length > 0) break; // a directory above hides it
        const target = readlinkSync(at);
        const joined = target.startsWith('/') ? target : path.posix.join(walked, '/', target);
        return resolveIn(layers, path.posix.join('/', joined, ...parts.slice(i + 1)), links + 1);
      }
      if (!st.isDirectory()) {
        if (next.length === 0 && i === parts.length - 1) return at;
        break;
      }
      next.push(layer);
    }
    if (next.length === 0) return undefined;
    candidates = next;
    walked += `/${part}`;
  }
  return undefined;
}

/** The text of a regular file of at most 4 MiB, by an fd that is closed then; undefined for anything else. */
export function readFdText(fd: number): string | undefined {
  try {
    const st = fstatSync(fd);
    if (!st.isFile() || st.size > 4 << 20) return undefined;
    const buffer = Buffer.alloc(st.size);
    const n = readSync(fd, buffer, 0, st.size, 0);
    return buffer.toString('utf8', 0, n);
  } finally {
    closeSync(fd);
  }
}
