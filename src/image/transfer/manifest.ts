import { ImageError } from '../../base/index.js';
import { type Descriptor, type Manifest, MEDIA } from '../types.js';

export type ManifestFormat = 'oci' | 'v2s2';

const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

/** How a layer's media type says that it is compressed; undefined where it doesn't say. */
export function compressionIn(mediaType: string): 'none' | 'gzip' | 'zstd' | undefined {
  if (/[.+]gzip$/.test(mediaType)) return 'gzip';
  if (/[.+]zstd$/.test(mediaType)) return 'zstd';
  return /\.tar$/.test(mediaType) ? 'none' : undefined;
}

/** Which of the two formats a manifest has. */
export function formatOf(mediaType: string | undefined, manifest: Manifest): ManifestFormat {
  const type = mediaType ?? manifest.mediaType;
  return type === MEDIA.dockerManifest || manifest.config.mediaType === MEDIA.dockerConfig ? 'v2s2' : 'oci';
}

/**
 * A manifest with other layers or in the other format. The config's bytes stay, so the image's id does.
 * @throws ImageError where Docker's format can't say it (zstd, media types of its own)
 */
export function rewritten(manifest: Manifest, layers: readonly Descriptor[], to: ManifestFormat): Manifest {
  const { annotations } = manifest;
  const plain = (d: Descriptor, mediaType: string): Descriptor => ({
    mediaType,
    digest: d.digest,
    size: d.size,
    ...(d.annotations && to === 'oci' ? { annotations: d.annotations } : {}),
  });
  return {
    schemaVersion: 2,
    mediaType: to === 'oci' ? MEDIA.ociManifest : MEDIA.dockerManifest,
    config: plain(manifest.config, to === 'oci' ? MEDIA.ociConfig : MEDIA.dockerConfig),
    layers: layers.map((layer) => plain(layer, layerType(layer, to))),
    ...(annotations && to === 'oci' ? { annotations } : {}),
  };
}

function layerType(layer: Descriptor, to: ManifestFormat): string {
  const compression = compressionIn(layer.mediaType);
  if (compression === undefined)
    throw new ImageError(`a layer has the unknown media type ${layer.mediaType}`);
  if (to === 'oci') return compression === 'none' ? MEDIA.ociLayer : `${MEDIA.ociLayer}+${compression}`;
  if (compression === 'zstd') {
    throw new ImageError("Docker's manifest format has no zstd layers", { hint: 'use --format oci' });
  }
  return compression === 'none' ? DOCKER_LAYER : `${DOCKER_LAYER}.gzip`;
}

/** Refuses layers that can't be had: kept elsewhere by licence, or encrypted. */
export function refuseForeign(layer: Descriptor): void {
  if (/foreign|nondistributable/.test(layer.mediaType)) {
    throw new ImageError(`the image has a layer that its registry doesn't distribute (${layer.mediaType})`, {
      hint: 'such layers belong to Windows images',
    });
  }
  if (/encrypted/.test(layer.mediaType)) throw new ImageError('the image has an encrypted layer');
}
