import { ZstdEncoder } from '../../kernel/index.js';
import { decompress } from '../layer/index.js';

/** What a layer may be compressed with on its way out. */
export type Squeeze = { format: 'gzip' | 'zstd'; level?: number | undefined };

const PIECE = 256 * 1024;

/** Compresses pieces; the same content with the same level gives the same bytes. Pieces are good until the next. */
export async function* compressed(source: AsyncIterable<Buffer>, how: Squeeze): AsyncGenerator<Buffer> {
  if (how.format === 'zstd') yield* zstd(source, how.level);
  else yield* gzip(source, how.level);
}

async function* zstd(source: AsyncIterable<Buffer>, level: number | undefined): AsyncGenerator<Buffer> {
  const encoder = new ZstdEncoder(level);
  const scratch = Buffer.allocUnsafe(PIECE);
  let out: Buffer[] = [];
  const push = (chunk: Buffer, end: boolean) => {
    out = [];
    encoder.push(chunk, scratch, end, (piece) => void out.push(Buffer.from(piece)));
  };
  for await (const chunk of source) {
    push(chunk, false);
    yield* out;
  }
  push(Buffer.alloc(0), true);
  yield* out;
}

async function* gzip(source: AsyncIterable<Buffer>, level: number | undefined): AsyncGenerator<Buffer> {
  const [{ createGzip }, { Readable }] = await Promise.all([import('node:zlib'), import('node:stream')]);
  const copies = (async function* () {
    // zlib keeps a piece longer than the source does.
    for await (const piece of source) yield Buffer.from(piece);
  })();
  const input = Readable.from(copies, { objectMode: false });
  const stream = createGzip({ chunkSize: PIECE, ...(level === undefined ? {} : { level }) });
  input.on('error', (error) => stream.destroy(error));
  stream.on('close', () => input.destroy());
  yield* input.pipe(stream) as AsyncIterable<Buffer>;
}

/** Decompressed pieces as a stream; at most the pieces of one compressed one wait. */
export async function* decompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const ready: Buffer[] = [];
  let wake: (() => void) | undefined;
  let resume: (() => void) | undefined;
  let over = false;
  let failure: unknown;
  const stop = new Error('nobody reads on');
  const slowed = async function* () {
    for await (const piece of source) {
      while (ready.length > 16 && !over) {
        await new Promise<void>((resolve) => {
          resume = resolve;
        });
      }
      if (over) throw stop;
      yield piece;
    }
  };
  const done = decompress(slowed(), (piece) => {
    ready.push(Buffer.from(piece));
    wake?.();
  })
    .catch((error: unknown) => {
      failure = error;
    })
    .then(() => {
      over = true;
      wake?.();
    });
  try {
    for (;;) {
      const piece = ready.shift();
      if (piece) {
        yield piece;
        continue;
      }
      resume?.();
      resume = undefined;
      if (over) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw failure;
  } finally {
    over = true;
    resume?.();
    await done;
  }
}
