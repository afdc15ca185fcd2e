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

/** Hands signals of this process on to the container's. Returns what ends it. */
function forwardSignals(launched: Launched): () => void {
  const handlers = FORWARDED.map((name) => {
    const handler = (_: string, number: number) => launched.monitor.signal(number);
    process.on(name, handler);
    return [name, handler] as const;
  });
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler);
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

/** Waits for the program in the foreground: its exit code, 255 where nobody could tell. */
export async function waitInForeground(launched: Launched): Promise<number> {
  const stop = forwardSignals(launched);
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
    stop();
  }
}
