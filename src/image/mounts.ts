import { closeSync, mkdirSync, readFileSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno, isErrno, NotFoundError } from '../base/index.js';
import { parseMountinfo } from '../host/index.js';
import { attachMount, openOverlay, unmount } from '../kernel/index.js';
import { acquireLock, ensureDirectory, readRecord, writeRecord } from '../state/index.js';
import { layerFs } from './layer/index.js';
import { hexOf, storePaths } from './paths.js';
import { type ImageRecord, lockRecords, namesIn, readImage } from './records.js';

/**
 * Images that people mounted to look into. The record is written before the mount is made and goes after it: while it is
 * there, garbage collection spares the image's layers. The mount table says what really is mounted.
 */
interface MountRecord {
  version: 1;
  id: string;
  /** How often it was mounted and not unmounted since; 0: it is being mounted. */
  count: number;
  chain: string[];
  /** The mount namespace that has it, as /proc/self/ns/mnt reads. */
  namespace: string;
}

export interface ImageMount {
  id: string;
  directory: string;
  count: number;
}

const directoryOf = (ctx: Context, id: string) => path.join(storePaths.mounts(ctx), hexOf(id));
const recordOf = (ctx: Context, id: string) => `${directoryOf(ctx, id)}.json`;
const lockMounts = (ctx: Context) => acquireLock(path.join(storePaths.mounts(ctx), 'lock'));
const ownNamespace = () => readlinkSync('/proc/self/ns/mnt');

function mountedDirectories(): Set<string> {
  return new Set(parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8')).map((m) => m.target));
}

/**
 * Mounts an image's filesystem read-only; once more where it is mounted: the same place, and one unmount more to come.
 * Programs, setuid bits and devices in it have no effect.
 * @param image its layers are unpacked
 * @returns the mount point
 */
export async function mountImage(ctx: Context, image: ImageRecord): Promise<string> {
  ensureDirectory(storePaths.mounts(ctx));
  using _lock = await lockMounts(ctx);
  const mounted = mountedDirectories();
  await repair(ctx, mounted);
  const directory = directoryOf(ctx, image.id);
  const before = readRecord<MountRecord>(recordOf(ctx, image.id));
  if (before && before.namespace !== ownNamespace()) {
    throw new ConflictError(`image ${image.id} is mounted in another mount namespace`, {
      hint: 'unmount it there, or give it up with `nsbox image unmount -f`',
    });
  }
  const record: MountRecord = {
    version: 1,
    id: image.id,
    count: before?.count ?? 0,
    chain: image.layers.map((l) => l.chainId),
    namespace: ownNamespace(),
  };
  if (!mounted.has(directory)) {
    {
      // With the records' lock: no collection has looked at the mounts and not yet swept.
      using _records = await lockRecords(ctx);
      if (!readImage(ctx, image.id)) throw new NotFoundError('image', image.id);
      writeRecord(recordOf(ctx, image.id), { ...record, count: 0 }, { durable: false });
    }
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const fd = openOverlay({ lowers: record.chain.map((chain) => layerFs(ctx, chain)) });
      try {
        attachMount(fd, directory);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      forget(ctx, image.id);
      throw fromErrno(`mount the image at ${directory}`, error, { path: directory });
    }
  }
  writeRecord(recordOf(ctx, image.id), { ...record, count: record.count + 1 }, { durable: false });
  return directory;
}

/**
 * Takes back one mount of an image, the last one for real.
 * @param force all at once, and also what only the record knows of
 * @throws ConflictError while something in it is open, or where it isn't mounted
 */
export async function unmountImage(ctx: Context, id: string, force = false): Promise<void> {
  const record = readRecord<MountRecord>(recordOf(ctx, id));
  if (!record) throw new ConflictError(`image ${id} is not mounted`);
  using _lock = await lockMounts(ctx);
  const now = readRecord<MountRecord>(recordOf(ctx, id));
  if (!now) return;
  if (now.count > 1 && !force) {
    writeRecord(recordOf(ctx, id), { ...now, count: now.count - 1 }, { durable: false });
    return;
  }
  const directory = directoryOf(ctx, id);
  if (mountedDirectories().has(directory)) {
    try {
      unmount(directory);
    } catch (error) {
      if (isErrno(error, 'EBUSY')) {
        throw new ConflictError(`image ${id} is in use at ${directory}`, {
          hint: 'something has a file or its working directory there',
          cause: error,
        });
      }
      throw fromErrno(`unmount ${directory}`, error, { path: directory });
    }
  } else if (now.namespace !== ownNamespace() && !force) {
    throw new ConflictError(`image ${id} is mounted in another mount namespace`, {
      hint: 'unmount it there, or give it up with -f',
    });
  }
  forget(ctx, id);
}

/** Images that are mounted. */
export async function imageMounts(ctx: Context): Promise<ImageMount[]> {
  const names = namesIn(storePaths.mounts(ctx));
  if (!names.some((name) => name.endsWith('.json'))) return [];
  using _lock = await lockMounts(ctx);
  await repair(ctx, mountedDirectories());
  return records(ctx).map((r) => ({ id: r.id, directory: directoryOf(ctx, r.id), count: r.count }));
}

/** Chain IDs of layers that are mounted, and the images; for garbage collection, which holds the records' lock. */
export function mountedParts(ctx: Context): { images: Set<string>; chain: Set<string> } {
  const all = records(ctx);
  return { images: new Set(all.map((r) => r.id)), chain: new Set(all.flatMap((r) => r.chain)) };
}

function records(ctx: Context): MountRecord[] {
  return namesIn(storePaths.mounts(ctx)).flatMap((name) => {
    if (!name.endsWith('.json')) return [];
    return readRecord<MountRecord>(path.join(storePaths.mounts(ctx), name)) ?? [];
  });
}

/** Forgets mounts that aren't there: a kill before the mount, a umount(8) by hand, a boot that kept the state. */
async function repair(ctx: Context, mounted: ReadonlySet<string>): Promise<void> {
  const own = ownNamespace();
  for (const record of records(ctx)) {
    const there = mounted.has(directoryOf(ctx, record.id));
    if (!there && record.namespace === own) forget(ctx, record.id);
    // Killed between the mount and the count.
    if (there && record.count === 0)
      writeRecord(recordOf(ctx, record.id), { ...record, count: 1 }, { durable: false });
  }
}

function forget(ctx: Context, id: string): void {
  try {
    rmdirSync(directoryOf(ctx, id));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`remove ${directoryOf(ctx, id)}`, error);
  }
  rmSync(recordOf(ctx, id), { force: true });
}
