import { existsSync, rmSync } from 'node:fs';
import { type Context, NsboxError, shortId } from '../base/index.js';
import { blobSize, verifiedBlob } from './blobs.js';
import { isLanded, layerFs, treeDifference, unpackBeside } from './layer/index.js';
import { mountedParts } from './mounts.js';
import { storePaths } from './paths.js';
import { platformText } from './platform.js';
import { allImages, type ImageRecord } from './records.js';
import type { ImageLayer } from './types.js';

/** One damage that was found. */
export interface Damage {
  /** Digest of a blob or chain ID of a layer. */
  what: string;
  why: string;
  /** Whether it was put right. */
  repaired: boolean;
}

export interface VerifyOptions {
  images?: readonly ImageRecord[] | undefined;
  /** Fetches damaged blobs again from where the image was pulled, and unpacks damaged layers again. */
  repair?: boolean | undefined;
  /** The running container that has an image: its layers stay as they are. */
  running?: ((imageId: string) => string | undefined) | undefined;
}

/**
 * Reads everything again: blobs against their digests; layers are unpacked once more and compared with those that are
 * there, which takes as much disk as the largest of them for the time.
 */
export async function verifyImages(
  ctx: Context,
  options: VerifyOptions = {},
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
    for (const [i, layer] of image.layers.entries()) {
      // One that isn't unpacked will be, from its blob, by whoever needs it.
      if (layers.has(layer.chainId) || !isLanded(ctx, layer.chainId)) continue;
      // Of a damaged blob nothing can be said but what is said above.
      if (damages.some((d) => d.what === layer.digest && !d.repaired)) continue;
      // Nor of a layer when one below it is gone: it would be unpacked onto that.
      if (image.layers.slice(0, i).some((l) => !existsSync(layerFs(ctx, l.chainId)))) continue;
      layers.add(layer.chainId);
      const why = await layerDamage(ctx, image.layers.slice(0, i + 1), options);
      if (why !== undefined) damages.push({ what: layer.chainId, ...why });
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

/**
 * Unpacks the last of some layers once more beside its place and compares the trees; one that differs makes room for the
 * fresh one where that is asked for and no running container has it.
 */
async function layerDamage(
  ctx: Context,
  layers: readonly ImageLayer[],
  options: VerifyOptions,
): Promise<Omit<Damage, 'what'> | undefined> {
  const layer = layers.at(-1)!;
  const lowers = layers.slice(0, -1).map((l) => layerFs(ctx, l.chainId));
  const job = { ...layer, open: () => verifiedBlob(ctx, layer.digest) };
  let why: string | undefined;
  let repaired = false;
  await unpackBeside(ctx, job, lowers, async (fresh, present) => {
    why = existsSync(present) ? await treeDifference(fresh, present) : 'its files are missing';
    if (why === undefined || !options.repair) return false;
    const busy = inUse(ctx, layer.chainId, options);
    repaired = busy === undefined;
    if (busy !== undefined) why += `; ${busy} and repair again`;
    return repaired;
  });
  return why === undefined ? undefined : { why, repaired };
}

/** Why a layer's directory can't be replaced now, and what to do about it. */
function inUse(ctx: Context, chainId: string, options: VerifyOptions): string | undefined {
  if (mountedParts(ctx).chain.has(chainId)) return 'its image is mounted: unmount it';
  for (const image of allImages(ctx)) {
    if (!image.layers.some((l) => l.chainId === chainId)) continue;
    const user = options.running?.(image.id);
    if (user !== undefined) return `container ${shortId(user)} runs on it: stop it`;
  }
  return undefined;
}
