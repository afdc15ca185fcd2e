import type { Launched } from '../engine/launch.js';

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
export function forwardSignals(launched: Launched): () => void {
  const handlers = FORWARDED.map((name) => {
    const handler = (_: string, number: number) => launched.monitor.signal(number);
    process.on(name, handler);
    return [name, handler] as const;
  });
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler);
  };
}

/** Connects this process's terminal with the container's, raw, with its size. Returns what puts it back. */
export async function relayTerminal(master: number): Promise<() => void> {
  const tty = await import('node:tty');
  const { stdin, stdout } = process;
  const terminal = new tty.ReadStream(master);
  const writer = new tty.WriteStream(master);
  const raw = stdin.isTTY;
  if (raw) stdin.setRawMode(true);
  stdin.on('data', (chunk) => writer.write(chunk));
  stdin.resume();
  terminal.on('data', (chunk: Buffer) => stdout.write(chunk));
  // EIO is how a pty says that nobody holds its other end.
  terminal.on('error', () => {});
  writer.on('error', () => {});
  return () => {
    if (raw) stdin.setRawMode(false);
    stdin.pause();
    terminal.destroy();
    writer.destroy();
  };
}
