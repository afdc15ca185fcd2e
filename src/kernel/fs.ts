import { addon } from './addon.js';

/** Bytes of a file name. A string stands for its UTF-8 bytes. */
export type Name = string | Buffer;

declare module './addon.js' {
  interface NativeAddon {
    openat2(dirfd: number, path: Name, flags: number, mode: number, resolve: number): number;
    mkdirat(dirfd: number, path: Name, mode: number): void;
    mknodat(dirfd: number, path: Name, mode: number, major: number, minor: number): void;
    symlinkat(target: Name, dirfd: number, path: Name): void;
    linkat(oldDirfd: number, oldPath: Name, newDirfd: number, newPath: Name, flags: number): void;
    unlinkat(dirfd: number, path: Name, flags: number): void;
    renameat2(oldDirfd: number, oldPath: Name, newDirfd: number, newPath: Name, flags: number): void;
    fchownat(dirfd: number, path: Name, uid: number, gid: number, flags: number): void;
    fchmodat(dirfd: number, path: Name, mode: number): void;
    utimensat(
      dirfd: number,
      path: Name,
      atimeSec: number,
      atimeNsec: number,
      mtimeSec: number,
      mtimeNsec: number,
      flags: number,
    ): void;
    statat(dirfd: number, path: Name, flags: number, out: Float64Array): boolean;
    readlinkat(dirfd: number, path: Name): Buffer;
    readdir(dirfd: number): (Buffer | number)[];
    setxattr(dirfd: number, path: Name, name: Name, value: Buffer): void;
    getxattr(dirfd: number, path: Name, name: Name): Buffer | undefined;
    listxattr(dirfd: number, path: Name): Buffer;
    removexattr(dirfd: number, path: Name, name: Name): void;
    lseek(fd: number, offset: number, whence: number): number;
    copyFileRange(fromFd: number, fromOffset: number, toFd: number, toOffset: number, length: number): number;
    dup(fd: number): number;
    removeTree(dirfd: number, path: Name): void;
    removeTreeAsync(dirfd: number, path: Name): Promise<void>;
    syncfs(fd: number): Promise<void>;
    unpackPlain(dirfd: number, parent: Buffer, tar: Buffer, at: number, out: Float64Array): number;
  }
}

/** Linux's numbers, the same on x86-64 and arm64 unless said. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;
export const O_PATH = 0x200000;
// O_DIRECTORY and O_NOFOLLOW differ between architectures: taken from node:fs where they are used.
const O_DIRECTORY = process.arch === 'arm64' ? 0x4000 : 0x10000;

export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export const DT_DIR = 4;

/**
 * Opens a path under a directory fd with rules for its resolution; always close-on-exec.
 * @param flags open(2) flags as node:fs.constants has them, and O_PATH
 * @param resolve RESOLVE_* bits; `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS` treats dirfd as "/"
 * @returns the fd; the caller closes it
 * @throws {code, syscall, path}: EXDEV where the path leads out, ELOOP for a symlink that isn't allowed
 * @see openat2(2), Linux 5.6
 */
export function openat2(dirfd: number, path: Name, flags: number, mode = 0, resolve = 0): number {
  return addon().openat2(dirfd, path, flags, mode, resolve);
}

/** Opens a directory as `dirfd` is "/": symlinks and `..` stay inside. The fd is O_PATH: a place, not for reading. */
export function openDirectoryInRoot(dirfd: number, path: Name): number {
  return addon().openat2(dirfd, path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/** mkdirat(2). The mode is subject to the process's umask. */
export function mkdirat(dirfd: number, path: Name, mode: number): void {
  addon().mkdirat(dirfd, path, mode);
}

/**
 * Makes a FIFO, socket, device node or empty file.
 * @param mode type (S_IF*) and permission bits, subject to the umask
 * @see mknodat(2): devices need CAP_MKNOD, but for the whiteout 0:0
 */
export function mknodat(dirfd: number, path: Name, mode: number, major = 0, minor = 0): void {
  addon().mknodat(dirfd, path, mode, major, minor);
}

/** symlinkat(2): makes `path` a symlink whose text is `target`. */
export function symlinkat(target: Name, dirfd: number, path: Name): void {
  addon().symlinkat(target, dirfd, path);
}

/** linkat(2). Flags: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH. A symlink itself is linked without them. */
export function linkat(oldDirfd: number, oldPath: Name, newDirfd: number, newPath: Name, flags = 0): void {
  addon().linkat(oldDirfd, oldPath, newDirfd, newPath, flags);
}

/** unlinkat(2). Flags: AT_REMOVEDIR. */
export function unlinkat(dirfd: number, path: Name, flags = 0): void {
  addon().unlinkat(dirfd, path, flags);
}

/** renameat2(2). Flags: 1 RENAME_NOREPLACE, 2 RENAME_EXCHANGE. */
export function renameat2(oldDirfd: number, oldPath: Name, newDirfd: number, newPath: Name, flags = 0): void {
  addon().renameat2(oldDirfd, oldPath, newDirfd, newPath, flags);
}

/** Owner of a file, not following a last symlink. Clears setuid bits and capabilities: call it before chmod. */
export function lchownat(dirfd: number, path: Name, uid: number, gid: number): void {
  addon().fchownat(dirfd, path, uid, gid, path.length === 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW);
}

/** Permission bits. Follows a last symlink (Linux has no other way): never call it on one. */
export function chmodat(dirfd: number, path: Name, mode: number): void {
  addon().fchmodat(dirfd, path, mode);
}

/**
 * Sets access and modification time, to the nanosecond, not following a last symlink. An empty path means the fd
 * itself, which must then not be O_PATH.
 * @param nsec 0–999 999 999; seconds may be negative
 */
export function utimensat(
  dirfd: number,
  path: Name,
  atime: { sec: number; nsec: number },
  mtime: { sec: number; nsec: number },
): void {
  addon().utimensat(dirfd, path, atime.sec, atime.nsec, mtime.sec, mtime.nsec, AT_SYMLINK_NOFOLLOW);
}

/** What fstatat(2) says. Times are whole seconds since 1970 and the nanoseconds on top. */
export interface FileStat {
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  nlink: number;
  ino: number;
  dev: number;
  /** Device number of a node. */
  rdevMajor: number;
  rdevMinor: number;
  mtime: { sec: number; nsec: number };
  /** Units of 512 bytes on disk. */
  blocks: number;
  ctime: { sec: number; nsec: number };
  atime: { sec: number; nsec: number };
}

const statFields = new Float64Array(16);

/**
 * Status of a file, not following a last symlink; undefined where there is none. An empty path means the fd itself.
 * @throws {code, syscall, path} for anything but ENOENT and ENOTDIR
 */
export function lstatat(dirfd: number, path: Name): FileStat | undefined {
  const f = statFields;
  const flags = AT_SYMLINK_NOFOLLOW | (path.length === 0 ? AT_EMPTY_PATH : 0);
  if (!addon().statat(dirfd, path, flags, f)) return undefined;
  return {
    mode: f[0]!,
    uid: f[1]!,
    gid: f[2]!,
    size: f[3]!,
    nlink: f[4]!,
    ino: f[5]!,
    dev: f[6]!,
    rdevMajor: f[7]!,
    rdevMinor: f[8]!,
    mtime: { sec: f[9]!, nsec: f[10]! },
    blocks: f[11]!,
    ctime: { sec: f[12]!, nsec: f[13]! },
    atime: { sec: f[14]!, nsec: f[15]! },
  };
}

/** Text of a symlink, as bytes. */
export function readlinkat(dirfd: number, path: Name): Buffer {
  return addon().readlinkat(dirfd, path);
}

export interface DirectoryEntry {
  name: Buffer;
  /** DT_* of readdir(3); 0 where the filesystem doesn't say. */
  type: number;
}

/** Entries of an open directory (O_PATH is enough), without `.` and `..`, in the filesystem's order. */
export function readdirFd(dirfd: number): DirectoryEntry[] {
  const flat = addon().readdir(dirfd);
  const out: DirectoryEntry[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    out.push({ name: flat[i] as Buffer, type: flat[i + 1] as number });
  }
  return out;
}

/**
 * Extended attributes of a file, not following a last symlink; an empty path means the fd's own file. Values are
 * bytes, exactly as the kernel has them.
 * @throws {code, syscall, path}: EOPNOTSUPP where the filesystem has none, ENOSPC/E2BIG where it is too much
 * @see xattr(7); goes through /proc/self/fd, since setxattrat(2) came with Linux 6.13
 */
export function lsetxattrat(dirfd: number, path: Name, name: Name, value: Buffer): void {
  addon().setxattr(dirfd, path, name, value);
}

/** One extended attribute, see lsetxattrat; undefined where the file has none of that name. */
export function lgetxattrat(dirfd: number, path: Name, name: Name): Buffer | undefined {
  return addon().getxattr(dirfd, path, name);
}

/** Removes an extended attribute; a missing one is no error. */
export function lremovexattrat(dirfd: number, path: Name, name: Name): void {
  addon().removexattr(dirfd, path, name);
}

/** Names of all extended attributes, as bytes. */
export function llistxattrat(dirfd: number, path: Name): Buffer[] {
  const all = addon().listxattr(dirfd, path);
  const out: Buffer[] = [];
  for (let at = 0; at < all.length; ) {
    const end = all.indexOf(0, at);
    out.push(all.subarray(at, end));
    at = end + 1;
  }
  return out;
}

/**
 * Where the next data (or hole) of a file begins at or behind an offset, in bytes; -1 where none is left.
 * @see lseek(2) SEEK_DATA, SEEK_HOLE
 */
export function seekData(fd: number, offset: number): number {
  return addon().lseek(fd, offset, 3);
}
export function seekHole(fd: number, offset: number): number {
  return addon().lseek(fd, offset, 4);
}

/** copy_file_range(2): copies in the kernel, sharing blocks where the filesystem can. Returns bytes copied, 0 at the end. */
export function copyFileRange(
  fromFd: number,
  fromOffset: number,
  toFd: number,
  toOffset: number,
  length: number,
): number {
  return addon().copyFileRange(fromFd, fromOffset, toFd, toOffset, length);
}

/** A second fd for the same open file, close-on-exec. */
export function dupFd(fd: number): number {
  return addon().dup(fd);
}

/**
 * Removes a name and all below it, on a thread of the pool; a missing one is no error. Never follows a symlink, and
 * names may be any bytes.
 * @param dirfd directory that holds it; AT_FDCWD with an absolute path
 */
export function removeTree(path: Name, dirfd = AT_FDCWD): Promise<void> {
  return addon().removeTreeAsync(dirfd, path);
}

/** removeTree in this thread. */
export function removeTreeSync(path: Name, dirfd = AT_FDCWD): void {
  addon().removeTree(dirfd, path);
}

/** Writes out everything of the filesystem that holds the fd, on a thread of the pool. @see syncfs(2) */
export function syncfs(fd: number): Promise<void> {
  return addon().syncfs(fd);
}

const plainRun = new Float64Array(2);

/** What unpackPlain has made. */
export interface PlainRun {
  /** Bytes of the archive, whole members; 0 where the first is none that it makes. */
  consumed: number;
  members: number;
  /** Bytes of regular files. */
  size: number;
}

/**
 * Makes ordinary members of a tar: new regular files and symlinks directly in one directory, that lie in the piece as a
 * whole. Stops before the first that is anything else or can't be made; nothing of that one is left. Never throws.
 * @param dirfd the directory
 * @param parent its path in the archive, clean, as bytes; empty for the root
 * @param at where a member's first header begins in `tar`
 */
export function unpackPlain(dirfd: number, parent: Buffer, tar: Buffer, at: number): PlainRun {
  const consumed = addon().unpackPlain(dirfd, parent, tar, at, plainRun);
  return { consumed, members: plainRun[0]!, size: plainRun[1]! };
}
