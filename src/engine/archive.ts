import { closeSync, constants, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { type Context, fromErrno, InvalidError, isErrno, NotFoundError, randomBytes } from '../base/index.js';
import { openat2, RESOLVE_NO_SYMLINKS, removeTree, S_IFDIR, S_IFMT } from '../kernel/index.js';
import { copyTree } from './copy-tree.js';
import { type CpOptions, inside, openForWriting, resolvePlace } from './cp.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { openRootfs } from './rootfs-view.js';

/** Containers as tar archives: `export`, `cp CONTAINER:PATH -`, `cp - CONTAINER:PATH`. */

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * The whole filesystem of a container as a tar, with the ids it has inside; volumes and other mounts go in as empty
 * directories.
 */
export async function* exportContainer(ctx: Context, record: ContainerRecord): AsyncGenerator<Buffer> {
  const { packTree } = await import('../image/index.js');
  using view = await openRootfs(ctx, record, false);
  const root = view.place('/');
  yield* packTree(root.fd, { mapId: (id) => inside(id, root.shift), oneFilesystem: true });
}

/**
 * Writes a file or directory of a container as a tar.
 * @throws NotFoundError path
 */
export async function archiveFromContainer(
  ctx: Context,
  record: ContainerRecord,
  from: string,
  output: Writable,
  options: CpOptions = {},
): Promise<void> {
  const { packTree } = await import('../image/index.js');
  using view = await openRootfs(ctx, record, false);
  const at = view.place(from);
  const shown = `${record.name}:${from}`;
  using place = lookUp(at.fd, at.path, (options.followLink ?? false) || from.endsWith('/'), shown);
  if (!place.stat) throw new NotFoundError('path', shown);
  const mapId = (id: number) => inside(id, at.shift);
  if (place.name !== '.' && !from.endsWith('/.')) {
    await writeAll(packTree(place.parent, { mapId, only: [Buffer.from(place.name)] }), output);
    return;
  }
  if ((place.stat.mode & S_IFMT) !== S_IFDIR) throw new InvalidError(`${shown} is not a directory`);
  const directory = openat2(place.parent, place.name, DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  try {
    await writeAll(packTree(directory, { mapId, rootEntry: true }), output);
  } finally {
    closeSync(directory);
  }
}

/**
 * Unpacks a tar stream into a directory of a container, with the ids of the archive as the container's. It is first
 * unpacked beside the container, so that a damaged archive changes nothing.
 * @throws NotFoundError path, ImageError for a damaged archive
 */
export async function archiveToContainer(
  ctx: Context,
  record: ContainerRecord,
  input: Readable,
  to: string,
  _options: CpOptions = {},
): Promise<void> {
  const { untar } = await import('../image/index.js');
  using view = await openForWriting(ctx, record);
  const at = view.place(to);
  const shown = `${record.name}:${to}`;
  using place = lookUp(at.fd, at.path, true, shown);
  if (!place.stat) throw new NotFoundError('path', shown);
  if ((place.stat.mode & S_IFMT) !== S_IFDIR) throw new InvalidError(`${shown} is not a directory`);
  const temporary = path.join(containerPaths(ctx, record.id).data, `cp-${randomBytes(6).toString('hex')}`);
  const target = openat2(place.parent, place.name, DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  try {
    mkdirSync(temporary, { mode: 0o700 });
    const from = openSync(temporary, DIRECTORY);
    try {
      await untar(input, from);
      await copyTree(from, target, {
        replace: true,
        keepTop: true,
        owner: (uid, gid) => [uid + at.shift, gid + at.shift],
      });
    } finally {
      closeSync(from);
    }
  } catch (error) {
    throw fromErrno(`copy to ${shown}`, error);
  } finally {
    closeSync(target);
    await removeTree(temporary);
  }
}

function lookUp(root: number, file: string, follow: boolean, shown: string) {
  try {
    return resolvePlace(root, file, follow);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) throw new NotFoundError('path', shown);
    throw fromErrno(`look up ${shown}`, error);
  }
}

/** Writes pieces to a stream no faster than it takes them. @throws where the stream's reader has gone */
export async function writeAll(pieces: AsyncIterable<Buffer>, output: Writable): Promise<void> {
  let failure: Error | undefined;
  let wake: () => void = () => {};
  const onError = (error: Error): void => {
    failure ??= error;
    wake();
  };
  const onDrain = (): void => wake();
  output.on('error', onError).on('drain', onDrain);
  try {
    for await (const piece of pieces) {
      if (failure) throw fromErrno('write the archive', failure);
      if (!output.write(piece)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (!output.writableNeedDrain || failure) resolve();
        });
      }
    }
    await new Promise<void>((resolve, reject) => {
      output.write('', (error) => (error ? reject(fromErrno('write the archive', error)) : resolve()));
    });
  } finally {
    output.off('error', onError).off('drain', onDrain);
  }
}
