import { closeSync, fstatSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type Context, fromErrno, ImageError, NotFoundError } from '../base/index.js';
import { readPieces } from './blobs.js';
import { compressionOf, decompress } from './layer/index.js';
import { storePaths } from './paths.js';
import { TarReader } from './tar/index.js';

/** Files of an image archive, whether in a tar or in a directory. Names are relative, without `./`. */
export interface ArchiveFiles extends Disposable {
  names(): string[];
  has(name: string): boolean;
  /** @throws ImageError where it is missing or larger than `limit` bytes */
  read(name: string, limit: number): Buffer;
  size(name: string): number;
  /** Pieces, each good until the next. */
  stream(name: string): AsyncIterable<Buffer>;
  /** First bytes. */
  head(name: string): Buffer;
}

/** Where an archive comes from: a file or directory, or a stream such as stdin. */
export type ArchiveSource = { path: string } | { stream: AsyncIterable<Buffer> };

/**
 * Opens an archive. A tar on disk is read where it lies; one that is compressed or comes as a stream is first written
 * to the store's ingest directory, since its parts are needed in another order than it has them.
 * @throws NotFoundError path; ImageError where it is no tar
 */
export async function openArchive(ctx: Context, source: ArchiveSource): Promise<ArchiveFiles> {
  if ('stream' in source) return spool(ctx, source.stream);
  const stat = statSync(source.path, { throwIfNoEntry: false });
  if (!stat) throw new NotFoundError('path', source.path);
  if (stat.isDirectory()) return new DirectoryFiles(source.path);
  let fd: number;
  try {
    fd = openSync(source.path, 'r');
  } catch (error) {
    throw fromErrno(`open ${source.path}`, error, { path: source.path });
  }
  try {
    const head = Buffer.alloc(8);
    const n = readSync(fd, head, 0, 8, 0);
    if (!fstatSync(fd).isFile() || compressionOf(head.subarray(0, n)) !== 'none') {
      closeSync(fd);
      return spool(ctx, readPieces(source.path));
    }
    return new TarFiles(fd);
  } catch (error) {
    throw namedAfter(error, source.path);
  }
}

function namedAfter(error: unknown, file: string): unknown {
  if (error instanceof ImageError) {
    return new ImageError(`${file}: ${error.message}`, { cause: error, path: file, hint: error.hint });
  }
  return error;
}

async function spool(ctx: Context, stream: AsyncIterable<Buffer>): Promise<ArchiveFiles> {
  const { ensureDirectory, acquireLock } = await import('../state/index.js');
  const { randomBytes } = await import('node:crypto');
  ensureDirectory(storePaths.ingest(ctx));
  const file = path.join(storePaths.ingest(ctx), `tmp-${randomBytes(8).toString('hex')}`);
  const lock = await acquireLock(file);
  const fail = (error: unknown) => {
    rmSync(file, { force: true });
    lock[Symbol.dispose]();
    return error;
  };
  try {
    await decompress(stream, (piece) => {
      for (let at = 0; at < piece.length; ) at += writeSync(lock.fd, piece, at);
    });
    return new TarFiles(openSync(file, 'r'), () => void fail(undefined));
  } catch (error) {
    throw fail(error instanceof ImageError ? error : fromErrno('store the archive', error, { path: file }));
  }
}

interface Member {
  offset: number;
  size: number;
}

/** A tar on a seekable file, indexed by its headers alone. */
class TarFiles implements ArchiveFiles {
  readonly #fd: number;
  readonly #members = new Map<string, Member>();
  readonly #after: () => void;

  constructor(fd: number, after: () => void = () => {}) {
    this.#fd = fd;
    this.#after = after;
    try {
      this.#index();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #index(): void {
    const links = new Map<string, string>();
    let last: { name: string; size: number } | undefined;
    const reader = new TarReader({
      entry(e) {
        const name = clean(e.path.toString('utf8'));
        if (e.type === 'symlink')
          links.set(name, clean(path.posix.join(path.posix.dirname(name), e.linkPath.toString())));
        else if (e.type === 'hardlink') links.set(name, clean(e.linkPath.toString()));
        else if (e.type === 'file' && !e.sparse) last = { name, size: e.size };
      },
      data() {},
      end() {},
    });
    const size = fstatSync(this.#fd).size;
    const block = Buffer.alloc(512);
    for (let at = 0; at < size && !reader.over; ) {
      const n = readSync(this.#fd, block, 0, 512, at);
      if (n === 0) break;
      reader.write(block.subarray(0, n));
      at += n;
      if (last) {
        if (at + last.size > size) throw new ImageError('the archive is cut off');
        this.#members.set(last.name, { offset: at, size: last.size });
        last = undefined;
      }
      at += reader.fastForward();
    }
    reader.end();
    for (const [name, target] of links) {
      const member = this.#members.get(target);
      if (member) this.#members.set(name, member);
    }
  }

  names(): string[] {
    return [...this.#members.keys()];
  }

  has(name: string): boolean {
    return this.#members.has(clean(name));
  }

  #member(name: string): Member {
    const member = this.#members.get(clean(name));
    if (!member) throw new ImageError(`the archive lacks ${JSON.stringify(name)}, which its manifest names`);
    return member;
  }

  size(name: string): number {
    return this.#member(name).size;
  }

  read(name: string, limit: number): Buffer {
    const { offset, size } = this.#member(name);
    if (size > limit) throw new ImageError(`${name} in the archive has ${size} bytes, more than ${limit}`);
    return readAt(this.#fd, offset, size);
  }

  head(name: string): Buffer {
    const { offset, size } = this.#member(name);
    return readAt(this.#fd, offset, Math.min(size, 8));
  }

  stream(name: string): AsyncIterable<Buffer> {
    const { offset, size } = this.#member(name);
    return readPieces(this.#fd, offset, offset + size);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
    this.#after();
  }
}

/** A directory, reached by names without `..`. */
class DirectoryFiles implements ArchiveFiles {
  readonly #directory: string;
  constructor(directory: string) {
    this.#directory = directory;
  }
  #file(name: string): string {
    const safe = clean(name);
    if (safe.split('/').includes('..'))
      throw new ImageError(`${JSON.stringify(name)} leads out of the archive`);
    return path.join(this.#directory, safe);
  }
  names(): string[] {
    return readdirSync(this.#directory);
  }
  has(name: string): boolean {
    return statSync(this.#file(name), { throwIfNoEntry: false })?.isFile() ?? false;
  }
  size(name: string): number {
    const stat = statSync(this.#file(name), { throwIfNoEntry: false });
    if (!stat) throw new ImageError(`${this.#directory} lacks ${name}, which its manifest names`);
    return stat.size;
  }
  read(name: string, limit: number): Buffer {
    const size = this.size(name);
    if (size > limit) throw new ImageError(`${this.#file(name)} has ${size} bytes, more than ${limit}`);
    const fd = openSync(this.#file(name), 'r');
    try {
      return readAt(fd, 0, size);
    } finally {
      closeSync(fd);
    }
  }
  head(name: string): Buffer {
    this.size(name);
    const fd = openSync(this.#file(name), 'r');
    try {
      return readAt(fd, 0, 8);
    } finally {
      closeSync(fd);
    }
  }
  stream(name: string): AsyncIterable<Buffer> {
    this.size(name);
    return readPieces(this.#file(name));
  }
  [Symbol.dispose](): void {}
}

function readAt(fd: number, offset: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const n = readSync(fd, out, filled, size - filled, offset + filled);
    if (n === 0) break;
    filled += n;
  }
  return out.subarray(0, filled);
}

function clean(name: string): string {
  return path.posix.normalize(name).replace(/^(\.?\/)+/, '');
}
