import { closeSync, constants } from 'node:fs';
import { ImageError, isErrno } from '../../base/index.js';
import {
  AT_FDCWD,
  chmodat,
  copyFileRange,
  type FileStat,
  lchownat,
  lgetxattrat,
  linkat,
  llistxattrat,
  lsetxattrat,
  lstatat,
  mknodat,
  O_PATH,
  openat2,
  openDirectoryInRoot,
  readdirFd,
  readlinkat,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  symlinkat,
  unlinkat,
  utimensat,
} from '../../kernel/index.js';
import type { Unsettled } from './extract.js';
import { readable } from './paths.js';

const bytes = (key: string) => Buffer.from(key, 'latin1');
const YES = Buffer.from('y');

/**
 * Finishes a freshly unpacked layer with the help of those below it, so that the stack looks as if each layer had been
 * applied onto the merged ones: directories that the archive only implied take the attributes they have below, whiteouts
 * that hide nothing go (overlay would show them in a directory of one layer alone), hard links to files below become
 * copies, as a copy-up would make them.
 * @param root the layer's directory
 * @param lowers directories of the layers below, lowest first
 * @throws ImageError where a hard link leads nowhere
 */
export function settleLayer(root: string, lowers: readonly string[], unsettled: Unsettled): void {
  const fds: number[] = [];
  try {
    const open = (directory: string) => {
      const fd = openat2(AT_FDCWD, directory, O_PATH | constants.O_DIRECTORY);
      fds.push(fd);
      return fd;
    };
    const layer = open(root);
    const below = [...lowers].reverse().map(open);
    if (unsettled.opaqueRoot) hideAll(layer, below);
    for (const key of unsettled.whiteouts) {
      if (unsettled.opaqueRoot || !findBelow(below, key))
        dropWhiteout(layer, key, unsettled.opaqueRoot, below);
    }
    for (const link of unsettled.links) copyUp(layer, below, link.path, link.target);
    // Deepest first: settling one changes its parent's times.
    for (const key of [...unsettled.implied].sort((a, b) => b.length - a.length)) {
      const found = findBelow(below, key);
      if (found && (found.stat.mode & S_IFMT) === S_IFDIR) likeBelow(layer, key, found);
      else setTime(layer, key, { sec: 0, nsec: 0 });
    }
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

interface Found {
  fd: number;
  stat: FileStat;
}

/** What the layers below show at a path: the topmost file, unless a whiteout or an opaque directory hides it. */
function findBelow(below: readonly number[], key: string): Found | undefined {
  const parts = key === '' ? [] : key.split('/');
  for (const fd of below) {
    if (parts.length === 0) return { fd, stat: lstatat(fd, '')! };
    let opaque = false;
    for (let i = 1; i <= parts.length; i++) {
      const path = bytes(parts.slice(0, i).join('/'));
      const stat = lstatat(fd, path);
      if (!stat) break;
      if (isWhiteout(stat)) return undefined;
      if (i === parts.length) return { fd, stat };
      if ((stat.mode & S_IFMT) !== S_IFDIR) return undefined;
      opaque ||= lgetxattrat(fd, path, 'trusted.overlay.opaque')?.equals(YES) ?? false;
    }
    if (opaque) return undefined;
  }
  return undefined;
}

function isWhiteout(stat: FileStat): boolean {
  return (stat.mode & S_IFMT) === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0;
}

/**
 * Runs a call on a path of the new layer, whose directories may be symlinks that it has itself: they are resolved as if
 * the layer were "/".
 */
function inLayer<T>(layer: number, key: string, use: (dir: number, name: Buffer) => T): T {
  const slash = key.lastIndexOf('/');
  const dir = openDirectoryInRoot(layer, slash < 0 ? '.' : bytes(key.slice(0, slash)));
  try {
    return use(dir, bytes(key.slice(slash + 1)));
  } finally {
    closeSync(dir);
  }
}

/** As inLayer(), for what makes or removes names: the directory keeps the times that its archive gave it. */
function changeInLayer<T>(layer: number, key: string, use: (dir: number, name: Buffer) => T): T {
  return inLayer(layer, key, (dir, name) => {
    const { mtime } = lstatat(dir, '')!;
    try {
      return use(dir, name);
    } finally {
      utimensat(dir, '.', mtime, mtime);
    }
  });
}

function dropWhiteout(layer: number, key: string, opaqueRoot: boolean, below: readonly number[]): void {
  if (opaqueRoot && !key.includes('/') && findBelow(below, key)) return;
  changeInLayer(layer, key, (dir, name) => {
    const stat = lstatat(dir, name);
    if (stat && isWhiteout(stat)) unlinkat(dir, name);
  });
}

/** Hides every name that shows at the root of the layers below. */
function hideAll(layer: number, below: readonly number[]): void {
  const { mtime } = lstatat(layer, '')!;
  for (const fd of below) {
    for (const { name } of readdirFd(fd)) {
      const there = lstatat(layer, name);
      if (there) {
        if ((there.mode & S_IFMT) === S_IFDIR) lsetxattrat(layer, name, 'trusted.overlay.opaque', YES);
      } else if (findBelow(below, name.toString('latin1'))) {
        mknodat(layer, name, S_IFCHR, 0, 0);
      }
    }
  }
  utimensat(layer, '.', mtime, mtime);
}

function likeBelow(layer: number, key: string, found: Found): void {
  const { stat } = found;
  inLayer(layer, key, (dir, last) => {
    const name = key === '' ? bytes('.') : last;
    lchownat(dir, name, stat.uid, stat.gid);
    chmodat(dir, name, stat.mode & 0o7777);
    copyXattrs(found.fd, key === '' ? bytes('.') : bytes(key), dir, name);
    utimensat(dir, name, stat.mtime, stat.mtime);
  });
}

function setTime(layer: number, key: string, time: { sec: number; nsec: number }): void {
  inLayer(layer, key, (dir, name) => utimensat(dir, key === '' ? '.' : name, time, time));
}

function copyXattrs(from: number, fromPath: Buffer, to: number, toPath: Buffer): void {
  for (const name of llistxattrat(from, fromPath)) {
    if (name.toString('latin1').startsWith('trusted.overlay.')) continue;
    const value = lgetxattrat(from, fromPath, name);
    try {
      if (value) lsetxattrat(to, toPath, name, value);
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error;
    }
  }
}

/** A hard link whose target lies below: the file is copied up, under both names, as one inode. */
function copyUp(layer: number, below: readonly number[], path: string, target: string): void {
  changeInLayer(layer, path, (dir, name) => {
    const own = ownFile(layer, target, (from, file) => linkat(from, file, dir, name));
    if (own) return;
    const found = findBelow(below, target);
    if (!found || (found.stat.mode & S_IFMT) === S_IFDIR) {
      throw new ImageError(
        `${readable(path)} is a hard link to ${readable(target)}, which the image doesn't have`,
      );
    }
    copyFile(found, target, dir, name);
    // The target's directory may be absent in this layer; then only the new name is its own.
    try {
      changeInLayer(layer, target, (to, file) => linkat(dir, name, to, file));
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
  });
}

/** Runs `use` where the layer itself has the file. */
function ownFile(layer: number, key: string, use: (dir: number, name: Buffer) => void): boolean {
  try {
    return inLayer(layer, key, (dir, name) => {
      const stat = lstatat(dir, name);
      if (!stat || isWhiteout(stat)) return false;
      use(dir, name);
      return true;
    });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

function copyFile(found: Found, from: string, dir: number, name: Buffer): void {
  const { fd, stat } = found;
  const kind = stat.mode & S_IFMT;
  if (kind === S_IFLNK) {
    symlinkat(readlinkat(fd, bytes(from)), dir, name);
  } else if (kind === S_IFREG) {
    const source = openat2(fd, bytes(from), constants.O_RDONLY | constants.O_NOFOLLOW);
    const copy = openat2(dir, name, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      for (let at = 0; at < stat.size; ) {
        const n = copyFileRange(source, at, copy, at, stat.size - at);
        if (n === 0) break;
        at += n;
      }
    } finally {
      closeSync(source);
      closeSync(copy);
    }
  } else {
    mknodat(dir, name, stat.mode, stat.rdevMajor, stat.rdevMinor);
  }
  lchownat(dir, name, stat.uid, stat.gid);
  if (kind !== S_IFLNK) chmodat(dir, name, stat.mode & 0o7777);
  copyXattrs(fd, bytes(from), dir, name);
  utimensat(dir, name, stat.mtime, stat.mtime);
}
