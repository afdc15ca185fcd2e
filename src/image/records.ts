import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, InvalidError, isErrno, NotFoundError } from '../base/index.js';
import {
  acquireLock,
  ensureDirectory,
  type FileLock,
  fsyncDirectory,
  readRecord,
  writeFileAtomic,
  writeRecord,
} from '../state/index.js';
import { storePaths } from './paths.js';
import { canonical, familiar, parseReference } from './reference.js';
import type { Descriptor, Image, ImageConfig, ImageLayer } from './types.js';

/** What is kept of an image: everything a run needs, so that it reads two small files. */
export interface ImageRecord {
  version: 1;
  /** Digest of the config. */
  id: string;
  manifest: Descriptor;
  config: ImageConfig;
  layers: ImageLayer[];
  size: number;
  /** `docker.io/library/nginx@sha256:…`: where a registry has this image. */
  repoDigests: string[];
  /** ISO 8601: when it came into the store. */
  added: string;
}

/** A name of an image. */
export interface TagRecord {
  version: 1;
  /** Canonical: `docker.io/library/nginx:latest`. */
  name: string;
  id: string;
}

/** Changes of records, and what must see them whole (garbage collection), take turns. */
export function lockRecords(ctx: Context): Promise<FileLock> {
  return acquireLock(storePaths.lock(ctx, 'images'));
}

export function readImage(ctx: Context, id: string): ImageRecord | undefined {
  return readRecord<ImageRecord>(storePaths.image(ctx, id));
}

export function readTag(ctx: Context, name: string): TagRecord | undefined {
  return readRecord<TagRecord>(storePaths.tag(ctx, name));
}

export function allImages(ctx: Context): ImageRecord[] {
  return recordsIn<ImageRecord>(storePaths.images(ctx));
}

export function allTags(ctx: Context): TagRecord[] {
  return recordsIn<TagRecord>(storePaths.tags(ctx));
}

/** Names in a directory of the store; none where it isn't there. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function recordsIn<T>(directory: string): T[] {
  const out: T[] = [];
  for (const name of namesIn(directory)) {
    if (!name.endsWith('.json')) continue;
    const record = readRecord<T>(path.join(directory, name));
    if (record) out.push(record);
  }
  return out;
}

/**
 * Writes an image's record and its names. The caller holds the records' lock.
 * @returns the record with what was known of the image before: since when, and where registries have it
 */
export function writeImage(ctx: Context, record: ImageRecord, names: readonly string[]): ImageRecord {
  ensureDirectory(storePaths.images(ctx));
  ensureDirectory(storePaths.tags(ctx));
  const before = readImage(ctx, record.id);
  const repoDigests = [...new Set([...(before?.repoDigests ?? []), ...record.repoDigests])];
  const written = { ...record, added: before?.added ?? record.added, repoDigests };
  writeRecord(storePaths.image(ctx, record.id), written);
  for (const name of names) writeTag(ctx, name, record.id);
  writeIndex(ctx);
  return written;
}

/** Gives a canonical name to an image, taking it from another that had it. */
export function writeTag(ctx: Context, name: string, id: string): void {
  ensureDirectory(storePaths.tags(ctx));
  writeRecord(storePaths.tag(ctx, name), { version: 1, name, id } satisfies TagRecord);
}

export function removeTag(ctx: Context, name: string): void {
  rmSync(storePaths.tag(ctx, name), { force: true });
  fsyncDirectory(storePaths.tags(ctx));
}

/** index.json and oci-layout: the store as an OCI layout, for other programs. Made from the records, never read. */
export function writeIndex(ctx: Context): void {
  const names = new Map<string, string[]>();
  for (const tag of allTags(ctx)) names.set(tag.id, [...(names.get(tag.id) ?? []), tag.name]);
  const manifests = allImages(ctx).flatMap((image) => {
    const { mediaType, digest, size } = image.manifest;
    const own = names.get(image.id) ?? [];
    if (own.length === 0) return [{ mediaType, digest, size }];
    return own.map((name) => ({
      mediaType,
      digest,
      size,
      annotations: { 'org.opencontainers.image.ref.name': name },
    }));
  });
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  };
  writeFileAtomic(path.join(ctx.root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}\n', { durable: false });
  writeFileAtomic(path.join(ctx.root, 'index.json'), `${JSON.stringify(index)}\n`, { durable: false });
}

/** An image as it is shown, with its names. */
export function toImage(record: ImageRecord, tags: readonly TagRecord[]): Image {
  const names = tags.filter((t) => t.id === record.id && !t.name.includes('@')).map((t) => familiar(t.name));
  return {
    id: record.id,
    repoTags: names.sort(),
    repoDigests: record.repoDigests.map(familiar),
    config: record.config,
    layers: record.layers,
    size: record.size,
    created: record.config.created ?? '0001-01-01T00:00:00Z',
    manifest: record.manifest,
  };
}

/** What a person's word for an image means. */
export interface Found {
  record: ImageRecord;
  /** The canonical name that was given; undefined where it was an id. */
  name: string | undefined;
}

/**
 * Finds an image by name, digest, id or a unique beginning of the id.
 * @throws NotFoundError image; InvalidError for what is no reference; ConflictError where several ids begin so
 */
export function findImage(ctx: Context, text: string): Found {
  const bare = text.startsWith('sha256:') ? text.slice(7) : text;
  const hex = /^[0-9a-f]{1,64}$/.test(bare);
  if (hex && bare.length === 64) {
    const record = readImage(ctx, bare);
    if (record) return { record, name: undefined };
  }
  let malformed: unknown;
  try {
    const name = canonical(parseReference(text));
    const id = readTag(ctx, name)?.id ?? byDigest(ctx, name);
    const record = id === undefined ? undefined : readImage(ctx, id);
    if (record) return { record, name };
  } catch (error) {
    if (!(error instanceof InvalidError)) throw error;
    malformed = error;
  }
  if (hex) {
    const ids = namesIn(storePaths.images(ctx)).filter((n) => n.startsWith(bare) && n.endsWith('.json'));
    if (ids.length > 1) {
      throw new ConflictError(`${text} is the beginning of ${ids.length} image ids; give more of it`);
    }
    const record = ids[0] === undefined ? undefined : readImage(ctx, ids[0].slice(0, -5));
    if (record) return { record, name: undefined };
  } else if (malformed !== undefined) {
    throw malformed;
  }
  throw new NotFoundError('image', text, {
    hint: 'see `nsbox images`; `nsbox pull` or `nsbox load` brings one',
  });
}

/** An image that a registry has under this name and digest. */
function byDigest(ctx: Context, name: string): string | undefined {
  if (!name.includes('@')) return undefined;
  return allImages(ctx).find((image) => image.repoDigests.includes(name))?.id;
}
