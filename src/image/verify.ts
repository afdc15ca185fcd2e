import { closeSync, constants, readSync, rmSync } from 'node:fs';
import { type Context, NsboxError } from '../base/index.js';
import { lstatat, openat2, openDirectoryInRoot, RESOLVE_NO_SYMLINKS } from '../kernel/index.js';
import { blobSize, verifiedBlob } from './blobs.js';
import { decompress, discardLayer, isLanded, landLayers, layerFs } from './layer/index.js';
import { layerPath } from './layer/paths.js';
import { storePaths } from './paths.js';
import { platformText } from './platform.js';
import { allImages, type ImageRecord } from './records.js';
import { TarReader } from './tar/index.js';

/** One damage that was found. */
export interface Damage {
  /** Digest of a blob or chain ID of a layer. */
  what: string;
  why: string;
  /** Whether it was put right. */
  repaired: boolean;
}

/**
 * Reads everything again: blobs against their digests, unpacked files of layers against the archives they came from.
 * @param repair fetches damaged blobs again from where the image was pulled, and unpacks damaged layers again
 */
export async function verifyImages(
  ctx: Context,
  options: { images?: readonly ImageRecord[] | undefined; repair?: boolean | undefined } = {},
): Promise<{ blobs: number; layers: number; damages: Damage[] }> {
  const damages: Damage[] = [];
  const blobs = new Set<string>();
  const layers = new Set<string>();
  for (const image of options.images ?? allImages(ctx)) {
    let broken = false;
    for (const digest of [image.manifest.digest, image.id, ...image.layers.map((l) => l.digest)]) {
      if (blobs.has(digest)) continue;
      blobs.add(digest);
      const why = await blobDamage(ctx, digest);
      if (why === undefined) continue;
      broken = true;
      damages.push({ what: digest, why, repaired: false });
      if (options.repair) rmSync(storePaths.blob(ctx, digest), { force: true });
    }
    if (broken && options.repair) await fetchAgain(ctx, image, damages);
    for (const layer of image.layers) {
      if (layers.has(layer.chainId) || !isLanded(ctx, layer.chainId)) continue;
      if (blobSize(ctx, layer.digest) === undefined) continue;
      layers.add(layer.chainId);
      const why = await layerDamage(ctx, layer.digest, layer.chainId);
      if (why === undefined) continue;
      const damage: Damage = { what: layer.chainId, why, repaired: false };
      damages.push(damage);
      if (!options.repair) continue;
      discardLayer(ctx, layer.chainId);
      await unpackAgain(ctx, image);
      damage.repaired = true;
    }
  }
  return { blobs: blobs.size, layers: layers.size, damages };
}

async function blobDamage(ctx: Context, digest: string): Promise<string | undefined> {
  if (blobSize(ctx, digest) === undefined) return 'it is missing';
  try {
    for await (const _ of verifiedBlob(ctx, digest)) void _;
    return undefined;
  } catch (error) {
    if (error instanceof NsboxError) return error.message;
    throw error;
  }
}

async function fetchAgain(ctx: Context, image: ImageRecord, damages: Damage[]): Promise<void> {
  const { pullImage } = await import('./registry/index.js');
  // What names just this manifest rather than an index or another form of the image.
  const exact = (name: string) => Number(name.endsWith(`@${image.manifest.digest}`));
  const sources = [...image.repoDigests].sort((a, b) => exact(b) - exact(a));
  const { os, architecture, variant } = image.config;
  for (const source of sources) {
    try {
      await pullImage(ctx, source, { platform: platformText({ os, architecture, variant }) });
      break;
    } catch (error) {
      if (!(error instanceof NsboxError)) throw error;
      ctx.warn(`cannot fetch ${source} again: ${error.message}`);
    }
  }
  const own = new Set([image.manifest.digest, image.id, ...image.layers.map((l) => l.digest)]);
  for (const damage of damages) {
    if (own.has(damage.what) && blobSize(ctx, damage.what) !== undefined) damage.repaired = true;
  }
}

async function unpackAgain(ctx: Context, image: ImageRecord): Promise<void> {
  await landLayers(
    ctx,
    image.layers.map((l) => ({
      chainId: l.chainId,
      diffId: l.diffId,
      blobSize: l.blobSize,
      open: () => verifiedBlob(ctx, l.digest),
    })),
  );
}

/** Compares unpacked regular files with the archive, by size and content; names the first difference. */
async function layerDamage(ctx: Context, digest: string, chainId: string): Promise<string | undefined> {
  const root = openat2(-100, layerFs(ctx, chainId), constants.O_RDONLY | constants.O_DIRECTORY);
  let fd = -1;
  let name = '';
  let found: string | undefined;
  const scratch = Buffer.alloc(1 << 20);
  const reader = new TarReader({
    entry(e) {
      const path = layerPath(e.path);
      if (e.type !== 'file' || path.name.toString('latin1').startsWith('.wh.')) return;
      name = `/${Buffer.from(path.key, 'latin1').toString()}`;
      let dir: number | undefined;
      try {
        dir = openDirectoryInRoot(root, path.parent === '' ? '.' : Buffer.from(path.parent, 'latin1'));
        const stat = lstatat(dir, path.name);
        if (!stat) found ??= `${name} is missing`;
        else if (stat.size !== e.size) found ??= `${name} has ${stat.size} bytes, not ${e.size}`;
        else fd = openat2(dir, path.name, constants.O_RDONLY | constants.O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
      } catch {
        found ??= `${name} is missing`;
      } finally {
        if (dir !== undefined) closeSync(dir);
      }
    },
    data(chunk, offset) {
      if (fd < 0) return;
      for (let at = 0; at < chunk.length; ) {
        const n = readSync(fd, scratch, 0, Math.min(scratch.length, chunk.length - at), offset + at);
        if (n === 0 || scratch.compare(chunk, at, at + n, 0, n) !== 0) {
          found ??= `${name} differs from its archive`;
          return;
        }
        at += n;
      }
    },
    end() {
      if (fd >= 0) closeSync(fd);
      fd = -1;
    },
  });
  try {
    await decompress(verifiedBlob(ctx, digest), (piece) => reader.write(piece));
    return found;
  } catch (error) {
    if (error instanceof NsboxError) return error.message;
    throw error;
  } finally {
    if (fd >= 0) closeSync(fd);
    closeSync(root);
  }
}
