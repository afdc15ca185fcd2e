import { type Context, ImageError, InvalidError, UnsupportedError } from '../../base/index.js';
import { BlobWriter, sha256 } from '../blobs.js';
import { isIndex, parseManifest } from '../documents.js';
import { choosePlatform, wantedPlatform } from '../platform.js';
import { layerMediaType } from '../register.js';
import { type Descriptor, type Manifest, MEDIA, type Progress } from '../types.js';
import { compressed, decompressed, type Squeeze } from './compress.js';
import { compressionIn, formatOf, type ManifestFormat, refuseForeign, rewritten } from './manifest.js';
import { type Document, indexOf, openSource, type Source } from './source.js';
import { openTarget, type Target } from './target.js';
import { type Place, placeText } from './transport.js';

export interface CopyOptions {
  /** `os[/arch[/variant]]` where the source has several. */
  platform?: string | undefined;
  /** The images of all platforms, with their index. */
  all?: boolean | undefined;
  format?: ManifestFormat | undefined;
  compression?: Squeeze | undefined;
  /** Fail rather than write anything with another digest than the source has. */
  preserveDigests?: boolean | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const AT_A_TIME = 3;

/**
 * Copies an image from one place to another without bringing it into the store: blobs stream from source to target, and
 * the manifest stays as it is where the target takes it so. As `skopeo copy` does it, uncompressed layers are compressed
 * on the way to a registry or layout, and a docker-archive gets plain ones.
 * @returns digest of the manifest (or index) that was written
 * @throws NotFoundError, ImageError, UnsupportedError, ConflictError
 */
export async function copyImage(
  ctx: Context,
  from: Place,
  to: Exclude<Place, { transport: 'store' }>,
  options: CopyOptions = {},
): Promise<string> {
  if (options.all && options.platform !== undefined)
    throw new InvalidError('--all and --platform exclude each other');
  using source = await openSource(ctx, from, options.signal);
  const top = await source.manifest();
  const index = isIndex(top.mediaType, top.data) ? await indexOf(top) : undefined;
  const other = from.transport === 'docker' ? from.reference : undefined;
  using target = openTarget(ctx, to, { signal: options.signal, from: other });
  const copy = new Copy(ctx, source, target, options);
  let digest: string;
  if (index && options.all) {
    if (!target.lists) throw new UnsupportedError(`${placeText(to)} takes the image of one platform only`);
    for (const descriptor of index.manifests) {
      const written = await copy.instance(
        await source.manifest(descriptor.digest),
        false,
        descriptor.mediaType,
      );
      if (written !== descriptor.digest) {
        throw new UnsupportedError(
          `${placeText(to)} would change the digest ${descriptor.digest} of the index`,
          {
            hint: 'copy one platform at a time, or to a place that takes its manifests as they are (dir:, docker://)',
          },
        );
      }
    }
    digest = sha256(top.data);
    const text = JSON.parse(top.data.toString()) as { mediaType?: string };
    await target.manifest(top.data, top.mediaType ?? text.mediaType ?? MEDIA.ociIndex, true);
  } else if (index) {
    const chosen = choosePlatform(index.manifests, wantedPlatform(options.platform), placeText(from));
    digest = await copy.instance(await source.manifest(chosen.digest), true, chosen.mediaType);
  } else {
    digest = await copy.instance(top, true, top.mediaType);
  }
  await target.finish();
  options.onProgress?.({ id: '', status: `Digest: ${digest}` });
  return digest;
}

class Copy {
  readonly #ctx: Context;
  readonly #source: Source;
  readonly #target: Target;
  readonly #options: CopyOptions;

  constructor(ctx: Context, source: Source, target: Target, options: CopyOptions) {
    this.#ctx = ctx;
    this.#source = source;
    this.#target = target;
    this.#options = options;
  }

  /** One image: its layers, config and manifest. @returns the digest of what was written */
  async instance(document: Document, own: boolean, mediaType: string | undefined): Promise<string> {
    const digest = sha256(document.data);
    const manifest = await parseManifest(document.data, digest);
    for (const layer of manifest.layers) refuseForeign(layer);
    const layers: Descriptor[] = [];
    // Layers of the same digest (empty ones, above all) are written once.
    const jobs = new Map<string, number[]>();
    for (const [i, layer] of manifest.layers.entries())
      jobs.set(layer.digest, [...(jobs.get(layer.digest) ?? []), i]);
    const queue = [...jobs.values()];
    const worker = async () => {
      for (let at = queue.shift(); at; at = queue.shift()) {
        const written = await this.#layer(manifest.layers[at[0]!]!);
        for (const i of at) layers[i] = { ...written, annotations: manifest.layers[i]!.annotations };
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    const { config } = manifest;
    await this.#target.blob(
      config,
      () => this.#source.blob(config),
      () => {},
    );
    const { data, type } = this.#manifest(document.data, mediaType, manifest, layers);
    await this.#target.manifest(data, type, own);
    return sha256(data);
  }

  /** Writes a layer, compressed as the target wants it. @returns its descriptor there */
  async #layer(layer: Descriptor): Promise<Descriptor> {
    this.#options.signal?.throwIfAborted();
    const id = layer.digest.slice(7, 19);
    const said = (status: string, current?: number) =>
      this.#options.onProgress?.({ id, status, current, total: layer.size });
    const how = this.#change(layer);
    if (how === undefined) {
      const counted = () => count(this.#source.blob(layer), (n) => said('Copying', n));
      await this.#target.blob(layer, counted, said);
      said('Copied', layer.size);
      return layer;
    }
    if (this.#options.preserveDigests)
      throw new UnsupportedError(
        `the layer ${layer.digest} would have to be ${how === 'plain' ? 'decompressed' : 'compressed'}`,
      );
    const now = compressionIn(layer.mediaType);
    const read = count(this.#source.blob(layer), (n) =>
      said(how === 'plain' ? 'Decompressing' : 'Compressing', n),
    );
    const plain = now === 'none' ? read : decompressed(read);
    // What it weighs then has to be known before it is sent.
    using spool = await BlobWriter.open(this.#ctx);
    for await (const piece of how === 'plain' ? plain : compressed(plain, how)) spool!.write(piece);
    const written: Descriptor = {
      mediaType: layerMediaType(how === 'plain' ? 'none' : how.format),
      digest: spool!.seal(),
      size: spool!.size,
    };
    await this.#target.blob(written, () => spool!.pieces(), said);
    said('Copied', layer.size);
    return written;
  }

  /** What has to be done to a layer; undefined: nothing. */
  #change(layer: Descriptor): 'plain' | Squeeze | undefined {
    const now = compressionIn(layer.mediaType);
    const { compression } = this.#options;
    if (this.#target.layers === 'plain') {
      if (compression) throw new InvalidError('a docker-archive has uncompressed layers');
      return now === 'none' ? undefined : 'plain';
    }
    if (compression)
      return now === compression.format && compression.level === undefined ? undefined : compression;
    return this.#target.layers === 'compressed' && now === 'none' && !this.#options.preserveDigests
      ? { format: 'gzip' }
      : undefined;
  }

  #manifest(
    data: Buffer,
    mediaType: string | undefined,
    manifest: Manifest,
    layers: readonly Descriptor[],
  ): { data: Buffer; type: string } {
    const now = formatOf(mediaType, manifest);
    const zstd = layers.some((l) => compressionIn(l.mediaType) === 'zstd');
    const { formats } = this.#target;
    const kept = formats.includes(now) ? now : formats[0]!;
    const wanted = this.#options.format ?? (zstd && formats.includes('oci') ? 'oci' : kept);
    if (!formats.includes(wanted))
      throw new UnsupportedError(`this target takes no manifest of format ${wanted}`);
    const same = layers.every((l, i) => l.digest === manifest.layers[i]!.digest);
    if (same && wanted === now)
      return {
        data,
        type: mediaType ?? manifest.mediaType ?? (now === 'oci' ? MEDIA.ociManifest : MEDIA.dockerManifest),
      };
    if (this.#options.preserveDigests) {
      throw new ImageError(`the manifest would change, and with it the digest ${sha256(data)}`, {
        hint: 'leave out --preserve-digests',
      });
    }
    const next = rewritten(manifest, layers, wanted);
    return { data: Buffer.from(JSON.stringify(next)), type: next.mediaType! };
  }
}

async function* count(source: AsyncIterable<Buffer>, said: (n: number) => void): AsyncGenerator<Buffer> {
  let n = 0;
  for await (const piece of source) {
    n += piece.length;
    said(n);
    yield piece;
  }
}
