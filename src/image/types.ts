import type { ImageConfig } from '../spec/index.js';

export type { ImageConfig } from '../spec/index.js';

/** What an OCI descriptor points at. */
export interface Descriptor {
  mediaType: string;
  /** `sha256:…` */
  digest: string;
  /** Bytes of the blob. */
  size: number;
  urls?: string[] | undefined;
  annotations?: Record<string, string> | undefined;
  platform?: Platform | undefined;
}

export interface Platform {
  architecture: string;
  os: string;
  variant?: string | undefined;
  'os.version'?: string | undefined;
}

/** An OCI manifest or Docker's schema 2. */
export interface Manifest {
  schemaVersion: 2;
  mediaType?: string | undefined;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string> | undefined;
}

export interface ImageLayer {
  /** Digest of the blob as stored: compressed or not. */
  digest: string;
  mediaType: string;
  /** Bytes of that blob. */
  blobSize: number;
  /** Digest of the uncompressed tar. */
  diffId: string;
  /** Identity of this layer on top of those below it. @see image-spec, "Layer ChainID" */
  chainId: string;
  /** Bytes of the regular files in it. */
  size: number;
}

export interface Image {
  /** `sha256:…`: the digest of the image's config. */
  id: string;
  /** Familiar names with tags, such as `nginx:latest`. */
  repoTags: string[];
  /** Names with the digest under which a registry has it. */
  repoDigests: string[];
  config: ImageConfig;
  /** Lowest first. */
  layers: ImageLayer[];
  /** Bytes of the files of all layers. */
  size: number;
  /** ISO 8601. */
  created: string;
  manifest: Descriptor;
}

export const MEDIA = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** Progress of a long operation: one event a change, for bars, plain lines or JSON. */
export interface Progress {
  /** Short digest of the layer, or empty for the whole. */
  id: string;
  status: string;
  current?: number | undefined;
  total?: number | undefined;
}
