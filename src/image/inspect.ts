import type { Context } from '../base/index.js';
import { layerFs } from './layer/index.js';
import type { Image } from './types.js';

/** An image in the shape of `docker image inspect`. */
export function inspectImage(ctx: Context, image: Image, added: string): Record<string, unknown> {
  const { config } = image;
  const top = image.layers.at(-1);
  const lower = image.layers.slice(0, -1).map((l) => layerFs(ctx, l.chainId));
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: '',
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: image.created,
    DockerVersion: '',
    Author: config.author ?? '',
    Config: config.config ?? {},
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: image.size,
    VirtualSize: image.size,
    GraphDriver: {
      Name: 'overlay',
      Data: {
        ...(lower.length > 0 ? { LowerDir: lower.reverse().join(':') } : {}),
        ...(top ? { UpperDir: layerFs(ctx, top.chainId) } : {}),
      },
    },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: added },
    Descriptor: image.manifest,
  };
}

/** One line of `history`, the youngest first. */
export interface HistoryEntry {
  /** The image's id for the youngest, `<missing>` for the others, as Docker shows them. */
  id: string;
  created: string;
  createdBy: string;
  comment: string;
  /** Bytes. */
  size: number;
  tags: string[];
}

export function imageHistory(image: Image): HistoryEntry[] {
  const out: HistoryEntry[] = [];
  let layer = 0;
  const history = image.config.history ?? [];
  for (const h of history) {
    out.push({
      id: '<missing>',
      created: h.created ?? '0001-01-01T00:00:00Z',
      createdBy: h.created_by ?? '',
      comment: h.comment ?? '',
      size: h.empty_layer ? 0 : (image.layers[layer++]?.size ?? 0),
      tags: [],
    });
  }
  // Layers that no history tells of.
  for (; layer < image.layers.length; layer++) {
    out.push({
      id: '<missing>',
      created: image.created,
      createdBy: '',
      comment: '',
      size: image.layers[layer]!.size,
      tags: [],
    });
  }
  out.reverse();
  if (out[0]) {
    out[0].id = image.id;
    out[0].tags = image.repoTags;
  }
  return out;
}
