import { closeSync, constants, openSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno, InvalidError, NotFoundError } from '../base/index.js';
import {
  type FileStat,
  lstatat,
  openat2,
  openDirectoryInRoot,
  RESOLVE_NO_SYMLINKS,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from '../kernel/index.js';
import { type CopyOptions, copyEntry, copyTree } from './copy-tree.js';
import type { ContainerRecord } from './records.js';
import { openRootfs, type RootfsView } from './rootfs-view.js';

export interface CpOptions {
  /** Keep user and group ids. Otherwise copies belong to root, on either side. */
  archive?: boolean | undefined;
  /** Follow a symlink that is the source itself. */
  followLink?: boolean | undefined;
}

/** Bytes of file content copied. */
export interface CpResult {
  bytes: number;
}

/** A place below a root directory, every link followed inside that root. */
export interface Place extends Disposable {
  parent: number;
  name: string;
  /** Absent: there is nothing yet. */
  stat: FileStat | undefined;
}

const isDirectory = (stat: FileStat | undefined): boolean =>
  stat !== undefined && (stat.mode & S_IFMT) === S_IFDIR;
const isLink = (stat: FileStat | undefined): boolean =>
  stat !== undefined && (stat.mode & S_IFMT) === S_IFLNK;

/**
 * Looks a path up below a root fd, as if that were "/".
 * @param follow also follow a link that is the last component
 * @throws {code: ENOENT | ENOTDIR | ELOOP}
 */
export function resolvePlace(root: number, file: string, follow: boolean): Place {
  let at = path.posix.resolve('/', file);
  for (let links = 0; links <= 40; links++) {
    const parent = openDirectoryInRoot(root, path.posix.dirname(at));
    const name = path.posix.basename(at) || '.';
    try {
      const stat = lstatat(parent, name);
      if (!follow || !isLink(stat)) {
        return { parent, name, stat, [Symbol.dispose]: () => closeSync(parent) };
      }
      at = path.posix.resolve(path.posix.dirname(at), readlinkat(parent, name).toString());
    } catch (error) {
      closeSync(parent);
      throw error;
    }
    closeSync(parent);
  }
  throw Object.assign(new Error('too many links'), { code: 'ELOOP', path: file });
}

/** What Docker's cp says with a trailing slash or `/.`. */
function ending(file: string): { contents: boolean; directory: boolean } {
  return { contents: /(^|\/)\.$/.test(file), directory: /\/\.?$/.test(file) };
}

interface Side {
  root: number;
  file: string;
  /** For messages. */
  shown: string;
}

/** The rules of `cp -a` as Docker words them: what becomes of SOURCE depends on what DEST is. */
async function transfer(from: Side, to: Side, follow: boolean, options: CopyOptions): Promise<void> {
  const wanted = ending(from.file);
  using source = lookUp(from, follow || wanted.directory);
  if (!source.stat) throw missing(from);
  if (wanted.directory && !isDirectory(source.stat)) {
    throw new InvalidError(`cannot copy ${from.shown}: not a directory`, { exitCode: 1 });
  }
  using target = lookUp(to, true);
  const sourceIsDirectory = isDirectory(source.stat);
  if (!target.stat) {
    if (!sourceIsDirectory && ending(to.file).directory) {
      throw new NotFoundError('path', to.shown, { hint: `the directory ${to.shown} must exist` });
    }
    await run(() => copyEntry(source.parent, source.name, target.parent, target.name, options));
    return;
  }
  if (!isDirectory(target.stat)) {
    if (sourceIsDirectory) {
      throw new InvalidError(`cannot copy the directory ${from.shown} to ${to.shown}, which is a file`, {
        exitCode: 1,
      });
    }
    if (ending(to.file).directory) throw new InvalidError(`cannot copy to ${to.shown}: not a directory`);
    await run(() => copyEntry(source.parent, source.name, target.parent, target.name, options));
    return;
  }
  const into = openat2(
    target.parent,
    target.name,
    constants.O_RDONLY | constants.O_DIRECTORY,
    0,
    RESOLVE_NO_SYMLINKS,
  );
  try {
    if (wanted.contents || source.name === '.') {
      const directory = openat2(source.parent, source.name, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await run(() => copyTree(directory, into, { ...options, keepTop: true }));
      } finally {
        closeSync(directory);
      }
    } else {
      const name = follow ? path.posix.basename(path.posix.resolve('/', from.file)) : source.name;
      await run(() => copyEntry(source.parent, source.name, into, name, options));
    }
  } finally {
    closeSync(into);
  }

  async function run(copy: () => Promise<void>): Promise<void> {
    try {
      await copy();
    } catch (error) {
      throw fromErrno(`copy ${from.shown} to ${to.shown}`, error);
    }
  }
}

function lookUp(side: Side, follow: boolean): Place {
  try {
    return resolvePlace(side.root, side.file, follow);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as { code?: string }).code ?? '')) throw missing(side);
    throw fromErrno(`look up ${side.shown}`, error);
  }
}

function missing(side: Side): NotFoundError {
  return new NotFoundError('path', side.shown);
}

/** Attributes that mean the same in and outside a container. */
const attribute = (name: string): boolean => name.startsWith('user.');

/** Copies from a container to the host. `to` is absolute. */
export async function copyFromContainer(
  ctx: Context,
  record: ContainerRecord,
  from: string,
  to: string,
  options: CpOptions = {},
): Promise<CpResult> {
  using view = await openRootfs(ctx, record, false);
  const place = view.place(from);
  return across(async (host, onFile) =>
    transfer(
      { root: place.fd, file: keepEnding(place.path, from), shown: `${record.name}:${from}` },
      { root: host, file: to, shown: to },
      options.followLink ?? false,
      {
        replace: true,
        attribute,
        onFile,
        owner: options.archive
          ? (uid, gid) => [inside(uid, place.shift), inside(gid, place.shift)]
          : () => [0, 0],
      },
    ),
  );
}

/** Copies from the host into a container. `from` is absolute. */
export async function copyToContainer(
  ctx: Context,
  record: ContainerRecord,
  from: string,
  to: string,
  options: CpOptions = {},
): Promise<CpResult> {
  using view = await openForWriting(ctx, record);
  const place = view.place(to);
  return across(async (host, onFile) =>
    transfer(
      { root: host, file: from, shown: from },
      { root: place.fd, file: keepEnding(place.path, to), shown: `${record.name}:${to}` },
      options.followLink ?? false,
      {
        replace: true,
        attribute,
        onFile,
        owner: options.archive
          ? (uid, gid) => [uid + place.shift, gid + place.shift]
          : () => [place.shift, place.shift],
      },
    ),
  );
}

/** A view that may be changed; a container with a read-only root has none. */
export async function openForWriting(ctx: Context, record: ContainerRecord): Promise<RootfsView> {
  if (record.request.readonlyRootfs) {
    throw new ConflictError(`the root filesystem of container ${record.name} is read-only`);
  }
  return openRootfs(ctx, record, true);
}

async function across(
  work: (host: number, onFile: (bytes: number) => void) => Promise<void>,
): Promise<CpResult> {
  const host = openSync('/', constants.O_RDONLY | constants.O_DIRECTORY);
  const result = { bytes: 0 };
  try {
    await work(host, (bytes) => {
      result.bytes += bytes;
    });
    return result;
  } finally {
    closeSync(host);
  }
}

/** Resolving a path drops the `/` or `/.` at its end, which decides how a directory is copied. */
function keepEnding(resolved: string, written: string): string {
  const tail = /\/\.?$/.exec(written)?.[0] ?? (written === '.' ? '/.' : '');
  return resolved === '/' ? tail || '/' : resolved + tail;
}

/** An id of the host as the container has it; ids that aren't the container's stay as they are. */
export function inside(id: number, shift: number): number {
  return id >= shift ? id - shift : id;
}
