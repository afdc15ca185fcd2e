import type { Launched } from '../engine/launch.js';
import { setWindowSize } from '../kernel/index.js';

const FORWARDED = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGALRM',
] as const;

/** Signals of this process, which are the container's. */
export interface Forwarding {
  /** Hands on what has come so far, and what comes. */
  to(launched: Launched): void;
  /** From here on signals do to this process what they do by default. */
  stop(): void;
}

/**
 * Catches signals for a container that is about to start: one that comes before the program runs must not end the
 * runtime, which would leave the container without its parent.
 */
export function catchSignals(): Forwarding {
  const early: number[] = [];
  let deliver = (number: number): void => {
    early.push(number);
  };
  const handler = (_: string, number: number) => deliver(number);
  for (const name of FORWARDED) process.on(name, handler);
  return {
    to: ({ monitor }) => {
      deliver = (number) => monitor.signal(number);
      for (const number of early.splice(0)) deliver(number);
    },
    stop: () => {
      for (const name of FORWARDED) process.off(name, handler);
    },
  };
}

/** Size of this process's terminal, for a container's that it is passed on to. */
export function ownTerminalSize(): { rows: number; columns: number } | undefined {
  const { stdout } = process;
  return stdout.isTTY ? { rows: stdout.rows, columns: stdout.columns } : undefined;
}

/** A terminal that this process passes on. */
interface Relay {
  /** Resolves when all that the container wrote has been passed on: its side of the pty is closed. */
  drained: Promise<void>;
  /** Puts this process's own terminal back. */
  restore(): void;
}

/** Milliseconds to wait for output after the program has ended; something it left behind may hold the pty open. */
const PATIENCE = 1000;

/** Connects this process's terminal with the container's: raw, of the same size. */
async function relayTerminal(master: number): Promise<Relay> {
  const tty = await import('node:tty');
  const { stdin, stdout } = process;
  const terminal = new tty.ReadStream(master);
  const writer = new tty.WriteStream(master);
  const raw = stdin.isTTY;
  if (raw) stdin.setRawMode(true);
  const resize = () => {
    if (stdout.isTTY) setWindowSize(master, { rows: stdout.rows, columns: stdout.columns });
  };
  resize();
  stdout.on('resize', resize);
  stdin.on('data', (chunk) => writer.write(chunk));
  stdin.resume();
  const drained = new Promise<void>((resolve) => {
    // EIO is how a pty says that nobody holds its other end.
    terminal.on('error', () => resolve());
    terminal.on('close', () => resolve());
  });
  writer.on('error', () => {});
  terminal.on('data', (chunk: Buffer) => stdout.write(chunk));
  return {
    drained,
    restore: () => {
      stdout.off('resize', resize);
      if (raw) stdin.setRawMode(false);
      stdin.pause();
      terminal.destroy();
      writer.destroy();
    },
  };
}

/**
 * Waits for the program in the foreground: its exit code, 255 where nobody could tell.
 * @param signals caught since before the start; the caller ends it
 */
export async function waitInForeground(launched: Launched, signals: Forwarding): Promise<number> {
  signals.to(launched);
  const relay = launched.terminal === undefined ? undefined : await relayTerminal(launched.terminal);
  try {
    const report = await launched.exit;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE);
    });
    if (relay) await Promise.race([relay.drained, late]);
    clearTimeout(timer);
    return report?.code ?? 255;
  } finally {
    relay?.restore();
  }
}
