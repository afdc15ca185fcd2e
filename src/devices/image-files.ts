import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { lgetxattrat } from '../kernel/index.js';
import { diskFiles, type FileStat, type HostFiles, rememberingFiles } from './host-files.js';

/**
 * An image's root filesystem seen through its layer directories, as overlayfs will show it: upper layers hide lower
 * ones, whiteouts (character device 0:0) hide what is below, opaque directories all of it. Reads only what it is
 * asked for, and each place once.
 * @param layers absolute directories, LOWEST first; a plain rootfs directory is one layer
 */
export function imageFiles(layers: readonly string[]): HostFiles {
  const disk = rememberingFiles(diskFiles());
  /** The layers' directories that make up a directory of the image, topmost first. */
  const parts = new Map<string, string[]>([['/', [...layers].reverse()]]);
  const partsOf = (directory: string): string[] => {
    const known = parts.get(directory);
    if (known) return known;
    const name = path.posix.basename(directory);
    const found: string[] = [];
    const parents = partsOf(path.posix.dirname(directory));
    for (const [i, parent] of parents.entries()) {
      const at = `${parent}/${name}`;
      const s = disk.lstat(at);
      if (!s) continue;
      if (s.kind !== 'directory') break;
      found.push(at);
      if (i < parents.length - 1 && isOpaque(at)) break;
    }
    parts.set(directory, found);
    return found;
  };
  const find = (file: string): { at: string; stat: FileStat } | undefined => {
    const clean = path.posix.normalize(file);
    if (clean === '/') {
      const at = partsOf('/')[0];
      const stat = at === undefined ? undefined : disk.lstat(at);
      return at === undefined || !stat ? undefined : { at, stat };
    }
    const name = path.posix.basename(clean);
    for (const parent of partsOf(path.posix.dirname(clean))) {
      const at = `${parent}/${name}`;
      const stat = disk.lstat(at);
      if (stat) return isWhiteout(stat) ? undefined : { at, stat };
    }
    return undefined;
  };
  const regular = (file: string): string | undefined => {
    const found = find(file);
    return found?.stat.kind === 'file' ? found.at : undefined;
  };
  return {
    onHost: (file) => find(file)?.at ?? file,
    lstat: (file) => find(file)?.stat,
    readText: (file) => {
      const at = regular(file);
      return at === undefined ? undefined : disk.readText(at);
    },
    readBytes: (file, offset, length) => {
      const at = regular(file);
      return at === undefined ? undefined : disk.readBytes(at, offset, length);
    },
    readDirectory(file) {
      const names = new Map<string, boolean>();
      for (const at of partsOf(path.posix.normalize(file))) {
        for (const name of disk.readDirectory(at)) {
          if (names.has(name)) continue;
          const stat = disk.lstat(`${at}/${name}`);
          names.set(name, stat !== undefined && !isWhiteout(stat));
        }
      }
      return [...names].flatMap(([name, there]) => (there ? [name] : [])).sort();
    },
    readLink: (file) => {
      const found = find(file);
      return found?.stat.kind === 'link' ? disk.readLink(found.at) : undefined;
    },
  };
}

function isWhiteout(stat: FileStat): boolean {
  return stat.kind === 'char' && stat.major === 0 && stat.minor === 0;
}

function isOpaque(directory: string): boolean {
  const fd = openSync(directory, 'r');
  try {
    return ['trusted.overlay.opaque', 'user.overlay.opaque'].some(
      (name) => lgetxattrat(fd, '', name)?.toString() === 'y',
    );
  } finally {
    closeSync(fd);
  }
}
