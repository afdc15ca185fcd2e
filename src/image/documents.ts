import { ImageError, InvalidError } from '../base/index.js';
import { parse, parseImageConfig } from '../spec/index.js';
import type { Descriptor, ImageConfig, Manifest } from './types.js';
import { MEDIA } from './types.js';

/** What a manifest may weigh: registries refuse more than 4 MiB. */
export const MANIFEST_LIMIT = 4 << 20;
export const CONFIG_LIMIT = 8 << 20;

/** An image's manifest. @throws ImageError with the field that is wrong */
export async function parseManifest(data: Buffer, name: string): Promise<Manifest> {
  const { manifestSchema } = await import('./schemas.js');
  const document = json(data, name) as { schemaVersion?: unknown; mediaType?: unknown };
  if (document?.schemaVersion === 1) {
    throw new ImageError(`${name} has Docker's manifest format 1, which registries gave up in 2019`, {
      hint: 'push the image again with a current tool',
    });
  }
  return checked(() => parse(manifestSchema, document, name).value as Manifest);
}

/** An index: manifests by platform. */
export async function parseIndex(data: Buffer, name: string): Promise<{ manifests: Descriptor[] }> {
  const { indexSchema } = await import('./schemas.js');
  return checked(() => parse(indexSchema, json(data, name), name).value as { manifests: Descriptor[] });
}

/** manifest.json of a docker-archive. */
export async function parseDockerArchive(
  data: Buffer,
): Promise<{ Config: string; RepoTags?: string[] | undefined; Layers: string[] }[]> {
  const { dockerArchiveSchema } = await import('./schemas.js');
  return checked(() => parse(dockerArchiveSchema, json(data, 'manifest.json'), 'manifest.json').value);
}

/** An image's config. */
export async function parseConfig(data: Buffer, name: string): Promise<ImageConfig> {
  const document = json(data, name);
  try {
    return (await parseImageConfig(document, name)).value;
  } catch (error) {
    throw asImageError(error);
  }
}

/** True for an index or manifest list, by media type or, where it is missing, by its fields. */
export function isIndex(mediaType: string | undefined, data: Buffer): boolean {
  if (mediaType === MEDIA.ociIndex || mediaType === MEDIA.dockerList) return true;
  if (mediaType === MEDIA.ociManifest || mediaType === MEDIA.dockerManifest) return false;
  try {
    return Array.isArray((JSON.parse(data.toString()) as { manifests?: unknown }).manifests);
  } catch {
    return false;
  }
}

function json(data: Buffer, name: string): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch (cause) {
    throw new ImageError(`${name} is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw asImageError(error);
  }
}

function asImageError(error: unknown): unknown {
  return error instanceof InvalidError ? new ImageError(error.message, { cause: error }) : error;
}
