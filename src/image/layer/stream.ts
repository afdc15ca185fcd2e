import { createHash, type Hash, ImageError, type NsboxError } from '../../base/index.js';
import { PoolSha256, ZstdDecoder } from '../../kernel/index.js';

export type Compression = 'none' | 'gzip' | 'zstd';

/** Bytes that a decompressor gives at once: fewer and larger pieces mean fewer waits for the other thread. */
const PIECE = 1 << 20;
/** Decompressed bytes that may wait for their taker. */
const AHEAD = 4 * PIECE;

/** How some content is compressed, by its first bytes. @throws ImageError for what nsbox doesn't read */
export function compressionOf(head: Buffer): Compression {
  if (head.length >= 2 && head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return 'zstd';
  // Skippable zstd frames may lead (zstd:chunked, seekable zstd).
  if (head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50) return 'zstd';
  if (head.toString('latin1', 0, 6) === '\xfd7zXZ\0' || head.toString('latin1', 0, 3) === 'BZh') {
    throw new ImageError('the archive is compressed with xz or bzip2, which nsbox does not read', {
      hint: 'decompress it first: `xz -dc FILE | nsbox load`',
    });
  }
  return 'none';
}

/**
 * Takes a piece. `lasting`: it stays as it is after the call; else it is only good until then. What it returns may be
 * waited for before the next piece comes.
 */
export type TakePiece = (piece: Buffer, lasting: boolean) => Promise<void> | undefined | void;

/**
 * Decompresses a stream (gzip, zstd, or none, by its first bytes) and hands out the pieces. gzip runs on a thread of the
 * pool meanwhile.
 * @throws ImageError where the stream is damaged or cut off
 */
export async function decompress(source: AsyncIterable<Buffer>, take: TakePiece): Promise<Compression> {
  let kind: Compression | undefined;
  let head: Buffer = Buffer.alloc(0);
  let push: ((chunk: Buffer) => void | Promise<void>) | undefined;
  let finish: () => void | Promise<void> = () => {};
  const begin = async () => {
    kind = compressionOf(head);
    if (kind === 'gzip') [push, finish] = await gunzip(take);
    else if (kind === 'zstd') [push, finish] = unzstd(take);
    else push = (chunk) => void take(chunk, false);
    await push(head);
  };
  for await (const chunk of source) {
    if (push) {
      await push(chunk);
    } else {
      head = Buffer.concat([head, chunk]);
      if (head.length >= 6) await begin();
    }
  }
  if (!push && head.length > 0) await begin();
  await finish();
  return kind ?? 'none';
}

type Sink = [(chunk: Buffer) => void | Promise<void>, () => void | Promise<void>];

function unzstd(take: TakePiece): Sink {
  const decoder = new ZstdDecoder();
  const scratch = Buffer.allocUnsafe(PIECE);
  return [
    (chunk) => {
      try {
        decoder.push(chunk, scratch, (piece) => void take(piece, false));
      } catch (error) {
        throw (error as { syscall?: string }).syscall === 'zstd' ? damaged('zstd', error) : error;
      }
    },
    () => {
      if (!decoder.complete) throw damaged('zstd', undefined);
    },
  ];
}

/**
 * gzip on a thread of the pool. What it gives is taken one turn of the event loop later: by then the thread is at work on
 * the next piece, while this one is hashed and written.
 */
async function gunzip(take: TakePiece): Promise<Sink> {
  const { createGunzip } = await import('node:zlib');
  // Stream options are taken too, though the types don't say so.
  const options = { chunkSize: PIECE, highWaterMark: 2 * PIECE };
  const stream = createGunzip(options);
  const waiting: Buffer[] = [];
  let bytes = 0;
  let failure: unknown;
  let wake: (() => void) | undefined;
  const fail = (error: unknown) => {
    failure ??= error;
    stream.destroy();
    wake?.();
  };
  let ended = false;
  let taking = false;
  const takeAll = async () => {
    try {
      while (waiting.length > 0 && failure === undefined) await take(waiting.shift()!, true);
    } catch (error) {
      return fail(error);
    }
    taking = false;
    bytes = 0;
    stream.resume();
    if (ended) wake?.();
  };
  stream.on('error', (error) => fail(damaged('gzip', error)));
  stream.on('end', () => {
    ended = true;
    wake?.();
  });
  stream.on('drain', () => wake?.());
  stream.on('data', (piece: Buffer) => {
    waiting.push(piece);
    bytes += piece.length;
    if (!taking) setImmediate(takeAll);
    taking = true;
    if (bytes >= AHEAD) stream.pause();
  });
  const pause = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  return [
    async (chunk) => {
      if (failure !== undefined) throw failure;
      // A copy: the source's piece is only good until the next one, zlib keeps it longer.
      if (!stream.write(Buffer.from(chunk))) await pause();
      if (failure !== undefined) throw failure;
    },
    async () => {
      stream.end();
      while (!(ended && !taking) && failure === undefined) await pause();
      if (failure !== undefined) throw failure;
    },
  ];
}

function damaged(kind: string, cause: unknown): NsboxError {
  return new ImageError(`the ${kind} data of the layer is damaged or cut off`, { cause });
}

/** Counts and hashes plain content; refuses more than `limit` bytes. */
export class PlainMeter {
  /** What stays as it is is hashed on another thread. */
  #pool: PoolSha256 | undefined;
  #hash: Hash | undefined;
  readonly #limit: number;
  #waiting = 0;
  size = 0;
  constructor(limit: number) {
    this.#limit = limit;
  }
  /** @returns what is to be waited for before the next piece, where too much waits to be hashed */
  add(piece: Buffer, lasting: boolean): Promise<void> | undefined {
    if (this.size === 0) this.#pool = lasting ? PoolSha256.create() : undefined;
    this.size += piece.length;
    if (this.size > this.#limit) {
      throw new ImageError(`the layer unpacks to more than ${this.#limit} bytes`, {
        hint: 'a decompression bomb? set NSBOX_MAX_LAYER_BYTES to admit it',
      });
    }
    if (!this.#pool) {
      this.#hash ??= createHash('sha256');
      this.#hash.update(piece);
      return undefined;
    }
    this.#waiting += piece.length;
    const hashed = this.#pool.update(piece).then(() => {
      this.#waiting -= piece.length;
    });
    return this.#waiting > AHEAD ? hashed : undefined;
  }
  async digest(): Promise<string> {
    const hex = this.#pool ? await this.#pool.digest() : (this.#hash ?? createHash('sha256')).digest('hex');
    return `sha256:${hex}`;
  }
}

/** Most bytes that a layer may unpack to, by the size of its blob: 256 MiB, and 200 times the blob on top. */
export function unpackLimit(env: Readonly<Record<string, string | undefined>>, blobSize: number): number {
  const own = Number(env['NSBOX_MAX_LAYER_BYTES']);
  return own > 0 ? own : 256 * 1024 * 1024 + 200 * blobSize;
}
