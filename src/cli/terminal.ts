import type { Io } from './io.js';

/** The caller's terminal while a container has it: raw, its size passed on, put back as it was. */

export interface TerminalSize {
  rows: number;
  columns: number;
}

/** Size of the terminal on standard output; undefined where there is none. */
export function terminalSize(io: Io): TerminalSize | undefined {
  if (!io.tty.stdout) return undefined;
  const { rows, columns } = io.stdout;
  return rows && columns ? { rows, columns } : undefined;
}

/**
 * Switches standard input to raw mode, so that ^C, ^Z and the arrow keys reach the program. Undo it with the returned
 * function, also on failure: a shell on a raw terminal is a nuisance.
 */
export function rawMode(io: Io): () => void {
  if (!io.tty.stdin || !io.stdin.setRawMode) return () => {};
  io.stdin.setRawMode(true);
  let restored = false;
  return () => {
    if (restored) return;
    restored = true;
    io.stdin.setRawMode?.(false);
    io.stdin.pause();
  };
}

/** Calls back with the terminal's size when it changes (SIGWINCH) until the returned function is called. */
export function onResize(io: Io, handler: (size: TerminalSize) => void): () => void {
  return io.onSignal(['SIGWINCH'], () => {
    const stream = io.stdout as { _refreshSize?: () => void };
    stream._refreshSize?.(); // node:tty learns of the new size in a handler of its own, which may come later
    const size = terminalSize(io);
    if (size) handler(size);
  });
}
