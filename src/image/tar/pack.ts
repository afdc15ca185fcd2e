import { closeSync, constants, readSync } from 'node:fs';
import { fromErrno } from '../../base/index.js';
import {
  type FileStat,
  lgetxattrat,
  llistxattrat,
  lstatat,
  openat2,
  RESOLVE_NO_SYMLINKS,
  readdirFd,
  readlinkat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../kernel/index.js';
import type { TarEntry } from './entry.js';
import { tarEnd, tarHeader, tarPadding } from './writer.js';

export interface PackOptions {
  /** Id in the archive for one on disk; by default the same. */
  mapId?: ((id: number) => number) | undefined;
  /**
   * Writes an overlay's upper directory as a layer: 0:0 devices become `.wh.` files, opaque directories get
   * `.wh..wh..opq`.
   */
  layer?: boolean | undefined;
  /** Whether the root directory itself gets an entry. Default true for a layer, false else. */
  rootEntry?: boolean | undefined;
  /** These names in the root directory alone, in this order. */
  only?: readonly Buffer[] | undefined;
  /** Directories that something else is mounted on go in empty. */
  oneFilesystem?: boolean | undefined;
}

const EMPTY = Buffer.alloc(0);
const PIECE = 1 << 20;
/** Headers and small files are gathered up to this before they are handed out. */
const GATHER = 256 * 1024;

/**
 * The tree below a directory fd as a tar, in pieces: names sorted by their bytes, hard links kept, xattrs binary-exact
 * (overlay's own left out), times to the nanosecond, sockets left out as tar has no kind for them.
 * Each piece is good for as long as the caller likes.
 * @throws NsboxError naming the file
 */
export async function* packTree(root: number, options: PackOptions = {}): AsyncGenerator<Buffer> {
  const gathered: Buffer[] = [];
  let size = 0;
  for (const piece of members(root, options)) {
    gathered.push(piece);
    size += piece.length;
    if (size >= GATHER) {
      yield Buffer.concat(gathered.splice(0));
      size = 0;
    }
  }
  gathered.push(tarEnd());
  yield Buffer.concat(gathered);
}

interface Walk {
  options: PackOptions;
  /** Where an inode with several links was written first. */
  links: Map<string, Buffer>;
  /** Device of the root directory. */
  device: number;
}

function* members(root: number, options: PackOptions): Generator<Buffer> {
  const fd = openat2(root, '.', constants.O_RDONLY | constants.O_DIRECTORY);
  const walk: Walk = { options, links: new Map(), device: lstatat(fd, '')!.dev };
  try {
    if (options.rootEntry ?? options.layer) {
      yield tarHeader(entryOf(fd, EMPTY, lstatat(fd, '')!, Buffer.from('./'), 'directory', walk));
    }
    if (options.layer && isOpaque(fd, EMPTY)) yield whiteout(Buffer.from('.wh..wh..opq'));
    yield* directory(fd, EMPTY, walk, options.only);
  } finally {
    closeSync(fd);
  }
}

function* directory(fd: number, prefix: Buffer, walk: Walk, only?: readonly Buffer[]): Generator<Buffer> {
  const names =
    only ??
    readdirFd(fd)
      .map((e) => e.name)
      .sort(Buffer.compare);
  for (const name of names) {
    const path = Buffer.concat([prefix, name]);
    try {
      yield* member(fd, name, path, walk);
    } catch (error) {
      throw fromErrno(`read /${path.toString()}`, error, { path: path.toString() });
    }
  }
}

function* member(dir: number, name: Buffer, path: Buffer, walk: Walk): Generator<Buffer> {
  const stat = lstatat(dir, name);
  if (!stat) return; // gone meanwhile
  const kind = stat.mode & S_IFMT;
  if (walk.options.layer && kind === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0) {
    yield whiteout(Buffer.concat([path.subarray(0, path.length - name.length), Buffer.from('.wh.'), name]));
    return;
  }
  const type = typeOf(kind);
  if (type === undefined) return; // a socket
  if (type === 'directory') {
    const withSlash = Buffer.concat([path, Buffer.from('/')]);
    yield tarHeader(entryOf(dir, name, stat, withSlash, type, walk));
    if (walk.options.layer && isOpaque(dir, name)) {
      yield whiteout(Buffer.concat([withSlash, Buffer.from('.wh..wh..opq')]));
    }
    if (walk.options.oneFilesystem && stat.dev !== walk.device) return;
    const fd = openat2(dir, name, constants.O_RDONLY | constants.O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
    try {
      yield* directory(fd, withSlash, walk);
    } finally {
      closeSync(fd);
    }
    return;
  }
  if (stat.nlink > 1) {
    const key = `${stat.dev}:${stat.ino}`;
    const first = walk.links.get(key);
    if (first) {
      yield tarHeader({
        ...entryOf(dir, name, stat, path, 'hardlink', walk),
        linkPath: first,
        size: 0,
        xattrs: undefined,
      });
      return;
    }
    walk.links.set(key, path);
  }
  const entry = entryOf(dir, name, stat, path, type, walk);
  if (type === 'symlink') entry.linkPath = readlinkat(dir, name);
  yield tarHeader(entry);
  if (type === 'file') yield* content(dir, name, stat.size);
}

/** Exactly `size` bytes, as the header says: a file that shrinks meanwhile is filled with zeros. */
function* content(dir: number, name: Buffer, size: number): Generator<Buffer> {
  const fd = openat2(dir, name, constants.O_RDONLY | constants.O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
  try {
    for (let at = 0; at < size; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE, size - at));
      const n = readSync(fd, piece, 0, piece.length, at);
      if (n === 0) piece.fill(0);
      const part = n === 0 ? piece : piece.subarray(0, n);
      yield part;
      at += part.length;
    }
    yield tarPadding(size);
  } finally {
    closeSync(fd);
  }
}

function entryOf(
  dir: number,
  name: Buffer,
  stat: FileStat,
  path: Buffer,
  type: TarEntry['type'],
  walk: Walk,
): TarEntry {
  const map = walk.options.mapId ?? ((id) => id);
  const device = type === 'char' || type === 'block';
  return {
    type,
    path,
    linkPath: EMPTY,
    mode: stat.mode & 0o7777,
    uid: map(stat.uid),
    gid: map(stat.gid),
    size: type === 'file' ? stat.size : 0,
    mtime: stat.mtime,
    devMajor: device ? stat.rdevMajor : 0,
    devMinor: device ? stat.rdevMinor : 0,
    xattrs: xattrsOf(dir, name),
    sparse: undefined,
  };
}

function xattrsOf(dir: number, name: Buffer): Map<string, Buffer> | undefined {
  let out: Map<string, Buffer> | undefined;
  for (const key of llistxattrat(dir, name)) {
    const text = key.toString('utf8');
    if (text.startsWith('trusted.overlay.') || text.startsWith('user.overlay.')) continue;
    const value = lgetxattrat(dir, name, key);
    if (!value) continue;
    out ??= new Map();
    out.set(text, value);
  }
  return out;
}

function isOpaque(dir: number, name: Buffer): boolean {
  return lgetxattrat(dir, name, 'trusted.overlay.opaque')?.toString('latin1') === 'y';
}

function whiteout(path: Buffer): Buffer {
  return tarHeader({
    type: 'file',
    path,
    linkPath: EMPTY,
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: { sec: 0, nsec: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
  });
}

function typeOf(kind: number): TarEntry['type'] | undefined {
  switch (kind) {
    case S_IFREG:
      return 'file';
    case S_IFDIR:
      return 'directory';
    case S_IFLNK:
      return 'symlink';
    case S_IFCHR:
      return 'char';
    case S_IFBLK:
      return 'block';
    case S_IFIFO:
      return 'fifo';
    default:
      return undefined;
  }
}
