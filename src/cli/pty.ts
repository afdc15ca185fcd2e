import { once } from 'node:events';
import { ReadStream } from 'node:tty';
import { DEFAULT_DETACH_KEYS, DetachFilter, parseDetachKeys } from '../engine/index.js';
import { setWindowSize } from '../kernel/index.js';
import type { Io } from './io.js';
import { onResize, rawMode, terminalSize } from './terminal.js';

export interface JoinOptions {
  /** Pass standard input on. */
  input: boolean;
  detachKeys?: string | undefined;
  /** Settles when the program has ended. */
  ended: Promise<unknown>;
}

/**
 * Joins the caller's terminal with the master of a program's pty (`exec -t`), until the program ends or the detach
 * keys are typed. Closes the master.
 * @returns whether the program ended
 */
export async function joinTerminal(io: Io, master: number, options: JoinOptions): Promise<boolean> {
  const filter = new DetachFilter(parseDetachKeys(options.detachKeys ?? DEFAULT_DETACH_KEYS));
  const pty = new ReadStream(master);
  const size = terminalSize(io);
  if (size) setWindowSize(master, size);
  const stops = [onResize(io, (changed) => setWindowSize(master, changed))];
  let leave: (ended: boolean) => void = () => {};
  const left = new Promise<boolean>((resolve) => {
    leave = resolve;
  });
  pty.on('data', (chunk: Buffer) => {
    if (io.stdout.write(chunk)) return;
    pty.pause();
    io.stdout.once('drain', () => pty.resume());
  });
  // EIO is how the kernel says that the last process has closed the other end.
  const hungUp = Promise.race([once(pty, 'end'), once(pty, 'close'), once(pty, 'error')]).catch(() => {});
  const onInput = (chunk: Buffer): void => {
    const { data, detached } = filter.push(chunk);
    if (data.length > 0) pty.write(data);
    if (detached) leave(false);
  };
  if (options.input) {
    stops.push(rawMode(io));
    io.stdin.on('data', onInput);
  }
  // A program may leave children that keep the terminal open: its own end is what counts, but for output on the way.
  const ended = options.ended.then(() => Promise.race([hungUp, new Promise((done) => setTimeout(done, 50))]));
  ended.then(() => leave(true));
  try {
    return await left;
  } finally {
    for (const stop of stops) stop();
    io.stdin.off('data', onInput);
    if (options.input) io.stdin.pause();
    pty.destroy();
  }
}
