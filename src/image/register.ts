import type { Context } from '../base/index.js';
import { fsyncDirectory } from '../state/index.js';
import { blobSize, putBlob, sha256 } from './blobs.js';
import { chainIdOf, layerRecord } from './layer/index.js';
import type { Lease } from './lease.js';
import { storePaths } from './paths.js';
import { type ImageRecord, lockRecords, readImage, writeImage } from './records.js';
import { type Descriptor, type ImageConfig, type ImageLayer, type Manifest, MEDIA } from './types.js';

/** Chain IDs of a config's layers, lowest first. */
export function chainOf(config: ImageConfig): string[] {
  const out: string[] = [];
  for (const diffId of config.rootfs.diff_ids) out.push(chainIdOf(out.at(-1), diffId));
  return out;
}

/**
 * Makes an image visible whose blobs and layers are all in the store: its record, durably, then its names.
 * @param names canonical references
 */
export async function register(
  ctx: Context,
  image: {
    id: string;
    manifest: Descriptor;
    config: ImageConfig;
    blobs: readonly Descriptor[];
    repoDigests?: string[] | undefined;
  },
  names: readonly string[],
): Promise<ImageRecord> {
  const chain = chainOf(image.config);
  const layers = image.config.rootfs.diff_ids.map((diffId, i): ImageLayer => {
    const blob = image.blobs[i]!;
    return {
      digest: blob.digest,
      mediaType: blob.mediaType,
      blobSize: blob.size,
      diffId,
      chainId: chain[i]!,
      size: layerRecord(ctx, chain[i]!)?.size ?? 0,
    };
  });
  const record: ImageRecord = {
    version: 1,
    id: image.id,
    manifest: image.manifest,
    config: image.config,
    layers,
    size: layers.reduce((sum, layer) => sum + layer.size, 0),
    repoDigests: image.repoDigests ?? [],
    added: new Date().toISOString(),
  };
  // One for all blobs of the image: what a record names is on disk before the record is.
  fsyncDirectory(storePaths.blobs(ctx));
  using _lock = await lockRecords(ctx);
  return writeImage(ctx, inKnownForm(ctx, record), names);
}

/**
 * The record of an image as it is to be kept. One that comes from an archive and is here already as a registry has it
 * stays in that form, so that its digest goes on to name it and a push finds its blobs there: the archive may have other
 * bytes of the same layers. The caller holds the records' lock.
 */
function inKnownForm(ctx: Context, record: ImageRecord): ImageRecord {
  const before = readImage(ctx, record.id);
  if (!before || before.repoDigests.length === 0 || record.repoDigests.length > 0) return record;
  const digests = [before.manifest.digest, ...before.layers.map((layer) => layer.digest)];
  if (digests.some((digest) => blobSize(ctx, digest) === undefined)) return record;
  return { ...record, manifest: before.manifest, layers: before.layers };
}

/** Stores an OCI manifest of our own making for a config and layers whose blobs are stored, and claims it. */
export async function putManifest(
  ctx: Context,
  lease: Lease,
  config: Descriptor,
  layers: Descriptor[],
): Promise<Descriptor> {
  const manifest: Manifest = { schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers };
  const data = Buffer.from(JSON.stringify(manifest));
  await lease.add(sha256(data));
  return { mediaType: MEDIA.ociManifest, digest: await putBlob(ctx, data), size: data.length };
}

/** Stores a config and claims it; gives its descriptor, whose digest is the image's id. */
export async function putConfig(ctx: Context, lease: Lease, data: Buffer): Promise<Descriptor> {
  await lease.add(sha256(data));
  return { mediaType: MEDIA.ociConfig, digest: await putBlob(ctx, data), size: data.length };
}

/** OCI's media type of a layer by its compression. */
export function layerMediaType(compression: 'none' | 'gzip' | 'zstd'): string {
  return compression === 'none' ? MEDIA.ociLayer : `${MEDIA.ociLayer}+${compression}`;
}
