import { closeSync, openSync } from 'node:fs';
import { type Context, InvalidError } from '../base/index.js';
import { storing } from './blobs.js';
import { applyChanges } from './changes.js';
import { landUnknown } from './layer/index.js';
import { Lease } from './lease.js';
import { wantedPlatform } from './platform.js';
import type { ImageRecord } from './records.js';
import { canonical, parseReference } from './reference.js';
import { layerMediaType, putConfig, putManifest, register } from './register.js';
import { packTree } from './tar/index.js';
import type { Descriptor, ImageConfig } from './types.js';

export interface CommitOptions {
  /** The container's writable layer: an overlay's upper directory. */
  upper: string;
  /** Host ids of it are those of the image plus this. */
  idShift?: number | undefined;
  /** The image it lies on. */
  base?: ImageRecord | undefined;
  /** What of the container goes over the base's config: its command, environment… */
  config?: ImageConfig['config'] | undefined;
  changes?: readonly string[] | undefined;
  reference?: string | undefined;
  author?: string | undefined;
  message?: string | undefined;
  createdBy?: string | undefined;
}

/** Makes an image of a base and the changes in a writable layer. @throws InvalidError, ImageError */
export async function commitImage(ctx: Context, options: CommitOptions): Promise<ImageRecord> {
  const { base } = options;
  const ref = options.reference === undefined ? undefined : parseReference(options.reference);
  if (ref?.digest) throw new InvalidError(`cannot name an image by a digest: ${options.reference}`);
  const execution = applyChanges(options.config ?? base?.config.config ?? {}, options.changes ?? []);
  const chain = base?.layers.map((l) => l.chainId) ?? [];
  const shift = options.idShift ?? 0;
  const upper = openSync(options.upper, 'r');
  const blobs: Descriptor[] = (base?.layers ?? []).map((l) => ({
    digest: l.digest,
    size: l.blobSize,
    mediaType: l.mediaType,
  }));
  try {
    using lease = await Lease.take(ctx, [...chain, ...blobs.map((b) => b.digest)]);
    const claim = (digest: string) => lease.add(digest);
    const tar = packTree(upper, { layer: true, mapId: (id) => (id >= shift ? id - shift : id) });
    const layer = await landUnknown(
      ctx,
      storing(ctx, tar, { claim }, (digest, size) =>
        blobs.push({ mediaType: layerMediaType('none'), digest, size }),
      ),
      { below: chain, claim },
    );
    const created = new Date().toISOString();
    const platform = wantedPlatform();
    const config: ImageConfig = {
      ...(base?.config ?? { architecture: platform.architecture, os: platform.os }),
      created,
      ...(options.author === undefined ? {} : { author: options.author }),
      config: execution,
      rootfs: { type: 'layers', diff_ids: [...(base?.config.rootfs.diff_ids ?? []), layer.diffId] },
      history: [
        ...(base?.config.history ?? []),
        {
          created,
          created_by: options.createdBy ?? 'nsbox commit',
          ...(options.author === undefined ? {} : { author: options.author }),
          ...(options.message === undefined ? {} : { comment: options.message }),
        },
      ],
    };
    const descriptor = await putConfig(ctx, lease, Buffer.from(JSON.stringify(config)));
    const manifest = await putManifest(ctx, lease, descriptor, blobs);
    return await register(
      ctx,
      { id: descriptor.digest, manifest, config, blobs },
      ref ? [canonical(ref)] : [],
    );
  } finally {
    closeSync(upper);
  }
}
