import { type Context, InvalidError } from '../base/index.js';
import { blobSize, readBlob, verifiedBlob } from './blobs.js';
import { decompress, PlainMeter } from './layer/index.js';
import { findImage, type ImageRecord } from './records.js';
import { familiar } from './reference.js';
import { fileHeader, tarEnd, tarPadding } from './tar/index.js';
import { decompressed } from './transfer/compress.js';
import type { Descriptor } from './types.js';

export type ArchiveFormat = 'docker-archive' | 'oci-archive';

/** One file of an archive, known before it is written. */
interface Part {
  name: string;
  size: number;
  open(): AsyncIterable<Buffer>;
}

/**
 * Writes images as one archive, in pieces that are good until the next. docker-archive has its layers uncompressed, as
 * `docker load`, `podman load` and skopeo expect them; oci-archive keeps blobs and digests as they are.
 * @param names images by name or id; a name is kept, an id brings all names of the image
 * @throws NotFoundError, ImageError where a blob is damaged
 */
export async function* saveImages(
  ctx: Context,
  names: readonly string[],
  format: ArchiveFormat,
): AsyncGenerator<Buffer> {
  const images = new Map<string, { record: ImageRecord; names: string[] }>();
  for (const text of names) {
    const { record, name } = findImage(ctx, text);
    const entry = images.get(record.id) ?? { record, names: [] };
    if (name && !name.includes('@')) entry.names.push(name);
    images.set(record.id, entry);
  }
  if (images.size === 0) throw new InvalidError('save needs at least one image');
  const parts = new Map<string, Part>();
  const add = (name: string, size: number, open: () => AsyncIterable<Buffer>) =>
    parts.set(name, { name, size, open });
  const text = (name: string, value: unknown) => {
    const data = Buffer.from(JSON.stringify(value));
    add(name, data.length, () => once(data));
    return data;
  };
  if (format === 'oci-archive') addLayout(ctx, [...images.values()], add, text);
  else await addDocker(ctx, [...images.values()], add, text);
  for (const part of parts.values()) yield* member(part);
  yield tarEnd();
}

type Add = (name: string, size: number, open: () => AsyncIterable<Buffer>) => void;
type Text = (name: string, value: unknown) => Buffer;
type Chosen = { record: ImageRecord; names: string[] };

const blobName = (digest: string) => `blobs/${digest.replace(':', '/')}`;

function addLayout(ctx: Context, images: Chosen[], add: Add, text: Text): void {
  const manifests: Descriptor[] = [];
  for (const { record, names } of images) {
    const digests = [record.manifest.digest, record.id, ...record.layers.map((l) => l.digest)];
    for (const digest of digests) {
      add(blobName(digest), blobSize(ctx, digest) ?? 0, () => verifiedBlob(ctx, digest));
    }
    const plain = { ...record.manifest };
    if (names.length === 0) manifests.push(plain);
    for (const name of names) {
      const tag = name.slice(name.lastIndexOf(':') + 1);
      manifests.push({
        ...plain,
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag },
      });
    }
  }
  text('index.json', { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests });
  text('oci-layout', { imageLayoutVersion: '1.0.0' });
}

async function addDocker(ctx: Context, images: Chosen[], add: Add, text: Text): Promise<void> {
  const list: unknown[] = [];
  for (const { record, names } of images) {
    const config = readBlob(ctx, record.id);
    const configName = `${record.id.slice(7)}.json`;
    add(configName, config.length, () => once(config));
    const layers: string[] = [];
    for (const layer of record.layers) {
      const name = `${layer.diffId.slice(7)}.tar`;
      layers.push(name);
      if (layer.digest === layer.diffId) {
        add(name, layer.blobSize, () => verifiedBlob(ctx, layer.digest));
      } else {
        // A tar's header has the size before the content: the blob is unpacked twice, memory stays small.
        const size = await plainSize(ctx, layer.digest);
        add(name, size, () => decompressed(verifiedBlob(ctx, layer.digest)));
      }
    }
    list.push({ Config: configName, RepoTags: names.map(familiar), Layers: layers });
  }
  text('manifest.json', list);
}

async function plainSize(ctx: Context, digest: string): Promise<number> {
  const meter = new PlainMeter(Number.POSITIVE_INFINITY);
  await decompress(verifiedBlob(ctx, digest), (piece, lasting) => meter.add(piece, lasting));
  return meter.size;
}

async function* once(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

async function* member(part: Part): AsyncGenerator<Buffer> {
  yield fileHeader(part.name, part.size);
  yield* part.open();
  yield tarPadding(part.size);
}
