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
  unlinkat,
  utimensat,
} from '../kernel/index.js';

/** Entries copied before other work of the process gets its turn. */
const BREATH = 64;

export interface CopyOptions {
  /** Owner of the copy; default the same numbers. */
  owner?: ((uid: number, gid: number) => readonly [number, number]) | undefined;
  /** What is there already is replaced (a directory merged). Default: it must be a new place. */
  replace?: boolean | undefined;
  /** Extended attributes to copy; default all but the overlay's own. */
  attribute?: ((name: string) => boolean) | undefined;
  /** copyTree: leave owner, mode and times of the directory itself as they are. */
  keepTop?: boolean | undefined;
  /** Called with the bytes of each file as it is done. */
  onFile?: ((bytes: number) => void) | undefined;
}

interface Copy extends CopyOptions {
  /** Source inode with several names → where its first name was put, from the root of the copy. */
  links: Map<string, Buffer>;
  root: number;
  count: number;
}

/**
 * Copies everything below one open directory into another: owners, modes, times, extended attributes, hard links,
 * holes, device nodes. Never follows a symlink. The directory itself gets the source's owner, mode and attributes.
 * @throws {code, syscall, path} of the call that failed; what was copied until then stays
 */
export async function copyTree(fromFd: number, toFd: number, options: CopyOptions = {}): Promise<void> {
  const copy: Copy = { ...options, links: new Map(), root: toFd, count: 0 };
  await copyDirectory(fromFd, toFd, Buffer.alloc(0), copy);
}

/** Copies one file or directory, with all below it, to another name. See copyTree. */
export async function copyEntry(
  fromFd: number,
  fromName: Name,
  toFd: number,
  toName: Name,
  options: CopyOptions = {},
): Promise<void> {
  const stat = lstatat(fromFd, fromName);
  if (!stat) throw Object.assign(new Error('no such file'), { code: 'ENOENT', path: String(fromName) });
  const copy: Copy = { ...options, links: new Map(), root: toFd, count: 0 };
  const name = Buffer.from(toName as string);
  await copyOne(fromFd, Buffer.from(fromName as string), toFd, name, stat, name, copy);
}

async function copyDirectory(fromFd: number, toFd: number, prefix: Buffer, copy: Copy): Promise<void> {
  for (const { name } of readdirFd(fromFd)) {
    const stat = lstatat(fromFd, name);
    if (!stat) continue; // gone meanwhile
    if (++copy.count % BREATH === 0) await new Promise((resolve) => setImmediate(resolve));
    const full = prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
    if ((stat.mode & S_IFMT) !== S_IFDIR && stat.nlink > 1) {
      const key = `${stat.dev}:${stat.ino}`;
      const first = copy.links.get(key);
      if (first) {
        if (copy.replace) clear(toFd, name, stat);
        linkat(copy.root, first, toFd, name);
        continue;
      }
      copy.links.set(key, full);
    }
    await copyOne(fromFd, name, toFd, name, stat, full, copy);
  }
  if (prefix.length > 0 || !copy.keepTop) copyMeta(fromFd, '', toFd, '', lstatat(fromFd, '')!, copy);
}

/** Removes what is in the way of something that isn't a directory. */
function clear(toFd: number, name: Name, stat: FileStat): void {
  const there = lstatat(toFd, name);
  if (!there) return;
  const isDirectory = (there.mode & S_IFMT) === S_IFDIR;
  if ((stat.mode & S_IFMT) === S_IFDIR) {
    if (isDirectory) return;
    throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR', path: String(name) });
  }
  if (isDirectory) throw Object.assign(new Error('is a directory'), { code: 'EISDIR', path: String(name) });
  unlinkat(toFd, name);
}

async function copyOne(
  fromFd: number,
  fromName: Buffer,
  toFd: number,
  toName: Buffer,
  stat: FileStat,
  full: Buffer,
  copy: Copy,
): Promise<void> {
  if (copy.replace) clear(toFd, toName, stat);
  switch (stat.mode & S_IFMT) {
    case S_IFDIR: {
      if (!copy.replace || !lstatat(toFd, toName)) mkdirat(toFd, toName, 0o700);
      const flags = constants.O_RDONLY | constants.O_DIRECTORY;
      const from = openat2(fromFd, fromName, flags, 0, RESOLVE_NO_SYMLINKS);
      try {
        const to = openat2(toFd, toName, flags, 0, RESOLVE_NO_SYMLINKS);
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
      copyFile(fromFd, fromName, toFd, toName, stat);
      copy.onFile?.(stat.size);
      break;
    case S_IFLNK:
      symlinkat(readlinkat(fromFd, fromName), toFd, toName);
      break;
    default:
      mknodat(toFd, toName, stat.mode, stat.rdevMajor, stat.rdevMinor);
  }
  copyMeta(fromFd, fromName, toFd, toName, stat, copy);
}

/** Contents of a regular file, holes kept. */
function copyFile(fromFd: number, fromName: Name, toFd: number, toName: Name, stat: FileStat): void {
  const from = openat2(fromFd, fromName, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const to = openat2(toFd, toName, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
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
function copyMeta(
  fromFd: number,
  fromName: Name,
  toFd: number,
  toName: Name,
  stat: FileStat,
  copy: CopyOptions,
): void {
  const [uid, gid] = copy.owner?.(stat.uid, stat.gid) ?? [stat.uid, stat.gid];
  const isSelf = toName.length === 0;
  if (isSelf) fchownSync(toFd, uid, gid);
  else lchownat(toFd, toName, uid, gid);
  if (isSelf) fchmodSync(toFd, stat.mode & 0o7777);
  else if ((stat.mode & S_IFMT) !== S_IFLNK) chmodat(toFd, toName, stat.mode & 0o7777);
  const wanted = copy.attribute ?? isOwn;
  for (const attribute of llistxattrat(fromFd, fromName)) {
    if (!wanted(attribute.toString('latin1'))) continue;
    const value = lgetxattrat(fromFd, fromName, attribute);
    if (value) lsetxattrat(toFd, toName, attribute, value);
  }
  utimensat(toFd, toName, stat.atime, stat.mtime);
}

/** Not the overlay's own book-keeping. */
const isOwn = (attribute: string): boolean => !attribute.startsWith('trusted.overlay.');
