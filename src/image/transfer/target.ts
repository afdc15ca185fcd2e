import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno, InvalidError, randomBytes } from '../../base/index.js';
import { acquireLock, writeFileAtomic } from '../../state/index.js';
import { sha256 } from '../blobs.js';
import { parseIndex } from '../documents.js';
import { storePaths } from '../paths.js';
import { canonical, familiar, parseReference } from '../reference.js';
import { Registry } from '../registry/client.js';
import { putRemoteManifest, uploadBlob } from '../registry/upload.js';
import { fileHeader, tarEnd, tarPadding } from '../tar/index.js';
import { type Descriptor, type Manifest, MEDIA } from '../types.js';
import type { ManifestFormat } from './manifest.js';
import { type Place, placeText } from './transport.js';

/** An image being written somewhere else than the store. Nothing of it counts before `finish`. */
export interface Target extends Disposable {
  /** Manifest formats that it takes, the preferred one first. */
  readonly formats: readonly ManifestFormat[];
  /** What layers must be: compressed, plain, or as they come. */
  readonly layers: 'compressed' | 'plain' | 'any';
  /** Whether it takes an index with the images of several platforms. */
  readonly lists: boolean;
  /** Writes a blob unless it is there. `open` gives checked content; its size is known. */
  blob(
    d: Descriptor,
    open: () => AsyncIterable<Buffer>,
    progress: (status: string, current?: number) => void,
  ): Promise<void>;
  /** Writes a manifest: the image's own, or one of those that its index will name. */
  manifest(data: Buffer, mediaType: string, own: boolean): Promise<void>;
  finish(): Promise<void>;
}

/** @throws InvalidError, ConflictError where something else is in the way */
export function openTarget(
  ctx: Context,
  place: Exclude<Place, { transport: 'store' }>,
  options: { signal?: AbortSignal | undefined; from?: string | undefined },
): Target {
  switch (place.transport) {
    case 'docker':
      return registryTarget(ctx, place.reference, options);
    case 'oci':
      return layoutTarget(ctx, place.path, place.reference);
    case 'oci-archive':
      return layoutArchive(place.path, place.reference);
    case 'docker-archive':
      return dockerTarget(place.path, place.reference);
    case 'dir':
      return dirTarget(place.path, placeText(place));
  }
}

function registryTarget(
  ctx: Context,
  reference: string,
  options: { signal?: AbortSignal | undefined; from?: string | undefined },
): Target {
  const ref = parseReference(reference);
  // A mount saves the upload where both names are in one registry.
  const other = options.from === undefined ? undefined : parseReference(options.from);
  const from = other?.domain === ref.domain && other.path !== ref.path ? other.path : undefined;
  const registry = new Registry(ctx, ref, {
    actions: 'pull,push',
    alsoPull: from === undefined ? [] : [from],
    signal: options.signal,
  });
  return {
    formats: ['oci', 'v2s2'],
    layers: 'compressed',
    lists: true,
    blob: (d, open, progress) => uploadBlob(registry, d, open, { from, signal: options.signal, progress }),
    manifest: (data, mediaType, own) =>
      putRemoteManifest(registry, own ? (ref.tag ?? ref.digest!) : sha256(data), data, mediaType),
    async finish() {},
    [Symbol.dispose]() {},
  };
}

const blobName = (digest: string) => `blobs/${digest.replace(':', '/')}`;
const LAYOUT = '{"imageLayoutVersion":"1.0.0"}';

function layoutEntry(data: Buffer, mediaType: string, tag: string | undefined): Descriptor {
  return {
    mediaType,
    digest: sha256(data),
    size: data.length,
    ...(tag === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } }),
  };
}

function layoutTarget(ctx: Context, directory: string, tag: string | undefined): Target {
  const index = path.join(directory, 'index.json');
  if (!existsSync(index) && isFilled(directory)) {
    throw new ConflictError(`${directory} holds something else than an OCI layout`, {
      hint: 'name a directory that is empty or not there yet',
    });
  }
  make(path.join(directory, 'blobs/sha256'));
  let own: Descriptor | undefined;
  const put = (name: string, size: number, content: AsyncIterable<Buffer>) =>
    writeFile(path.join(directory, name), size, content);
  return {
    formats: ['oci'],
    layers: 'compressed',
    lists: true,
    blob: (d, open) => put(blobName(d.digest), d.size, open()),
    async manifest(data, mediaType, isOwn) {
      const entry = layoutEntry(data, mediaType, tag);
      await put(blobName(entry.digest), data.length, once(data));
      if (isOwn) own = entry;
    },
    async finish() {
      // Copies into one layout take turns at its index.
      const name = `layout-${sha256(directory).slice(7, 39)}`;
      using _lock = await acquireLock(storePaths.lock(ctx, name));
      const before = existsSync(index) ? (await parseIndex(readFileSync(index), index)).manifests : [];
      const kept = before.filter((d) => {
        const name = d.annotations?.['org.opencontainers.image.ref.name'];
        return tag === undefined ? name !== undefined || d.digest !== own!.digest : name !== tag;
      });
      const document = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [...kept, own] };
      writeFileAtomic(path.join(directory, 'oci-layout'), LAYOUT, { mode: 0o644 });
      writeFileAtomic(index, JSON.stringify(document), { mode: 0o644 });
    },
    [Symbol.dispose]() {},
  };
}

function layoutArchive(file: string, tag: string | undefined): Target {
  const tar = new TarFile(file);
  let own: Descriptor | undefined;
  return {
    formats: ['oci'],
    layers: 'compressed',
    lists: true,
    blob: (d, open) => tar.add(blobName(d.digest), d.size, open),
    async manifest(data, mediaType, isOwn) {
      const entry = layoutEntry(data, mediaType, tag);
      await tar.add(blobName(entry.digest), data.length, () => once(data));
      if (isOwn) own = entry;
    },
    async finish() {
      const text = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [own] });
      await tar.text('index.json', text);
      await tar.text('oci-layout', LAYOUT);
      tar.finish();
    },
    [Symbol.dispose]: () => tar[Symbol.dispose](),
  };
}

function dockerTarget(file: string, reference: string | undefined): Target {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() && statSync(file).size > 0) {
    throw new ConflictError(`${file} exists, and a docker-archive can't be added to`, {
      hint: '`nsbox save` writes several images into one archive',
    });
  }
  const names = reference === undefined ? [] : [familiar(canonical(parseReference(reference)))];
  if (reference?.startsWith('@')) throw new InvalidError(`${reference} names no image to write`);
  const tar = new TarFile(file);
  let manifest: Manifest | undefined;
  const layerName = (digest: string) => `${digest.slice(7)}.tar`;
  const configName = (digest: string) => `${digest.slice(7)}.json`;
  return {
    formats: ['v2s2', 'oci'],
    layers: 'plain',
    lists: false,
    blob: (d, open) =>
      tar.add(
        /config|container\.image/.test(d.mediaType) ? configName(d.digest) : layerName(d.digest),
        d.size,
        open,
      ),
    async manifest(data) {
      manifest = JSON.parse(data.toString()) as Manifest;
    },
    async finish() {
      const { config, layers } = manifest!;
      const item = {
        Config: configName(config.digest),
        RepoTags: names,
        Layers: layers.map((l) => layerName(l.digest)),
      };
      await tar.text('manifest.json', JSON.stringify([item]));
      tar.finish();
    },
    [Symbol.dispose]: () => tar[Symbol.dispose](),
  };
}

/** @see containers-transports(5), "dir:" */
function dirTarget(directory: string, name: string): Target {
  const version = path.join(directory, 'version');
  if (isFilled(directory)) {
    const text = existsSync(version) ? readFileSync(version, 'utf8') : '';
    if (!/^Directory Transport Version: 1\.\d+\n/.test(text)) {
      throw new ConflictError(
        `${name}: not a containers image directory, don't want to overwrite important data`,
      );
    }
    for (const old of readdirSync(directory)) rmSync(path.join(directory, old), { recursive: true });
  }
  make(directory);
  let own: Buffer | undefined;
  return {
    formats: ['oci', 'v2s2'],
    layers: 'any',
    lists: true,
    blob: (d, open) => writeFile(path.join(directory, d.digest.slice(7)), d.size, open()),
    async manifest(data, _mediaType, isOwn) {
      if (isOwn) own = data;
      else
        writeFileAtomic(path.join(directory, `${sha256(data).slice(7)}.manifest.json`), data, {
          mode: 0o644,
        });
    },
    async finish() {
      writeFileAtomic(version, 'Directory Transport Version: 1.1\n', { mode: 0o644 });
      writeFileAtomic(path.join(directory, 'manifest.json'), own!, { mode: 0o644 });
    },
    [Symbol.dispose]() {},
  };
}

function isFilled(directory: string): boolean {
  try {
    return readdirSync(directory).length > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw fromErrno(`read ${directory}`, error, { path: directory });
  }
}

function make(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw fromErrno(`create ${directory}`, error, { path: directory });
  }
}

async function* once(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

/** Writes a file whole or not at all; one that is there with the right size is left as it is. */
async function writeFile(file: string, size: number, content: AsyncIterable<Buffer>): Promise<void> {
  if (statSync(file, { throwIfNoEntry: false })?.size === size) return;
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`;
  try {
    const fd = openSync(partial, 'wx', 0o644);
    try {
      for await (const piece of content) writeAll(fd, piece);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(partial, file);
  } catch (error) {
    rmSync(partial, { force: true });
    throw notWritten(file, error);
  }
}

/** A refused system call in words; what the source says stays as it is. */
function notWritten(file: string, error: unknown): unknown {
  return (error as { syscall?: string }).syscall ? fromErrno(`write ${file}`, error, { path: file }) : error;
}

function writeAll(fd: number, data: Buffer): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
}

/** A tar that gets its name when it is whole. */
class TarFile implements Disposable {
  readonly #file: string;
  readonly #partial: string;
  readonly #names = new Set<string>();
  #fd: number | undefined;
  /** Members are written one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
    this.#partial = `${file}.${randomBytes(4).toString('hex')}.partial`;
    try {
      this.#fd = openSync(this.#partial, 'wx', 0o644);
    } catch (error) {
      throw fromErrno(`write ${file}`, error, { path: file });
    }
  }

  add(name: string, size: number, open: () => AsyncIterable<Buffer>): Promise<void> {
    if (this.#names.has(name)) return this.#turn;
    this.#names.add(name);
    const turn = this.#turn.then(async () => {
      try {
        writeAll(this.#fd!, fileHeader(name, size));
        for await (const piece of open()) writeAll(this.#fd!, piece);
        writeAll(this.#fd!, tarPadding(size));
      } catch (error) {
        throw notWritten(this.#file, error);
      }
    });
    this.#turn = turn;
    return turn;
  }

  text(name: string, text: string): Promise<void> {
    const data = Buffer.from(text);
    return this.add(name, data.length, () => once(data));
  }

  finish(): void {
    try {
      writeAll(this.#fd!, tarEnd());
      fsyncSync(this.#fd!);
      renameSync(this.#partial, this.#file);
    } catch (error) {
      throw notWritten(this.#file, error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    rmSync(this.#partial, { force: true });
  }
}
