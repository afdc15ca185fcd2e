import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { isErrno } from '../base/index.js';
import {
  chmodat,
  copyFileRange,
  type FileStat,
  lchownat,
  lgetxattrat,
  linkat,
  llistxattrat,
  lsetxattrat,
  lstatat,
  mkdirat,
  mknodat,
  type Name,
  openat2,
  RESOLVE_NO_SYMLINKS,
  readdirFd,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  seekData,
  seekHole,
  symlinkat,
  utimensat,
} from '../kernel/index.js';

/** Entries copied before other work of the process gets its turn. */
const BREATH = 64;

interface Copy {
  /** Source inode with several names → where its first name was put. */
  links: Map<string, { dirfd: number; path: Buffer }>;
  root: number;
  count: number;
}

/**
 * Copies everything below one open directory into another: owners, modes, times, extended attributes, hard links,
 * holes, device nodes. Never follows a symlink. The directory itself gets the source's owner, mode and attributes.
 * @throws {code, syscall, path} of the call that failed; what was copied until then stays
 */
export async function copyTree(fromFd: number, toFd: number): Promise<void> {
  const copy: Copy = { links: new Map(), root: toFd, count: 0 };
  await copyDirectory(fromFd, toFd, Buffer.alloc(0), copy);
}

async function copyDirectory(fromFd: number, toFd: number, prefix: Buffer, copy: Copy): Promise<void> {
  for (const { name } of readdirFd(fromFd)) {
    const stat = lstatat(fromFd, name);
    if (!stat) continue; // gone meanwhile
    if (++copy.count % BREATH === 0) await new Promise((resolve) => setImmediate(resolve));
    const full = prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
    const key = `${stat.dev}:${stat.ino}`;
    if ((stat.mode & S_IFMT) !== S_IFDIR && stat.nlink > 1) {
      const first = copy.links.get(key);
      if (first) {
        linkat(copy.root, first.path, toFd, name);
        continue;
      }
      copy.links.set(key, { dirfd: copy.root, path: full });
    }
    await copyEntry(fromFd, toFd, name, stat, full, copy);
  }
  copyMeta(fromFd, toFd, '', lstatat(fromFd, '')!);
}

async function copyEntry(
  fromFd: number,
  toFd: number,
  name: Buffer,
  stat: FileStat,
  full: Buffer,
  copy: Copy,
): Promise<void> {
  switch (stat.mode & S_IFMT) {
    case S_IFDIR: {
      mkdirat(toFd, name, 0o700);
      const flags = constants.O_RDONLY | constants.O_DIRECTORY;
      const from = openat2(fromFd, name, flags, 0, RESOLVE_NO_SYMLINKS);
      try {
        const to = openat2(toFd, name, flags, 0, RESOLVE_NO_SYMLINKS);
        try {
          await copyDirectory(from, to, full, copy);
        } finally {
          closeSync(to);
        }
      } finally {
        closeSync(from);
      }
      return;
    }
    case S_IFREG:
      copyFile(fromFd, toFd, name, stat);
      break;
    case S_IFLNK:
      symlinkat(readlinkat(fromFd, name), toFd, name);
      break;
    default:
      mknodat(toFd, name, stat.mode, stat.rdevMajor, stat.rdevMinor);
  }
  copyMeta(fromFd, toFd, name, stat);
}

/** Contents of a regular file, holes kept. */
function copyFile(fromFd: number, toFd: number, name: Name, stat: FileStat): void {
  const from = openat2(fromFd, name, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const to = openat2(toFd, name, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      for (let at = 0; at < stat.size; ) {
        const data = seekData(from, at);
        if (data < 0) break;
        const hole = seekHole(from, data);
        at = hole < 0 ? stat.size : hole;
        for (let done = data; done < at; ) {
          const n = copyPart(from, to, done, at - done);
          if (n === 0) break;
          done += n;
        }
      }
      ftruncateSync(to, stat.size);
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

/** Copies some bytes at the same offset: in the kernel, or through a buffer between filesystems of different kinds. */
function copyPart(from: number, to: number, at: number, length: number): number {
  try {
    return copyFileRange(from, at, to, at, length);
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOSYS')) throw error;
    const buffer = Buffer.allocUnsafe(Math.min(length, 1 << 20));
    const n = readSync(from, buffer, 0, buffer.length, at);
    for (let done = 0; done < n; ) done += writeSync(to, buffer, done, n - done, at + done);
    return n;
  }
}

/** Owner, then mode (chown clears setuid), then attributes, then times. */
function copyMeta(fromFd: number, toFd: number, name: Name, stat: FileStat): void {
  const self = name.length === 0;
  const to = self ? toFd : undefined;
  if (to !== undefined) fchownSync(to, stat.uid, stat.gid);
  else lchownat(toFd, name, stat.uid, stat.gid);
  if (to !== undefined) fchmodSync(to, stat.mode & 0o7777);
  else if ((stat.mode & S_IFMT) !== S_IFLNK) chmodat(toFd, name, stat.mode & 0o7777);
  for (const attribute of llistxattrat(fromFd, name)) {
    // trusted.overlay.* is the overlay's own book-keeping.
    if (attribute.toString('latin1').startsWith('trusted.overlay.')) continue;
    const value = lgetxattrat(fromFd, name, attribute);
    if (value) lsetxattrat(toFd, name, attribute, value);
  }
  utimensat(toFd, name, stat.atime, stat.mtime);
}
