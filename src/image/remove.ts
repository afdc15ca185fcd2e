import { rmSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, shortId } from '../base/index.js';
import { removeTree } from '../kernel/index.js';
import { sweepTemporary, tryAcquireLock } from '../state/index.js';
import { sweepIngest } from './blobs.js';
import { discardLayer, layerRecord, makeDurable, sweepLayers } from './layer/index.js';
import { leased } from './lease.js';
import { mountedParts } from './mounts.js';
import { hexOf, storePaths } from './paths.js';
import {
  allImages,
  allTags,
  findImage,
  type ImageRecord,
  lockRecords,
  namesIn,
  removeTag,
  writeIndex,
} from './records.js';
import { familiar } from './reference.js';

/** Says which container uses an image (its id or name), if one does. */
export type InUse = (imageId: string) => string | undefined;

/** What a removal did, as `rmi` prints it. */
export interface Removed {
  untagged?: string;
  deleted?: string;
}

/**
 * Removes a name of an image and, with the last one, the image. By id: all names; more than one needs `force`.
 * @throws ConflictError where a container uses it; NotFoundError
 */
export async function removeImage(
  ctx: Context,
  text: string,
  options: { force?: boolean | undefined; noPrune?: boolean | undefined; inUse: InUse },
): Promise<Removed[]> {
  const out: Removed[] = [];
  {
    using _lock = await lockRecords(ctx);
    const { record, name } = findImage(ctx, text);
    const names = allTags(ctx)
      .filter((t) => t.id === record.id)
      .map((t) => t.name);
    const going = name !== undefined && names.includes(name) ? [name] : names;
    if (going.length > 1 && !options.force) {
      throw new ConflictError(
        `image ${shortId(record.id)} has several names (${going.map(familiar).join(', ')})`,
        { hint: 'remove them one by one, or all with -f' },
      );
    }
    const last = going.length === names.length;
    if (last && mountedParts(ctx).images.has(record.id)) {
      throw new ConflictError(`image ${text} is mounted`, { hint: `\`nsbox image unmount ${text}\` first` });
    }
    const user = last ? options.inUse(record.id) : undefined;
    if (user !== undefined && !options.force) {
      throw new ConflictError(`image ${text} is used by container ${user}`, {
        hint: `remove the container first, or only the name with -f`,
      });
    }
    for (const tag of going) {
      removeTag(ctx, tag);
      out.push({ untagged: familiar(tag) });
    }
    // What a container was made from stays, without a name, as long as the container.
    if (last && user === undefined) {
      for (const digest of record.repoDigests) out.push({ untagged: familiar(digest) });
      rmSync(storePaths.image(ctx, record.id), { force: true });
      out.push({ deleted: record.id });
    }
    writeIndex(ctx);
  }
  if (out.some((r) => r.deleted) && !options.noPrune) {
    const swept = await collectGarbage(ctx);
    out.push(...swept.layers.map((deleted) => ({ deleted })));
  }
  return out;
}

/**
 * Removes images that no name points at (or, with `all`, that no container uses).
 * @param filter says whether an image may go
 */
export async function pruneImages(
  ctx: Context,
  options: {
    all?: boolean | undefined;
    inUse: InUse;
    filter?: ((image: ImageRecord) => boolean) | undefined;
  },
): Promise<{ removed: Removed[]; reclaimed: number }> {
  const removed: Removed[] = [];
  {
    using _lock = await lockRecords(ctx);
    const tags = allTags(ctx);
    const mounted = mountedParts(ctx).images;
    for (const record of allImages(ctx)) {
      if (mounted.has(record.id)) continue;
      const names = tags.filter((t) => t.id === record.id).map((t) => t.name);
      if ((names.length > 0 && !options.all) || options.inUse(record.id) !== undefined) continue;
      if (options.filter && !options.filter(record)) continue;
      for (const name of names) {
        removeTag(ctx, name);
        removed.push({ untagged: familiar(name) });
      }
      rmSync(storePaths.image(ctx, record.id), { force: true });
      removed.push({ deleted: record.id });
    }
    if (removed.length > 0) writeIndex(ctx);
  }
  const swept = await collectGarbage(ctx, { parts: true });
  await makeDurable(ctx, namesIn(storePaths.layers(ctx)));
  return { removed, reclaimed: swept.bytes };
}

/**
 * Removes blobs and layers that neither a record nor a living lease names, and what crashes left. References are found
 * from the records; nothing counts them.
 * @returns chain IDs of removed layers and the bytes that were freed
 */
export async function collectGarbage(
  ctx: Context,
  options: { parts?: boolean | undefined } = {},
): Promise<{ layers: string[]; bytes: number }> {
  let bytes = 0;
  const layers: string[] = [];
  {
    using _lock = await lockRecords(ctx);
    const keep = leased(ctx);
    // Records and the index that a kill left half-written.
    for (const directory of [storePaths.images(ctx), storePaths.tags(ctx), ctx.root])
      sweepTemporary(directory);
    for (const chainId of mountedParts(ctx).chain) keep.add(chainId);
    for (const image of allImages(ctx)) {
      keep.add(image.id).add(image.manifest.digest);
      for (const layer of image.layers) keep.add(layer.digest).add(layer.chainId);
    }
    for (const hex of namesIn(storePaths.blobs(ctx))) {
      if (keep.has(`sha256:${hex}`)) continue;
      const file = path.join(storePaths.blobs(ctx), hex);
      bytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      unlinkSync(file);
    }
    for (const hex of namesIn(storePaths.layers(ctx))) {
      const chainId = `sha256:${hex}`;
      if (hex.endsWith('.tmp') || keep.has(chainId)) continue;
      // Someone unpacking it right now has its lock; the lease of a load comes before.
      using lock = tryAcquireLock(storePaths.lock(ctx, `layer-${hexOf(chainId)}`));
      if (!lock) continue;
      bytes += layerRecord(ctx, chainId)?.size ?? 0;
      discardLayer(ctx, chainId);
      rmSync(storePaths.lock(ctx, `layer-${hexOf(chainId)}`), { force: true });
      layers.push(chainId);
    }
  }
  // The slow part without the lock: what was moved out of the way has no user left.
  await sweepLayers(ctx, namesIn(storePaths.layers(ctx)), namesIn(path.join(ctx.root, 'locks')));
  bytes += sweepIngest(
    ctx,
    namesIn(storePaths.ingest(ctx)).filter((n) => !n.startsWith('hello-')),
    options.parts ?? false,
  );
  for (const name of namesIn(storePaths.ingest(ctx))) {
    const directory = path.join(storePaths.ingest(ctx), name);
    const stat = statSync(directory, { throwIfNoEntry: false });
    // A directory of ensureHello() whose maker was killed.
    if (stat?.isDirectory() && Date.now() - stat.mtimeMs > 600_000) await removeTree(directory);
  }
  return { layers, bytes };
}
