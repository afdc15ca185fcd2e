import { NsboxError, signalNumber } from '../base/index.js';
import type { Attachment } from '../engine/index.js';
import type { Io } from './io.js';
import { onResize, rawMode } from './terminal.js';

/** Which of the three streams a command attaches. */
export interface Streams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/** Signals that `--sig-proxy` passes on: those that ask a program for something and can be caught. */
const PROXIED: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGTSTP',
];

/** What attachSocket and attachContainer are given for these streams. */
export function attachStreams(io: Io, streams: Streams, tty: boolean) {
  return {
    stdin: streams.stdin ? io.stdin : undefined,
    stdout: streams.stdout ? io.sink(1) : undefined,
    // A terminal has one stream for both.
    stderr: streams.stderr && !tty ? io.sink(2) : undefined,
  };
}

/**
 * Keeps the caller's terminal and signals with a container until it ends or is left.
 * @returns the exit code
 */
export async function stayWith(
  io: Io,
  attachment: Attachment,
  options: { tty: boolean; stdin: boolean; sigProxy: boolean; name: string },
): Promise<number> {
  const restore = options.tty && options.stdin ? rawMode(io) : () => {};
  const stops = [restore];
  if (options.tty) stops.push(onResize(io, (size) => attachment.resize(size)));
  else if (options.sigProxy) {
    stops.push(
      io.onSignal(PROXIED, (signal) => {
        // It may have ended a moment ago.
        attachment.signal(signalNumber(signal)).catch(() => {});
      }),
    );
  }
  try {
    const end = await attachment.done;
    switch (end.reason) {
      case 'exit':
        return end.exitCode;
      case 'detached':
        io.err('read escape sequence\n');
        return 0;
      case 'closed':
        return 141; // as SIGPIPE would end us; the container goes on
      default:
        throw new NsboxError(
          'ABORTED',
          `the monitor of container ${options.name} was killed, and the container with it`,
          {
            exitCode: 137,
          },
        );
    }
  } finally {
    for (const stop of stops) stop();
  }
}
