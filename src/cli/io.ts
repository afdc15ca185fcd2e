import type { Readable, Writable } from 'node:stream';
import type { Sink } from '../base/index.js';

/**
 * What a command has of the outside world besides its Context. The process's own is made in main.ts; tests and a warm
 * process make others.
 */
export interface Io {
  /** Writes text to standard output, in order, completely. */
  out(text: string): void;
  /** Writes text to standard error. */
  err(text: string): void;
  readonly stdin: Readable & { setRawMode?(on: boolean): unknown; isTTY?: boolean };
  readonly stdout: Writable & { columns?: number; rows?: number; isTTY?: boolean };
  readonly stderr: Writable & { isTTY?: boolean };
  /** Standard output or error for what a program writes; no stream is made where none is needed. */
  sink(fd: 1 | 2): Sink;
  /** Whether the three are terminals, without opening them. */
  readonly tty: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  /** Calls back on a signal to nsbox until the returned function is called. */
  onSignal(signals: readonly NodeJS.Signals[], handler: (signal: NodeJS.Signals) => void): () => void;
  /** Effective user id of the caller. */
  readonly euid: number;
}
