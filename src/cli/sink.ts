import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { isErrno, type Sink, streamSink } from '../base/index.js';

/** Linux' number of /dev/null as a device: makedev(1, 3). */
const NULL_DEVICE = 0x103;

/**
 * A program's output to an inherited descriptor, by write(2) for as long as that never waits: files, /dev/null, and
 * pipes while they have room. For the rest, and from the first full pipe on, Node's stream, which takes milliseconds to load.
 * @param stream makes the stream of the same descriptor
 */
export class DescriptorSink implements Sink {
  #target: number | undefined;
  /** Whether the target is ours to close. */
  readonly #own: boolean;
  #rest: Sink | undefined;
  #stop: (() => void) | undefined;
  #listener: { room: () => void; gone: () => void } | undefined;
  readonly #makeRest: () => Sink;

  constructor(fd: 1 | 2, stream: () => Writable) {
    this.#makeRest = () => streamSink(stream());
    this.#target = writable(fd);
    this.#own = this.#target !== fd;
    if (this.#target === undefined) this.#useRest();
  }

  write(data: Buffer): boolean {
    if (this.#rest) return this.#rest.write(data);
    let at = 0;
    try {
      while (at < data.length) at += writeSync(this.#target!, data, at);
      return true;
    } catch (error) {
      if (isErrno(error, 'EAGAIN')) return this.#useRest().write(data.subarray(at));
      this.#listener?.gone();
      return true;
    }
  }

  listen(room: () => void, gone: () => void): () => void {
    this.#listener = { room, gone };
    if (this.#rest) this.#stop = this.#rest.listen(room, gone);
    return () => {
      this.#stop?.();
      this.#listener = { room: () => {}, gone: () => {} };
    };
  }

  flushed(): Promise<void> {
    return this.#rest ? this.#rest.flushed() : Promise.resolve();
  }

  #useRest(): Sink {
    if (this.#own && this.#target !== undefined) closeSync(this.#target);
    this.#target = undefined;
    this.#rest = this.#makeRest();
    if (this.#listener) this.#stop = this.#rest.listen(this.#listener.room, this.#listener.gone);
    return this.#rest;
  }
}

/**
 * A descriptor of the same file on which write(2) doesn't wait; undefined where there is none. A pipe is opened anew, since
 * O_NONBLOCK on the inherited descriptor would be seen by everybody who shares it.
 */
function writable(fd: number): number | undefined {
  try {
    const stat = fstatSync(fd);
    if (stat.isFile() || (stat.isCharacterDevice() && stat.rdev === NULL_DEVICE)) return fd;
    if (stat.isFIFO()) return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // closed, its reader has gone, or not ours to open: the stream says what it makes of that
  }
  return undefined;
}
