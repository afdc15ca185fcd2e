import {
  closeSync,
  fsync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import {
  type Context,
  createHash,
  fromErrno,
  type Hash,
  ImageError,
  isErrno,
  NsboxError,
  randomBytes,
} from '../base/index.js';
import { acquireLock, ensureDirectory, type FileLock, tryAcquireLock } from '../state/index.js';
import { storePaths } from './paths.js';

const CHUNK = 1 << 20;
/** How long one process waits for another that fetches the same blob. */
const WAIT_MS = 3_600_000;

/** Size of a blob in bytes; undefined where the store doesn't have it. */
export function blobSize(ctx: Context, digest: string): number | undefined {
  return statSync(storePaths.blob(ctx, digest), { throwIfNoEntry: false })?.size;
}

/** A small blob, verified. @throws ImageError where it is missing or damaged */
export function readBlob(ctx: Context, digest: string): Buffer {
  const file = storePaths.blob(ctx, digest);
  let data: Buffer;
  try {
    data = readFileSync(file);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`read ${file}`, error, { path: file });
    throw new ImageError(`the store lacks the blob ${digest}`, { path: file, hint: repairHint });
  }
  if (sha256(data) !== digest) {
    throw new ImageError(`the blob ${digest} in the store is damaged`, { path: file, hint: repairHint });
  }
  return data;
}

export const repairHint = '`nsbox image verify --repair` fetches damaged parts again';

/** `sha256:…` of some bytes. */
export function sha256(data: Buffer | string): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

/** Content of a file in pieces of up to 1 MiB, from `start` to before `end`. Each piece is only good until the next. */
export async function* readPieces(
  file: string | number,
  start = 0,
  end = Number.POSITIVE_INFINITY,
): AsyncGenerator<Buffer> {
  const fd = typeof file === 'number' ? file : openForReading(file);
  const piece = Buffer.allocUnsafe(CHUNK);
  try {
    for (let at = start; at < end; ) {
      const n = readSync(fd, piece, 0, Math.min(CHUNK, end - at), at);
      if (n === 0) break;
      at += n;
      yield piece.subarray(0, n);
    }
  } finally {
    if (typeof file !== 'number') closeSync(fd);
  }
}

function openForReading(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw fromErrno(`open ${file}`, error, { path: file });
  }
}

/**
 * A blob on its way into the store. With a digest, its part survives a crash and is continued by the next try; two
 * processes that want the same one take turns. Dispose it in any case.
 */
export class BlobWriter implements Disposable {
  readonly #ctx: Context;
  readonly #file: string;
  readonly #lock: FileLock;
  readonly #expected: string | undefined;
  #hash: Hash = createHash('sha256');
  #size = 0;
  #done = false;
  #keep = false;
  #digest: string | undefined;

  private constructor(ctx: Context, file: string, lock: FileLock, expected: string | undefined) {
    this.#ctx = ctx;
    this.#file = file;
    this.#lock = lock;
    this.#expected = expected;
  }

  /** Begins a blob, or undefined where another process brought it meanwhile. */
  static async open(ctx: Context, digest?: string): Promise<BlobWriter | undefined> {
    const directory = storePaths.ingest(ctx);
    ensureDirectory(directory);
    ensureDirectory(storePaths.blobs(ctx));
    const name = digest ? `${digest.replace(':', '-')}.part` : `tmp-${randomBytes(8).toString('hex')}`;
    const file = path.join(directory, name);
    const lock = await acquireLock(file, { timeoutMs: WAIT_MS });
    if (digest && blobSize(ctx, digest) !== undefined) {
      rmSync(file, { force: true });
      lock[Symbol.dispose]();
      return undefined;
    }
    return new BlobWriter(ctx, file, lock, digest);
  }

  get size(): number {
    return this.#size;
  }

  /** Pieces that an earlier try left. They are hashed as they are read; read them all before writing. */
  async *earlier(): AsyncGenerator<Buffer> {
    for await (const piece of readPieces(this.#file)) {
      this.#hash.update(piece);
      this.#size += piece.length;
      yield piece;
    }
  }

  /** Forgets what an earlier try left. */
  restart(): void {
    ftruncateSync(this.#lock.fd, 0);
    this.#hash = createHash('sha256');
    this.#size = 0;
  }

  write(chunk: Buffer): void {
    try {
      for (let at = 0; at < chunk.length; ) at += writeSync(this.#lock.fd, chunk, at);
    } catch (error) {
      throw fromErrno('write to the image store', error, { path: this.#file });
    }
    this.#hash.update(chunk);
    this.#size += chunk.length;
  }

  /** Whether what came so far is to stay for the next try, should this one end now. */
  keepPart(keep: boolean): void {
    this.#keep = keep;
  }

  /** Ends the writing. @returns the digest of what came */
  seal(): string {
    this.#digest ??= `sha256:${this.#hash.digest('hex')}`;
    return this.#digest;
  }

  /** What was written, once it is sealed. Pieces are good until the next. */
  pieces(): AsyncGenerator<Buffer> {
    return readPieces(this.#file);
  }

  /**
   * Makes the blob durable and visible; its name is durable once register() has written the directory out.
   * @param claim called with its digest before it can be seen, so that no garbage collection takes it
   * @returns its digest
   * @throws ImageError IMAGE_CORRUPT where it isn't what was announced
   */
  async finish(expectedSize?: number, claim?: (digest: string) => Promise<void>): Promise<string> {
    const digest = this.seal();
    this.#keep = false;
    if (expectedSize !== undefined && this.#size !== expectedSize) {
      throw new ImageError(
        `${this.#expected ?? 'a blob'} has ${this.#size} bytes where its manifest says ${expectedSize}`,
      );
    }
    if (this.#expected !== undefined && digest !== this.#expected) {
      throw new ImageError(`digest mismatch: expected ${this.#expected}, received ${digest}`, {
        hint: 'the content was changed or damaged on its way; nothing of it was kept',
      });
    }
    const file = storePaths.blob(this.#ctx, digest);
    await claim?.(digest);
    try {
      await promisify(fsync)(this.#lock.fd);
      renameSync(this.#file, file);
    } catch (error) {
      throw fromErrno(`store the blob ${digest}`, error, { path: file });
    }
    this.#done = true;
    return digest;
  }

  [Symbol.dispose](): void {
    if (!this.#done && !this.#keep) rmSync(this.#file, { force: true });
    this.#lock[Symbol.dispose]();
  }
}

/** Puts some bytes into the store; gives their digest. */
export async function putBlob(ctx: Context, data: Buffer): Promise<string> {
  const digest = sha256(data);
  if (blobSize(ctx, digest) !== undefined) return digest;
  using writer = await BlobWriter.open(ctx, digest);
  if (!writer) return digest;
  writer.restart();
  writer.write(data);
  return await writer.finish();
}

/** Removes parts whose maker is gone. `parts`: also those a later pull could go on with. */
export function sweepIngest(ctx: Context, names: string[], parts: boolean): number {
  let freed = 0;
  for (const name of names) {
    if (!parts && !name.startsWith('tmp-')) continue;
    const file = path.join(storePaths.ingest(ctx), name);
    using lock = tryAcquireLock(file);
    if (!lock) continue;
    freed += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    rmSync(file, { force: true });
  }
  return freed;
}

/** The blob as pieces, checked against its digest while it is read. */
export async function* verifiedBlob(ctx: Context, digest: string): AsyncGenerator<Buffer> {
  const file = storePaths.blob(ctx, digest);
  const hash = createHash('sha256');
  try {
    for await (const piece of readPieces(file)) {
      hash.update(piece);
      yield piece;
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      throw new ImageError(`the store lacks the blob ${digest}`, { path: file, hint: repairHint });
    }
    throw error;
  }
  if (`sha256:${hash.digest('hex')}` !== digest) {
    throw new ImageError(`the blob ${digest} in the store is damaged`, { path: file, hint: repairHint });
  }
}

/**
 * Passes pieces through while they are stored as a blob; the last piece is out when the blob is durable.
 * @param announced what is known of it, and who is to claim a digest that isn't known beforehand
 */
export async function* storing(
  ctx: Context,
  source: AsyncIterable<Buffer>,
  announced: {
    digest?: string | undefined;
    size?: number | undefined;
    claim?: ((digest: string) => Promise<void>) | undefined;
  },
  stored: (digest: string, size: number) => void = () => {},
): AsyncGenerator<Buffer> {
  using writer = await BlobWriter.open(ctx, announced.digest);
  if (!writer) {
    if (announced.digest === undefined) throw new NsboxError('INTERNAL', 'a blob without a writer');
    yield* verifiedBlob(ctx, announced.digest);
    stored(announced.digest, blobSize(ctx, announced.digest) ?? 0);
    return;
  }
  writer.restart();
  for await (const piece of source) {
    writer.write(piece);
    yield piece;
  }
  stored(await writer.finish(announced.size, announced.claim), writer.size);
}
