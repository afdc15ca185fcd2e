import { closeSync, openSync, statSync } from 'node:fs';
import { type Context, fromErrno, InvalidError, NotFoundError } from '../base/index.js';
import type { ArchiveSource } from './archive.js';
import { readPieces, storing } from './blobs.js';
import { applyChanges } from './changes.js';
import { compressionOf, landUnknown } from './layer/index.js';
import { Lease } from './lease.js';
import { wantedPlatform } from './platform.js';
import type { ImageRecord } from './records.js';
import { canonical, parseReference } from './reference.js';
import { layerMediaType, putConfig, putManifest, register } from './register.js';
import { packTree } from './tar/index.js';
import type { Descriptor, ImageConfig } from './types.js';

export interface ImportOptions {
  /** Name for the image. */
  reference?: string | undefined;
  /** Dockerfile instructions: `CMD …`, `ENV …`. */
  changes?: readonly string[] | undefined;
  message?: string | undefined;
  platform?: string | undefined;
  /** ISO 8601; now by default. */
  created?: string | undefined;
  /** Config to begin with. */
  config?: ImageConfig['config'] | undefined;
}

/**
 * Makes an image of one layer from a root filesystem: a tar (plain, gzip or zstd; a stream too) or a directory.
 * @throws ImageError, InvalidError, NotFoundError path
 */
export async function importImage(
  ctx: Context,
  source: ArchiveSource,
  options: ImportOptions = {},
): Promise<ImageRecord> {
  const names = options.reference === undefined ? [] : [canonical(nameOnly(options.reference))];
  const execution = applyChanges(options.config ?? {}, options.changes ?? []);
  const [pieces, close] = piecesOf(source);
  const blobs: Descriptor[] = [];
  try {
    let head: Buffer = Buffer.alloc(0);
    const watched = async function* () {
      for await (const piece of pieces) {
        if (head.length < 8) head = Buffer.concat([head, piece.subarray(0, 8)]);
        yield piece;
      }
    };
    // What is being stored isn't known by name yet; it is claimed as soon as it is.
    using lease = await Lease.take(ctx, []);
    const claim = (digest: string) => lease.add(digest);
    const tee = storing(ctx, watched(), { claim }, (digest, size) => {
      blobs[0] = { mediaType: layerMediaType(compressionOf(head)), digest, size };
    });
    const layer = await landUnknown(ctx, tee, { claim });
    const created = options.created ?? new Date().toISOString();
    const platform = wantedPlatform(options.platform);
    const config: ImageConfig = {
      created,
      architecture: platform.architecture,
      os: platform.os,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      config: execution,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created, created_by: '', comment: options.message ?? 'Imported by nsbox' }],
    };
    const descriptor = await putConfig(ctx, lease, Buffer.from(JSON.stringify(config)));
    const manifest = await putManifest(ctx, lease, descriptor, blobs);
    return await register(ctx, { id: descriptor.digest, manifest, config, blobs }, names);
  } finally {
    close();
  }
}

function piecesOf(source: ArchiveSource): [AsyncIterable<Buffer>, () => void] {
  if ('stream' in source) return [source.stream, () => {}];
  const stat = statSync(source.path, { throwIfNoEntry: false });
  if (!stat) throw new NotFoundError('path', source.path);
  if (!stat.isDirectory()) return [readPieces(source.path), () => {}];
  let fd: number;
  try {
    fd = openSync(source.path, 'r');
  } catch (error) {
    throw fromErrno(`open ${source.path}`, error, { path: source.path });
  }
  return [packTree(fd, { rootEntry: true }), () => closeSync(fd)];
}

function nameOnly(text: string) {
  const ref = parseReference(text);
  if (ref.digest) throw new InvalidError(`cannot name an image by a digest: ${text}`);
  return ref;
}
