import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, writeSync } from 'node:fs';
import { fromErrno, ImageError, isErrno } from '../../base/index.js';
import {
  chmodat,
  lchownat,
  linkat,
  lsetxattrat,
  lstatat,
  mkdirat,
  mknodat,
  openat2,
  openDirectoryInRoot,
  RESOLVE_NO_SYMLINKS,
  removeTreeSync,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  symlinkat,
  unlinkat,
  unpackPlain,
  utimensat,
} from '../../kernel/index.js';
import type { TarEntry, TarHandler } from '../tar/index.js';
import { type LayerPath, layerPath, readable } from './paths.js';

/** What can only be settled when the layers below are there. Paths have one character a byte. */
export interface Unsettled {
  /** Directories that had no entry of their own: their attributes come from below. */
  implied: string[];
  /** Whiteouts: one that hides nothing is dropped. */
  whiteouts: string[];
  /** Hard links to files that this layer doesn't have. */
  links: { path: string; target: string }[];
  /** The layer hides all that is below it. Overlay takes no such mark on a root: its entries are hidden one by one. */
  opaqueRoot: boolean;
}

export interface ExtractOptions {
  /** Whether `.wh.` names mean deletion (layers) or are just names. Default true. */
  whiteouts?: boolean | undefined;
}

const OPAQUE = 'trusted.overlay.opaque';
const YES = Buffer.from('y');
const EMPTY = Buffer.alloc(0);
const OPEN_DIRECTORIES = 64;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Unpacks the entries of one layer below a directory fd, as overlayfs wants a lower layer: whiteouts become 0:0 devices,
 * opaque directories get `trusted.overlay.opaque`. Every place is reached by openat2(RESOLVE_IN_ROOT) and then by a
 * single name, never followed: nothing in an archive can reach what lies outside.
 *
 * Runs in the runtime with the host's rights; ids are written as the image has them (idmapped when mounted).
 */
export class LayerExtractor implements TarHandler, Disposable {
  readonly #root: number;
  readonly #interpretWhiteouts: boolean;
  /** Open directories by key, in the order of last use. */
  readonly #directories = new Map<string, number>();
  /** Times of directories, set last: what is made inside changes them. */
  readonly #times = new Map<string, { sec: number; nsec: number }>();
  readonly #implied = new Set<string>();
  readonly #whiteouts = new Set<string>();
  readonly #links: { path: string; target: string }[] = [];
  #opaqueRoot = false;
  #file = -1;
  #fileName = '';
  #pending: (() => void) | undefined;
  /** Key of the directory that the last member was in, or was: the next ones are likely in it, too. */
  #here: string | undefined;
  #hereBytes = EMPTY;
  /** Bytes of regular files. */
  size = 0;
  entries = 0;

  constructor(rootFd: number, options: ExtractOptions = {}) {
    this.#root = rootFd;
    this.#interpretWhiteouts = options.whiteouts ?? true;
    this.#implied.add('');
  }

  /** Ordinary members in the directory of the last one: the greater part of most layers. */
  plain(chunk: Buffer, at: number): number {
    const key = this.#here;
    if (key === undefined || chunk.length - at < 512) return 0;
    let dir: number | undefined;
    try {
      dir = this.#existing(key);
    } catch {
      // entry() comes to the same and says what it is.
    }
    if (dir === undefined) return 0;
    const run = unpackPlain(dir, this.#hereBytes, chunk, at);
    this.entries += run.members;
    this.size += run.size;
    return run.consumed;
  }

  entry(e: TarEntry): void {
    this.entries++;
    const path = layerPath(e.path);
    try {
      this.#place(e, path);
    } catch (error) {
      throw explain(error, path.key);
    }
  }

  data(chunk: Buffer, offset: number): void {
    if (this.#file < 0) return;
    try {
      for (let at = 0; at < chunk.length; )
        at += writeSync(this.#file, chunk, at, chunk.length - at, offset + at);
    } catch (error) {
      throw explain(error, this.#fileName);
    }
  }

  end(): void {
    const settle = this.#pending;
    this.#pending = undefined;
    if (!settle) return;
    try {
      settle();
    } catch (error) {
      throw explain(error, this.#fileName);
    } finally {
      this.#closeFile();
    }
  }

  /** To be called once after the last entry: sets directories' times and tells what is left to settle. */
  finish(): Unsettled {
    for (const [key, time] of [...this.#times].reverse()) {
      if (key === '') this.#setTimes(openRoot(this.#root), EMPTY, time, true);
      else {
        const slash = key.lastIndexOf('/');
        const parent = this.#directory(slash < 0 ? '' : key.slice(0, slash));
        this.#setTimes(parent, Buffer.from(slash < 0 ? key : key.slice(slash + 1), 'latin1'), time, false);
      }
    }
    return {
      implied: [...this.#implied],
      whiteouts: [...this.#whiteouts],
      links: this.#links,
      opaqueRoot: this.#opaqueRoot,
    };
  }

  [Symbol.dispose](): void {
    this.#closeFile();
    this.#forget();
  }

  #place(e: TarEntry, path: LayerPath): void {
    if (path.key === '') {
      // The layer's own root directory.
      if (e.type !== 'directory') throw new ImageError('the layer replaces its root by something else');
      const fd = openRoot(this.#root);
      try {
        fchownSync(fd, e.uid, e.gid);
        fchmodSync(fd, e.mode);
        this.#xattrs(fd, EMPTY, e);
      } finally {
        closeSync(fd);
      }
      this.#times.set('', e.mtime);
      this.#implied.delete('');
      this.#stay('');
      return;
    }
    const name = path.name;
    if (this.#interpretWhiteouts && isBookkeeping(path.key)) return;
    if (this.#interpretWhiteouts && name.length > 4 && name.toString('latin1', 0, 4) === '.wh.') {
      this.#whiteout(path);
      return;
    }
    const dir = this.#directory(path.parent);
    this.#stay(e.type === 'directory' ? path.key : path.parent);
    switch (e.type) {
      case 'directory':
        this.#makeDirectory(dir, path, e);
        return;
      case 'file':
        this.#clear(dir, path, () => {
          this.#file = openat2(dir, name, NEW_FILE, 0o600, RESOLVE_NO_SYMLINKS);
        });
        this.#fileName = path.key;
        this.size += e.size;
        this.#pending = () => this.#settleFile(e);
        return;
      case 'hardlink':
        this.#link(dir, path, layerPath(e.linkPath));
        return;
      case 'symlink':
        this.#clear(dir, path, () => symlinkat(e.linkPath, dir, name));
        break;
      default: {
        const type = e.type === 'char' ? S_IFCHR : e.type === 'block' ? S_IFBLK : S_IFIFO;
        this.#clear(dir, path, () => mknodat(dir, name, type | 0o600, e.devMajor, e.devMinor));
      }
    }
    lchownat(dir, name, e.uid, e.gid);
    if (e.type !== 'symlink') chmodat(dir, name, e.mode);
    this.#xattrs(dir, name, e);
    this.#setTimes(dir, name, e.mtime, false);
  }

  #stay(key: string): void {
    if (key === this.#here) return;
    this.#here = key;
    this.#hereBytes = Buffer.from(key, 'latin1');
  }

  #settleFile(e: TarEntry): void {
    const fd = this.#file;
    if (e.sparse) ftruncateSync(fd, e.size);
    // Owner first: chown clears setuid bits and capabilities.
    fchownSync(fd, e.uid, e.gid);
    fchmodSync(fd, e.mode);
    this.#xattrs(fd, EMPTY, e);
    utimensat(fd, EMPTY, e.mtime, e.mtime);
  }

  #makeDirectory(dir: number, path: LayerPath, e: TarEntry): void {
    const name = path.name;
    const whitedOut = this.#whiteouts.delete(path.key);
    if (whitedOut) unlinkat(dir, name);
    try {
      mkdirat(dir, name, 0o700);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      const there = lstatat(dir, name);
      if (!there || (there.mode & S_IFMT) !== S_IFDIR) {
        this.#remove(dir, path);
        mkdirat(dir, name, 0o700);
      }
    }
    lchownat(dir, name, e.uid, e.gid);
    chmodat(dir, name, e.mode);
    this.#xattrs(dir, name, e);
    // Deleted and made again in one layer: what lies below must not show through.
    if (whitedOut) lsetxattrat(dir, name, OPAQUE, YES);
    this.#implied.delete(path.key);
    this.#times.set(path.key, e.mtime);
  }

  #whiteout(path: LayerPath): void {
    const name = path.name.toString('latin1');
    if (name === '.wh..wh..opq') {
      const _dir = this.#directory(path.parent);
      if (path.parent === '') this.#opaqueRoot = true;
      else lsetxattrat(this.#directory(path.parent), '', OPAQUE, YES);
      return;
    }
    const hidden = path.name.subarray(4);
    if (hidden.equals(Buffer.from('.')) || hidden.equals(Buffer.from('..'))) {
      throw new ImageError(`the layer has a whiteout of ${readable(path.parent)}/${hidden.toString()}`);
    }
    const key = path.parent === '' ? name.slice(4) : `${path.parent}/${name.slice(4)}`;
    const dir = this.#directory(path.parent);
    const there = lstatat(dir, hidden);
    if (there) {
      // Whiteouts are about the layers below (image-spec): what this layer has itself stays.
      if ((there.mode & S_IFMT) === S_IFDIR) lsetxattrat(dir, hidden, OPAQUE, YES);
      return;
    }
    mknodat(dir, hidden, S_IFCHR, 0, 0);
    this.#whiteouts.add(key);
  }

  #link(dir: number, path: LayerPath, target: LayerPath): void {
    if (target.key === path.key) return;
    if (target.key === '') throw new ImageError(`${readable(path.key)} is a hard link to the root`);
    // Looked up anew for each try: making room closes cached directories.
    const source = () => this.#existing(target.parent);
    const from = source();
    if (from !== undefined && !this.#whiteouts.has(target.key) && lstatat(from, target.name)) {
      this.#clear(dir, path, () => {
        const parent = source();
        if (parent === undefined) {
          throw new ImageError(`${readable(path.key)} is a hard link to a file below itself`, {
            hint: 'the image is damaged or malicious; nothing of it was kept',
          });
        }
        linkat(parent, target.name, dir, path.name);
      });
      return;
    }
    this.#clear(dir, path, () => {});
    this.#links.push({ path: path.key, target: target.key });
  }

  /** Runs `make`; where the name is taken, removes what has it and runs it again: the later entry counts. */
  #clear(dir: number, path: LayerPath, make: () => void): void {
    try {
      make();
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      this.#remove(dir, path);
      make();
    }
  }

  #remove(dir: number, path: LayerPath): void {
    this.#forget(dir);
    this.#whiteouts.delete(path.key);
    removeTreeSync(path.name, dir);
    const below = `${path.key}/`;
    for (const set of [this.#times, this.#implied, this.#whiteouts]) {
      for (const key of [...set.keys()]) if (key === path.key || key.startsWith(below)) set.delete(key);
    }
  }

  #xattrs(fd: number, name: Buffer, e: TarEntry): void {
    if (!e.xattrs) return;
    for (const [key, value] of e.xattrs) {
      // Overlay's own attributes would let an image steer the mount.
      if (key.startsWith('trusted.overlay.') || key.startsWith('user.overlay.')) continue;
      try {
        lsetxattrat(fd, name, key, value);
      } catch (error) {
        // What this filesystem or kind of file can't have (user.* on a symlink or device, an absent LSM) is left out.
        if (isErrno(error, 'EOPNOTSUPP') || (isErrno(error, 'EPERM') && key.startsWith('user.'))) continue;
        throw error;
      }
    }
  }

  #setTimes(fd: number, name: Buffer, time: { sec: number; nsec: number }, close: boolean): void {
    try {
      utimensat(fd, name, time, time);
    } finally {
      if (close) closeSync(fd);
    }
  }

  /** Directory of a key, made (and noted as implied) where it is missing. */
  #directory(key: string): number {
    if (key === '') return this.#root;
    return this.#existing(key) ?? this.#imply(key);
  }

  #existing(key: string): number | undefined {
    if (key === '') return this.#root;
    const cached = this.#directories.get(key);
    if (cached !== undefined) {
      // To the end of the line: the first is closed when there are too many.
      this.#directories.delete(key);
      this.#directories.set(key, cached);
      return cached;
    }
    let fd: number;
    try {
      fd = openDirectoryInRoot(this.#root, Buffer.from(key, 'latin1'));
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw error;
    }
    if (this.#directories.size >= OPEN_DIRECTORIES) {
      const [oldest, oldFd] = this.#directories.entries().next().value!;
      closeSync(oldFd);
      this.#directories.delete(oldest);
    }
    this.#directories.set(key, fd);
    return fd;
  }

  #imply(key: string): number {
    const slash = key.lastIndexOf('/');
    const parent = this.#directory(slash < 0 ? '' : key.slice(0, slash));
    const name = Buffer.from(key.slice(slash + 1), 'latin1');
    const there = lstatat(parent, name);
    const whitedOut = this.#whiteouts.delete(key);
    if (there && !whitedOut) {
      throw new ImageError(
        (there.mode & S_IFMT) === 0o120000
          ? `the layer has files below the symlink ${readable(key)}, which leads to no directory in it`
          : `the layer has files below ${readable(key)}, which is no directory`,
        { hint: 'the image is damaged or malicious; nothing of it was kept' },
      );
    }
    if (there) unlinkat(parent, name);
    mkdirat(parent, name, 0o755);
    chmodat(parent, name, 0o755);
    if (whitedOut) lsetxattrat(parent, name, OPAQUE, YES);
    else this.#implied.add(key);
    return this.#existing(key)!;
  }

  /** Closes cached directories, but for one in use: what they were opened by may now mean another place. */
  #forget(keep = -1): void {
    for (const [key, fd] of this.#directories) {
      if (fd === keep) continue;
      closeSync(fd);
      this.#directories.delete(key);
    }
  }

  #closeFile(): void {
    if (this.#file >= 0) closeSync(this.#file);
    this.#file = -1;
  }
}

/** AUFS's own files (`.wh..wh.plnk/…`), which old images carry; the opaque mark is none of them. */
function isBookkeeping(key: string): boolean {
  const at = key.startsWith('.wh..wh.') ? 0 : key.indexOf('/.wh..wh.') + 1;
  return (at > 0 || key.startsWith('.wh..wh.')) && !key.startsWith('.wh..wh..opq', at);
}

function openRoot(fd: number): number {
  return openat2(fd, '.', constants.O_RDONLY | constants.O_DIRECTORY);
}

function explain(error: unknown, key: string): unknown {
  if (isErrno(error, 'ENAMETOOLONG', 'ELOOP')) {
    return new ImageError(`cannot unpack ${readable(key)}: the path is too long or winds through symlinks`, {
      cause: error,
    });
  }
  return fromErrno(`unpack ${readable(key)}`, error, { path: readable(key) });
}
