import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    zstdNew(windowLog: number): object;
    zstdPush(
      handle: object,
      input: Buffer,
      consumed: number,
      output: Buffer,
    ): [consumed: number, made: number, left: number];
    zstdEncoder(level: number): object;
    zstdEncode(
      handle: object,
      input: Buffer,
      consumed: number,
      output: Buffer,
      end: boolean,
    ): [consumed: number, made: number, left: number];
  }
}

/** 128 MiB: what the zstd command accepts, so that a frame can't ask for gigabytes. */
const WINDOW_LOG = 27;

/** Decompresses a zstd stream (several frames too) as it arrives. */
export class ZstdDecoder {
  readonly #handle = addon().zstdNew(WINDOW_LOG);
  /** Whether the input so far ends with a complete frame. */
  complete = false;

  /**
   * Decompresses what a chunk gives; `take` gets a buffer that is reused afterwards.
   * @param output scratch space, its size is that of the pieces
   * @throws {code: 'EBADMSG'} where the input isn't zstd
   */
  push(chunk: Buffer, output: Buffer, take: (piece: Buffer) => void): void {
    for (let at = 0; ; ) {
      const [consumed, made, left] = addon().zstdPush(this.#handle, chunk, at, output);
      at = consumed;
      if (made > 0) take(output.subarray(0, made));
      this.complete = left === 0;
      if (at >= chunk.length && (made < output.length || this.complete)) return;
    }
  }
}

/** Compresses a stream to one zstd frame with a checksum. */
export class ZstdEncoder {
  readonly #handle: object;

  /** @param level 1 (quick) to 19 (small); 3 is zstd's own default */
  constructor(level = 3) {
    this.#handle = addon().zstdEncoder(level);
  }

  /**
   * Compresses a chunk, or with `end` also what is still held back; `take` gets a buffer that is reused afterwards.
   * @param output scratch space, its size is that of the pieces
   */
  push(chunk: Buffer, output: Buffer, end: boolean, take: (piece: Buffer) => void): void {
    for (let at = 0; ; ) {
      const [consumed, made, left] = addon().zstdEncode(this.#handle, chunk, at, output, end);
      at = consumed;
      if (made > 0) take(output.subarray(0, made));
      if (end ? left === 0 : at >= chunk.length) return;
    }
  }
}
