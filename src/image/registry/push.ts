import { type Context, ImageError } from '../../base/index.js';
import { BlobWriter, blobSize, putBlob, readBlob, sha256, verifiedBlob } from '../blobs.js';
import { parseManifest } from '../documents.js';
import { Lease } from '../lease.js';
import { allImages, type ImageRecord, lockRecords, readImage, writeImage } from '../records.js';
import { canonical, parseReference, repositoryOf } from '../reference.js';
import { layerMediaType } from '../register.js';
import { compressed, decompressed, type Squeeze } from '../transfer/compress.js';
import { compressionIn, formatOf, rewritten } from '../transfer/manifest.js';
import type { Descriptor, ImageLayer, Progress } from '../types.js';
import { Registry } from './client.js';
import type { Credentials } from './credentials.js';
import { putRemoteManifest, uploadBlob } from './upload.js';

export interface PushRequest {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * What every layer is to be compressed with. Without it, layers that lie uncompressed in the store go out as gzip,
   * unless a registry knows the image just so; the others as they are.
   */
  compression?: Squeeze | undefined;
  credentials?: Credentials | undefined;
}

const AT_A_TIME = 3;

/**
 * Sends an image to a registry: layers that it lacks (mounted from another repository of it where one is known to have
 * them), then config, then manifest.
 * @returns digest of the manifest
 * @throws ImageError REGISTRY
 */
export async function pushImage(
  ctx: Context,
  image: ImageRecord,
  reference: string,
  options: PushRequest = {},
): Promise<{ digest: string; size: number; tag: string }> {
  const ref = parseReference(reference);
  const said = (id: string, status: string, current?: number, total?: number) =>
    options.onProgress?.({ id, status, current, total });
  using out = await outgoing(ctx, image, options.compression, (layer, status) =>
    said(layer.digest.slice(7, 19), status),
  );
  const holders = holdersIn(ctx, ref.domain, ref.path);
  const from = (digest: string) => holders.get(digest);
  const digests = [...new Set(out.layers.map((l) => l.digest)), image.id];
  const registry = new Registry(ctx, ref, {
    actions: 'pull,push',
    alsoPull: [...new Set(digests.flatMap((d) => from(d) ?? []))],
    credentials: options.credentials,
    signal: options.signal,
  });
  const { signal } = options;
  const queue = [...new Map(out.layers.map((l) => [l.digest, l])).values()];
  const worker = async () => {
    for (let layer = queue.shift(); layer; layer = queue.shift()) {
      const { digest, blobSize: size, mediaType } = layer;
      if (blobSize(ctx, digest) === undefined) throw new ImageError(`the store lacks the blob ${digest}`);
      const progress = (status: string, n?: number) => said(digest.slice(7, 19), status, n, size);
      const open = () => verifiedBlob(ctx, digest);
      await uploadBlob(registry, { digest, size, mediaType }, open, { from: from(digest), signal, progress });
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  const config = { digest: image.id, size: blobSize(ctx, image.id) ?? 0, mediaType: '' };
  await uploadBlob(registry, config, () => verifiedBlob(ctx, image.id), { from: from(image.id), signal });
  const tag = ref.tag ?? ref.digest ?? 'latest';
  await putRemoteManifest(registry, tag, out.data, out.manifest.mediaType);
  await remember(ctx, image, out, `${repositoryOf(ref)}@${out.manifest.digest}`);
  said('', `${tag}: digest: ${out.manifest.digest} size: ${out.data.length}`);
  return { digest: out.manifest.digest, size: out.data.length, tag: canonical(ref) };
}

/** Which other repository of a registry has a blob, as far as the records know. */
function holdersIn(ctx: Context, domain: string, own: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const image of allImages(ctx)) {
    for (const name of image.repoDigests) {
      const other = parseReference(name);
      if (other.domain !== domain || other.path === own) continue;
      for (const digest of [image.id, ...image.layers.map((l) => l.digest)]) out.set(digest, other.path);
    }
  }
  return out;
}

/** An image as it goes out. Its blobs are in the store and stay there until this is disposed. */
interface Outgoing extends Disposable {
  data: Buffer;
  manifest: Descriptor;
  layers: ImageLayer[];
}

async function outgoing(
  ctx: Context,
  image: ImageRecord,
  wanted: Squeeze | undefined,
  progress: (layer: ImageLayer, status: string) => void,
): Promise<Outgoing> {
  const data = readBlob(ctx, image.manifest.digest);
  const known = image.repoDigests.some((name) => name.endsWith(`@${image.manifest.digest}`));
  const stays = (layer: ImageLayer) => {
    const now = compressionIn(layer.mediaType);
    if (wanted) return now === wanted.format && wanted.level === undefined;
    return known || now !== 'none';
  };
  const leases: Lease[] = [];
  const drop = () => {
    for (const lease of leases.splice(0)) lease[Symbol.dispose]();
  };
  if (image.layers.every(stays)) {
    return { data, manifest: image.manifest, layers: image.layers, [Symbol.dispose]: drop };
  }
  try {
    const layers: ImageLayer[] = [];
    for (const layer of image.layers) {
      layers.push(
        stays(layer) ? layer : await squeezed(ctx, layer, wanted ?? { format: 'gzip' }, leases, progress),
      );
    }
    const before = await parseManifest(data, image.manifest.digest);
    const descriptors = layers.map(
      (l, i): Descriptor => ({
        ...before.layers[i],
        mediaType: l.mediaType,
        digest: l.digest,
        size: l.blobSize,
      }),
    );
    const format = formatOf(image.manifest.mediaType, before);
    const manifest = rewritten(before, descriptors, wanted?.format === 'zstd' ? 'oci' : format);
    const text = Buffer.from(JSON.stringify(manifest));
    const digest = sha256(text);
    return {
      data: text,
      manifest: { mediaType: manifest.mediaType!, digest, size: text.length },
      layers,
      [Symbol.dispose]: drop,
    };
  } catch (error) {
    drop();
    throw error;
  }
}

/** A layer in another compression: as another image of the store has it already, or made now. */
async function squeezed(
  ctx: Context,
  layer: ImageLayer,
  how: Squeeze,
  leases: Lease[],
  progress: (layer: ImageLayer, status: string) => void,
): Promise<ImageLayer> {
  if (how.level === undefined) {
    for (const other of allImages(ctx).flatMap((image) => image.layers)) {
      if (other.diffId !== layer.diffId || compressionIn(other.mediaType) !== how.format) continue;
      leases.push(await Lease.take(ctx, [other.digest]));
      if (blobSize(ctx, other.digest) === undefined) continue;
      return {
        ...layer,
        digest: other.digest,
        blobSize: other.blobSize,
        mediaType: layerMediaType(how.format),
      };
    }
  }
  progress(layer, 'Compressing');
  using writer = await BlobWriter.open(ctx);
  const stored = verifiedBlob(ctx, layer.digest);
  const plain = compressionIn(layer.mediaType) === 'none' ? stored : decompressed(stored);
  for await (const piece of compressed(plain, how)) writer!.write(piece);
  const digest = writer!.seal();
  // Claimed before it is visible: a collection may run at any time.
  leases.push(await Lease.take(ctx, [digest]));
  await writer!.finish();
  return { ...layer, digest, blobSize: writer!.size, mediaType: layerMediaType(how.format) };
}

/**
 * Notes where the image is now. One that no registry knew takes the form in which it went out, so that the next push
 * finds its blobs there.
 */
async function remember(ctx: Context, image: ImageRecord, out: Outgoing, name: string): Promise<void> {
  const own = image.repoDigests.some((n) => n.endsWith(`@${image.manifest.digest}`));
  const adopt = !own && out.manifest.digest !== image.manifest.digest;
  using _lease = await Lease.take(ctx, [out.manifest.digest]);
  if (adopt) await putBlob(ctx, out.data);
  using _lock = await lockRecords(ctx);
  const now = readImage(ctx, image.id);
  // Removed meanwhile, or pulled in another form.
  if (!now) return;
  const change = adopt && now.manifest.digest === image.manifest.digest;
  if (!change && now.repoDigests.includes(name)) return;
  const form = change ? { manifest: out.manifest, layers: out.layers } : {};
  writeImage(ctx, { ...now, ...form, repoDigests: [...now.repoDigests, name] }, []);
}
