import type { Writable } from 'node:stream';

/** Where a program's output goes. */
export interface Sink {
  /** @returns false where more should wait for `room` */
  write(data: Buffer): boolean;
  /**
   * Calls back when there is room again, and when whoever reads has gone or the disk is full.
   * @returns ends the calls of `room`
   */
  listen(room: () => void, gone: () => void): () => void;
  /** Resolves when all that was written has been taken. */
  flushed(): Promise<void>;
}

/** A stream as sink. */
export function streamSink(stream: Writable): Sink {
  return {
    write: (data) => stream.write(data),
    listen: (room, gone) => {
      // The error listener stays: a late EPIPE must not become an uncaught exception.
      stream.on('drain', room).on('error', gone);
      return () => void stream.off('drain', room);
    },
    flushed: () =>
      new Promise((resolve) => {
        if (stream.destroyed || stream.writableEnded || stream.writableLength === 0) resolve();
        else stream.write('', () => resolve());
      }),
  };
}
