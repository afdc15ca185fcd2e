import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs';
import { fromErrno, isErrno } from '../base/index.js';

export type FileKind = 'file' | 'directory' | 'link' | 'char' | 'block' | 'fifo' | 'socket';

export interface FileStat {
  kind: FileKind;
  /** Permission bits with set-id and sticky bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Of a device node; 0 otherwise. */
  major: number;
  minor: number;
}

/**
 * What discovery reads of a file tree: the machine's own, a tree below another root (a driver container, a test's
 * fake), an image's layers, or a tree in memory. Paths are absolute within the tree; what isn't there is undefined,
 * never an error, because discovery is mostly about what is missing.
 */
export interface HostFiles {
  lstat(file: string): FileStat | undefined;
  /** Whole content; undefined where there is no such regular file. Also for files of /proc. */
  readText(file: string): string | undefined;
  /** Bytes from `offset`; fewer at the end of the file. */
  readBytes(file: string, offset: number, length: number): Uint8Array | undefined;
  /** Sorted names; empty where there is no such directory. */
  readDirectory(file: string): string[];
  readLink(file: string): string | undefined;
  /** Where a file of the tree lies on this machine, for a bind mount's source. */
  onHost(file: string): string;
}

/**
 * A tree on disk. `root` is '' for the machine itself.
 *
 * Most of what discovery asks for isn't there, and an exception costs Node more than ten system calls: existence is
 * asked for first, where it can be without one. Links are read where rememberingFiles() knows that there is one.
 */
export function diskFiles(root = ''): HostFiles {
  const at = (file: string) => (root === '' ? file : root + file);
  const there = (file: string) => statSync(at(file), { throwIfNoEntry: false }) !== undefined;
  return {
    onHost: at,
    lstat(file) {
      return absentAs(undefined, `look at ${at(file)}`, () => {
        const s = lstatSync(at(file), { throwIfNoEntry: false });
        if (!s) return undefined;
        const kind = s.isFile()
          ? 'file'
          : s.isDirectory()
            ? 'directory'
            : s.isSymbolicLink()
              ? 'link'
              : s.isCharacterDevice()
                ? 'char'
                : s.isBlockDevice()
                  ? 'block'
                  : s.isFIFO()
                    ? 'fifo'
                    : 'socket';
        const device = kind === 'char' || kind === 'block';
        return {
          kind,
          mode: s.mode & 0o7777,
          uid: s.uid,
          gid: s.gid,
          major: device ? major(s.rdev) : 0,
          minor: device ? minor(s.rdev) : 0,
        };
      });
    },
    readText(file) {
      return absentAs(undefined, `read ${at(file)}`, () =>
        there(file) ? readFileSync(at(file), 'utf8') : undefined,
      );
    },
    readBytes(file, offset, length) {
      return absentAs(undefined, `read ${at(file)}`, () => {
        if (!there(file)) return undefined;
        const fd = openSync(at(file), 'r');
        try {
          const { size } = fstatSync(fd);
          // Files of /proc have no size.
          const bytes = Buffer.allocUnsafe(size > 0 ? Math.max(0, Math.min(length, size - offset)) : length);
          return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, offset));
        } finally {
          closeSync(fd);
        }
      });
    },
    readDirectory(file) {
      return absentAs([], `list ${at(file)}`, () => (there(file) ? readdirSync(at(file)).sort() : []));
    },
    readLink(file) {
      return absentAs(undefined, `read the link ${at(file)}`, () => readlinkSync(at(file)));
    },
  };
}

/**
 * The same tree, each place looked at once, and none below a directory that isn't there: for the length of one
 * discovery.
 */
export function rememberingFiles(files: HostFiles): HostFiles {
  if (remembering.has(files)) return files;
  const stats = new Map<string, FileStat | undefined>();
  const links = new Map<string, string | undefined>();
  const texts = new Map<string, string | undefined>();
  const lists = new Map<string, string[]>();
  /** Known not to be there, by itself or by a directory above it. */
  const missing = (file: string): boolean => {
    for (let at = file; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
      if (stats.has(at)) return stats.get(at) === undefined;
    }
    return false;
  };
  const lstat = (file: string) => {
    if (!stats.has(file)) stats.set(file, missing(file) ? undefined : files.lstat(file));
    return stats.get(file);
  };
  const remembered: HostFiles = {
    ...files,
    lstat,
    readText(file) {
      if (!texts.has(file)) texts.set(file, missing(file) ? undefined : files.readText(file));
      return texts.get(file);
    },
    readBytes: (file, offset, length) => (missing(file) ? undefined : files.readBytes(file, offset, length)),
    readDirectory(file) {
      let names = lists.get(file);
      if (!names) {
        names = missing(file) ? [] : files.readDirectory(file);
        lists.set(file, names);
      }
      return names;
    },
    readLink(file) {
      if (!links.has(file)) links.set(file, lstat(file)?.kind === 'link' ? files.readLink(file) : undefined);
      return links.get(file);
    },
  };
  remembering.add(remembered);
  return remembered;
}

const remembering = new WeakSet<HostFiles>();

/**
 * Follows every symbolic link of a path inside the tree: an absolute link counts from the tree's root, and `..`
 * never leaves it.
 * @returns the path without links; undefined where something on the way is missing or links go round in a circle
 */
export function realPath(files: HostFiles, file: string): string | undefined {
  const rest = file.split('/').reverse();
  let done = '';
  for (let links = 0; rest.length > 0; ) {
    const name = rest.pop();
    if (name === undefined || name === '' || name === '.') continue;
    if (name === '..') {
      done = done.slice(0, Math.max(0, done.lastIndexOf('/')));
      continue;
    }
    const here = `${done}/${name}`;
    const target = files.readLink(here);
    if (target === undefined) {
      // Nothing is below what isn't there.
      if (rest.length > 0 && !files.lstat(here)) return undefined;
      done = here;
      continue;
    }
    if (++links > 40) return undefined;
    if (target.startsWith('/')) done = '';
    rest.push(...target.split('/').reverse());
  }
  if (done === '') return '/';
  return files.lstat(done) ? done : undefined;
}

/** lstat of what a path leads to, links followed inside the tree. */
export function stat(files: HostFiles, file: string): FileStat | undefined {
  const real = realPath(files, file);
  return real === undefined ? undefined : files.lstat(real);
}

export function exists(files: HostFiles, file: string): boolean {
  return stat(files, file) !== undefined;
}

/** makedev(3) the other way: 12 bits of major and 20 of minor in the kernel's new_encode_dev, 32 each in glibc's. */
function major(rdev: number): number {
  const dev = BigInt(rdev);
  return Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n));
}

function minor(rdev: number): number {
  const dev = BigInt(rdev);
  return Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n));
}

/** EINVAL is readlink(2) on something that isn't a link; ENODEV and EIO come from a driver's /proc files that go. */
function absentAs<T>(absent: T, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EINVAL', 'EISDIR', 'ELOOP', 'ENODEV', 'ENXIO', 'EIO'))
      return absent;
    throw fromErrno(what, error);
  }
}
