import { type Context, createHash, ImageError, NotFoundError } from '../../base/index.js';
import { type ArchiveFiles, openArchive } from '../archive.js';
import { readBlob, sha256, verifiedBlob } from '../blobs.js';
import { CONFIG_LIMIT, MANIFEST_LIMIT, parseConfig, parseDockerArchive, parseIndex } from '../documents.js';
import { compressionOf } from '../layer/index.js';
import { checkCount, chooseDocker, layoutEntries } from '../load.js';
import { findImage } from '../records.js';
import { parseReference } from '../reference.js';
import { layerMediaType } from '../register.js';
import { Registry } from '../registry/client.js';
import { resuming } from '../registry/pull.js';
import { type Descriptor, type Manifest, MEDIA } from '../types.js';
import { decompressed } from './compress.js';
import { type Place, placeText } from './transport.js';

export interface Document {
  data: Buffer;
  mediaType: string | undefined;
}

/** An image to copy from, whatever holds it. */
export interface Source extends Disposable {
  /** Manifest or index: the image's own, or one by its digest (checked). */
  manifest(digest?: string): Promise<Document>;
  /** Content of a blob, checked against digest and size when the last piece is out. Pieces are good until the next. */
  blob(descriptor: Descriptor): AsyncIterable<Buffer>;
}

/** @throws NotFoundError, ImageError */
export async function openSource(
  ctx: Context,
  place: Place,
  signal: AbortSignal | undefined,
): Promise<Source> {
  switch (place.transport) {
    case 'store':
      return storeSource(ctx, place.reference);
    case 'docker':
      return registrySource(ctx, place.reference, signal);
    case 'docker-archive':
      return dockerSource(await openArchive(ctx, { path: place.path }), place.reference);
    case 'dir':
      return dirSource(await openArchive(ctx, { path: place.path }), placeText(place));
    default:
      return layoutSource(await openArchive(ctx, { path: place.path }), place.reference, placeText(place));
  }
}

function storeSource(ctx: Context, reference: string): Source {
  const { record } = findImage(ctx, reference);
  return {
    async manifest(digest = record.manifest.digest) {
      return { data: readBlob(ctx, digest), mediaType: record.manifest.mediaType };
    },
    blob: (d) => verifiedBlob(ctx, d.digest),
    [Symbol.dispose]() {},
  };
}

function registrySource(ctx: Context, reference: string, signal: AbortSignal | undefined): Source {
  const ref = parseReference(reference);
  const registry = new Registry(ctx, ref, { signal });
  return {
    async manifest(digest) {
      const wanted = digest ?? ref.digest;
      const found = await registry.manifest(wanted ?? ref.tag ?? 'latest');
      return wanted === undefined ? found : { ...found, data: sure(found.data, wanted) };
    },
    blob: (d) => checked(resuming(registry, d, 0, signal), d),
    [Symbol.dispose]() {},
  };
}

async function layoutSource(files: ArchiveFiles, tag: string | undefined, name: string): Promise<Source> {
  try {
    const entries = [...(await layoutEntries(files, tag)).values()];
    if (entries.length === 0) throw new NotFoundError('image', name);
    if (entries.length > 1) {
      const names = entries.flatMap((e) => e.names);
      throw new ImageError(`${name} holds ${entries.length} images`, {
        hint: `name one after a colon: ${names.join(', ') || 'none of them has a name'}`,
      });
    }
    const { descriptor } = entries[0]!;
    const file = (digest: string) => `blobs/${digest.replace(':', '/')}`;
    return {
      async manifest(digest = descriptor.digest) {
        const data = sure(files.read(file(digest), MANIFEST_LIMIT), digest);
        return { data, mediaType: digest === descriptor.digest ? descriptor.mediaType : undefined };
      },
      blob: (d) => checked(files.stream(file(d.digest)), d),
      [Symbol.dispose]: () => files[Symbol.dispose](),
    };
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

function dirSource(files: ArchiveFiles, name: string): Source {
  return {
    async manifest(digest) {
      const file = digest === undefined ? 'manifest.json' : `${digest.slice(7)}.manifest.json`;
      if (!files.has(file)) throw new NotFoundError('image', name, { hint: `it has no ${file}` });
      const data = files.read(file, MANIFEST_LIMIT);
      return { data: digest === undefined ? data : sure(data, digest), mediaType: undefined };
    },
    blob: (d) => checked(files.stream(d.digest.slice(7)), d),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

/** An archive of `docker save` has no manifest: one is made for its layers, uncompressed as their diff ids name them. */
async function dockerSource(files: ArchiveFiles, reference: string | undefined): Promise<Source> {
  try {
    const list = await parseDockerArchive(files.read('manifest.json', MANIFEST_LIMIT));
    const item = chooseDocker(list, reference);
    const configData = files.read(item.Config, CONFIG_LIMIT);
    const config = await parseConfig(configData, item.Config);
    checkCount(config, item.Layers.length);
    const names = new Map<string, string>();
    const layers: Descriptor[] = [];
    for (const [i, name] of item.Layers.entries()) {
      const digest = config.rootfs.diff_ids[i]!;
      let size = files.size(name);
      if (compressionOf(files.head(name)) !== 'none') {
        size = 0;
        for await (const piece of decompressed(files.stream(name))) size += piece.length;
      }
      names.set(digest, name);
      layers.push({ mediaType: layerMediaType('none'), digest, size });
    }
    const digest = sha256(configData);
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: { mediaType: MEDIA.ociConfig, digest, size: configData.length },
      layers,
    };
    const data = Buffer.from(JSON.stringify(manifest));
    return {
      async manifest() {
        return { data, mediaType: MEDIA.ociManifest };
      },
      blob(d) {
        if (d.digest === digest) return one(configData);
        return checked(decompressed(files.stream(names.get(d.digest)!)), d);
      },
      [Symbol.dispose]: () => files[Symbol.dispose](),
    };
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

async function* one(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

function sure(data: Buffer, digest: string): Buffer {
  if (sha256(data) === digest) return data;
  throw new ImageError(`digest mismatch of a manifest: expected ${digest}, received ${sha256(data)}`);
}

/** Passes a blob through and fails at its end where it isn't what its descriptor says. */
async function* checked(source: AsyncIterable<Buffer>, d: Descriptor): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const piece of source) {
    hash.update(piece);
    size += piece.length;
    if (size > d.size) break;
    yield piece;
  }
  if (size !== d.size) {
    throw new ImageError(
      `${d.digest} has ${size > d.size ? 'more than ' : ''}${Math.min(size, d.size)} bytes where its manifest says ${d.size}`,
    );
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== d.digest) throw new ImageError(`digest mismatch: expected ${d.digest}, received ${digest}`);
}

/** An index of a document, where it is one. */
export async function indexOf(document: Document): Promise<{ manifests: Descriptor[] }> {
  return parseIndex(document.data, 'the index');
}
