import { type Context, ImageError, InvalidError, isErrno, NsboxError } from '../../base/index.js';
import { BlobWriter, blobSize, putBlob, sha256, verifiedBlob } from '../blobs.js';
import { CONFIG_LIMIT, isIndex, parseConfig, parseIndex, parseManifest } from '../documents.js';
import { type LayerJob, landLayers } from '../layer/index.js';
import { Lease } from '../lease.js';
import { checkCount } from '../load.js';
import { choosePlatform, wantedPlatform } from '../platform.js';
import type { ImageRecord } from '../records.js';
import { canonical, parseReference, type Reference, repositoryOf } from '../reference.js';
import { chainOf, register } from '../register.js';
import { refuseForeign } from '../transfer/manifest.js';
import type { Descriptor, Progress } from '../types.js';
import { MEDIA } from '../types.js';
import { Registry, sleep } from './client.js';
import type { Credentials } from './credentials.js';
import { mirrorsOf } from './settings.js';

export interface PullRequest {
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  credentials?: Credentials | undefined;
  /** The name to give in the store, where it isn't the registry's. */
  rename?: string | undefined;
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
  return pullReference(ctx, ref, registryOf(ctx, ref, options), options);
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
  const registry = registryOf(ctx, ref, options);
  const out: ImageRecord[] = [];
  for (const tag of await registry.tags()) {
    out.push(await pullReference(ctx, { ...ref, tag }, registry, options));
  }
  return out;
}

function registryOf(ctx: Context, ref: Reference, options: PullRequest, mirror?: string): Registry {
  const { signal, credentials } = options;
  return new Registry(ctx, ref, {
    signal,
    mirror,
    credentials: mirror === undefined ? credentials : undefined,
  });
}

/** The manifest from the first of the registry's mirrors that has it, or from itself, with what to ask for the rest. */
async function firstManifest(
  ctx: Context,
  ref: Reference,
  upstream: Registry,
  options: PullRequest,
): Promise<{ registry: Registry; first: Fetched }> {
  const wanted = ref.digest ?? ref.tag ?? 'latest';
  for (const mirror of mirrorsOf(ctx, ref.domain)) {
    try {
      const registry = registryOf(ctx, ref, options, mirror);
      return { registry, first: await fetchManifest(registry, wanted) };
    } catch (error) {
      // A mirror may lack it, be down or lie: the registry itself has the last word.
      if (!(error instanceof NsboxError) || options.signal?.aborted) throw error;
    }
  }
  return { registry: upstream, first: await fetchManifest(upstream, wanted) };
}

async function pullReference(
  ctx: Context,
  ref: Reference,
  upstream: Registry,
  options: PullRequest,
): Promise<ImageRecord> {
  const said = (id: string, status: string, current?: number, total?: number) =>
    options.onProgress?.({ id, status, current, total });
  said(ref.digest ?? ref.tag ?? 'latest', `Pulling from ${ref.path}`);
  const { registry, first } = await firstManifest(ctx, ref, upstream, options);
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
    options.rename === undefined ? (ref.digest ? [] : [name]) : [canonical(parseReference(options.rename))],
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
  // Whoever stops at a yield found the content bad; a cut while waiting is none of its fault.
  writer.keepPart(true);
  try {
    for await (const piece of resuming(registry, blob, writer.size, signal)) {
      writer.write(piece);
      progress('Downloading', writer.size);
      writer.keepPart(false);
      yield piece;
      writer.keepPart(true);
    }
  } catch (error) {
    if (error instanceof ImageError && error.code === 'IMAGE_CORRUPT') writer.keepPart(false);
    throw error;
  }
  await writer.finish(blob.size);
  progress('Pull complete', blob.size);
}

/**
 * The pieces of a blob from byte `start` on, as a registry sends them, unchecked; a cut connection is taken up where it
 * broke.
 * @throws ImageError IMAGE_CORRUPT where more comes than was announced, REGISTRY where it breaks off again and again
 */
export async function* resuming(
  registry: Registry,
  blob: Descriptor,
  start: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let at = start;
  for (let fruitless = 0; at < blob.size; ) {
    const before = at;
    let failure: unknown;
    try {
      for await (const piece of fetchFrom(registry, blob, at)) {
        if (at + piece.length > blob.size)
          throw new ImageError(`the registry sends more than the ${blob.size} bytes of ${blob.digest}`);
        at += piece.length;
        yield piece;
      }
    } catch (error) {
      signal?.throwIfAborted();
      // A full disk or a registry that says no won't change by asking again.
      const cut = isErrno(error, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNREFUSED') || isPlainFailure(error);
      if (!cut) throw error;
      failure = error;
    }
    if (at >= blob.size) break;
    fruitless = at > before ? 1 : fruitless + 1;
    if (fruitless >= TRIES) {
      throw new ImageError(
        `the download of ${blob.digest} broke off at ${at} of ${blob.size} bytes, ${TRIES} times`,
        { code: 'REGISTRY', cause: failure, hint: 'what came is kept; pull again to go on from there' },
      );
    }
    await sleep(Math.min(4000, 200 * 2 ** fruitless), signal);
  }
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
