import { type Context, ImageError, InvalidError, isErrno } from '../../base/index.js';
import { BlobWriter, blobSize, putBlob, sha256, verifiedBlob } from '../blobs.js';
import { CONFIG_LIMIT, isIndex, parseConfig, parseIndex, parseManifest } from '../documents.js';
import { type LayerJob, landLayers } from '../layer/index.js';
import { Lease } from '../lease.js';
import { checkCount } from '../load.js';
import { choosePlatform, wantedPlatform } from '../platform.js';
import type { ImageRecord } from '../records.js';
import { canonical, parseReference, type Reference, repositoryOf } from '../reference.js';
import { chainOf, register } from '../register.js';
import type { Descriptor, Progress } from '../types.js';
import { MEDIA } from '../types.js';
import { Registry, sleep } from './client.js';

export interface PullRequest {
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** How often a cut download is taken up again without a byte of progress. */
const TRIES = 5;

/**
 * Fetches an image: manifest, config and the layers that are missing, several at a time, each unpacked while it comes
 * and checked against its digest. Nothing is visible before all of it is there.
 * @throws NotFoundError, ImageError (REGISTRY, IMAGE_CORRUPT), UnsupportedError for a missing platform
 */
export async function pullImage(
  ctx: Context,
  reference: string,
  options: PullRequest = {},
): Promise<ImageRecord> {
  const ref = parseReference(reference);
  return pullReference(ctx, ref, new Registry(ctx, ref, { signal: options.signal }), options);
}

/** Every tag of a repository. */
export async function pullAllTags(
  ctx: Context,
  reference: string,
  options: PullRequest = {},
): Promise<ImageRecord[]> {
  const ref = parseReference(reference);
  if (ref.digest || /:[^/]*$/.test(reference.replace(/^[^/]*:\d+\//, ''))) {
    throw new InvalidError('--all-tags takes a name without tag or digest');
  }
  const registry = new Registry(ctx, ref, { signal: options.signal });
  const out: ImageRecord[] = [];
  for (const tag of await registry.tags()) {
    out.push(await pullReference(ctx, { ...ref, tag }, registry, options));
  }
  return out;
}

async function pullReference(
  ctx: Context,
  ref: Reference,
  registry: Registry,
  options: PullRequest,
): Promise<ImageRecord> {
  const said = (id: string, status: string, current?: number, total?: number) =>
    options.onProgress?.({ id, status, current, total });
  said(ref.digest ?? ref.tag ?? 'latest', `Pulling from ${ref.path}`);
  const first = await fetchManifest(registry, ref.digest ?? ref.tag ?? 'latest');
  let found = first;
  if (isIndex(first.mediaType, first.data)) {
    const index = await parseIndex(first.data, canonical(ref));
    const chosen = choosePlatform(index.manifests, wantedPlatform(options.platform), canonical(ref));
    found = await fetchManifest(registry, chosen.digest);
  }
  const manifest = await parseManifest(found.data, found.digest);
  for (const layer of manifest.layers) refuseForeign(layer);
  const keep = [found.digest, manifest.config.digest, ...manifest.layers.map((l) => l.digest)];
  using _blobs = await Lease.take(ctx, keep);
  const configData = await fetchConfig(ctx, registry, manifest.config);
  const config = await parseConfig(configData, manifest.config.digest);
  checkCount(config, manifest.layers.length);
  const chain = chainOf(config);
  using _layers = await Lease.take(ctx, chain);
  const jobs = manifest.layers.map((layer, i): LayerJob => {
    const id = layer.digest.slice(7, 19);
    const progress = (status: string, current?: number) => said(id, status, current, layer.size);
    return {
      chainId: chain[i]!,
      diffId: config.rootfs.diff_ids[i]!,
      blobSize: layer.size,
      open: () => download(ctx, registry, layer, progress, options.signal),
      async present() {
        if (blobSize(ctx, layer.digest) !== undefined) return progress('Already exists');
        for await (const _ of download(ctx, registry, layer, progress, options.signal)) void _;
      },
    };
  });
  await landLayers(ctx, jobs, options);
  await putBlob(ctx, configData);
  await putBlob(ctx, found.data);
  said('', `Digest: ${first.digest}`);
  const name = canonical(ref);
  const digests = [...new Set([first.digest, ...(ref.digest ? [ref.digest] : [])])];
  return register(
    ctx,
    {
      id: manifest.config.digest,
      manifest: {
        mediaType: found.mediaType ?? manifest.mediaType ?? MEDIA.ociManifest,
        digest: found.digest,
        size: found.data.length,
      },
      config,
      blobs: manifest.layers,
      repoDigests: digests.map((digest) => `${repositoryOf(ref)}@${digest}`),
    },
    ref.digest ? [] : [name],
  );
}

interface Fetched {
  data: Buffer;
  digest: string;
  mediaType: string | undefined;
}

async function fetchManifest(registry: Registry, tagOrDigest: string): Promise<Fetched> {
  const { data, mediaType } = await registry.manifest(tagOrDigest);
  const digest = sha256(data);
  if (tagOrDigest.startsWith('sha256:') && tagOrDigest !== digest) {
    throw new ImageError(`digest mismatch of a manifest: expected ${tagOrDigest}, received ${digest}`);
  }
  return { data, digest, mediaType };
}

async function fetchConfig(ctx: Context, registry: Registry, config: Descriptor): Promise<Buffer> {
  if (config.size > CONFIG_LIMIT) throw new ImageError(`the image's config has ${config.size} bytes`);
  const pieces: Buffer[] = [];
  const source =
    blobSize(ctx, config.digest) === undefined
      ? download(ctx, registry, config, () => {}, undefined)
      : verifiedBlob(ctx, config.digest);
  for await (const piece of source) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

function refuseForeign(layer: Descriptor): void {
  if (/foreign|nondistributable/.test(layer.mediaType)) {
    throw new ImageError(`the image has a layer that its registry doesn't distribute (${layer.mediaType})`, {
      hint: 'such layers belong to Windows images',
    });
  }
  if (/encrypted/.test(layer.mediaType)) throw new ImageError('the image has an encrypted layer');
}

/**
 * The pieces of a blob as they come, stored on the way. What an earlier try left is read first and the rest asked for by
 * Range; a cut connection is taken up where it broke.
 */
async function* download(
  ctx: Context,
  registry: Registry,
  blob: Descriptor,
  progress: (status: string, current?: number) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  if (blobSize(ctx, blob.digest) !== undefined) {
    yield* verifiedBlob(ctx, blob.digest);
    return;
  }
  progress('Waiting');
  using writer = await BlobWriter.open(ctx, blob.digest);
  if (!writer) {
    yield* verifiedBlob(ctx, blob.digest);
    return;
  }
  yield* writer.earlier();
  if (writer.size > blob.size)
    throw new ImageError(`a part of ${blob.digest} in the store is too long; try again`);
  for (let fruitless = 0; writer.size < blob.size; ) {
    const before = writer.size;
    let failure: unknown;
    writer.keepPart(true);
    try {
      for await (const piece of fetchFrom(registry, blob, writer.size)) {
        if (writer.size + piece.length > blob.size) {
          writer.keepPart(false);
          throw new ImageError(`the registry sends more than the ${blob.size} bytes of ${blob.digest}`);
        }
        writer.write(piece);
        progress('Downloading', writer.size);
        // Whoever stops here found the content bad; a cut while waiting is none of its fault.
        writer.keepPart(false);
        yield piece;
        writer.keepPart(true);
      }
    } catch (error) {
      signal?.throwIfAborted();
      // A full disk or a registry that says no won't change by asking again.
      const cut = isErrno(error, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNREFUSED') || isPlainFailure(error);
      if (!cut) throw error;
      failure = error;
    }
    if (writer.size >= blob.size) break;
    fruitless = writer.size > before ? 1 : fruitless + 1;
    if (fruitless >= TRIES) {
      throw new ImageError(
        `the download of ${blob.digest} broke off at ${writer.size} of ${blob.size} bytes, ${TRIES} times`,
        { code: 'REGISTRY', cause: failure, hint: 'what came is kept; pull again to go on from there' },
      );
    }
    await sleep(Math.min(4000, 200 * 2 ** fruitless), signal);
  }
  await writer.finish(blob.size);
  progress('Pull complete', blob.size);
}

/** An error of the stream itself (`aborted`, `terminated`), not one of ours. */
function isPlainFailure(error: unknown): boolean {
  return error instanceof Error && !('exitCode' in error) && error.name !== 'AbortError';
}

async function* fetchFrom(registry: Registry, blob: Descriptor, start: number): AsyncGenerator<Buffer> {
  const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {};
  const response = await registry.get(`blobs/${blob.digest}`, headers);
  try {
    await registry.expect(response, [200, 206], `the blob ${blob.digest}`);
    // A server without ranges sends it all again: what we have is skipped.
    let skip = response.status === 200 ? start : 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      const piece = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
      skip -= chunk.length - piece.length;
      if (piece.length > 0) yield piece;
    }
  } finally {
    response.body.destroy();
  }
}
