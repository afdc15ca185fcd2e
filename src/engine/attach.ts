import type { Readable, Writable } from 'node:stream';
import { ConflictError, type Context, type Sink, streamSink } from '../base/index.js';
import type { TerminalSize } from '../kernel/index.js';
import { DEFAULT_DETACH_KEYS, DetachFilter, parseDetachKeys } from './detach-keys.js';
import { type Hello, MonitorClient, type MonitorExit } from './monitor-client.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';

export interface AttachOptions {
  /** Sent to the program. Absent: no stdin. */
  stdin?: Readable | undefined;
  stdout?: Writable | Sink | undefined;
  stderr?: Writable | Sink | undefined;
  /** The container has a terminal: detach keys are looked for, and stdin's end means nothing. */
  tty: boolean;
  /** Sets the terminal's size at once. */
  size?: TerminalSize | undefined;
  /** As `--detach-keys`; default ctrl-p,ctrl-q; empty: none. */
  detachKeys?: string | undefined;
}

/** Why an attachment ended. */
export type AttachEnd =
  /** The program ended; all its output has been written. */
  | ({ reason: 'exit' } & MonitorExit)
  /** The detach keys were typed, or detach() was called. */
  | { reason: 'detached' }
  /** Whoever reads our stdout or stderr has gone (EPIPE). */
  | { reason: 'closed' }
  /** The monitor went away without a word: it was killed, and the container with it. */
  | { reason: 'lost' };

export interface Attachment {
  /** Settles once; never rejects. */
  readonly done: Promise<AttachEnd>;
  /** The monitor's first words; it speaks when the program has been started. */
  readonly hello: Promise<Hello | undefined>;
  /** Tells the program's terminal its new size. */
  resize(size: TerminalSize): void;
  /** Sends a signal; on a connection of its own, since this one may be full of stdin. */
  signal(number: number): Promise<void>;
  detach(): void;
}

/**
 * Attaches to a running container.
 * @throws ConflictError where it doesn't run; InvalidError for bad detach keys
 */
export async function attachContainer(
  ctx: Context,
  record: ContainerRecord,
  options: Omit<AttachOptions, 'tty'>,
): Promise<Attachment> {
  const attachment = await attachSocket(containerPaths(ctx, record.id).socket, {
    ...options,
    tty: record.request.tty,
    stdin: record.request.interactive ? options.stdin : undefined,
  });
  if (!attachment) {
    throw new ConflictError('You cannot attach to a stopped container, start it first', { exitCode: 1 });
  }
  return attachment;
}

/**
 * Attaches through a monitor's socket. Between its listening and the start of the program (StartOptions.attach) a
 * client that connects here misses no output.
 * @returns undefined where no monitor listens
 */
export async function attachSocket(socket: string, options: AttachOptions): Promise<Attachment | undefined> {
  const keys = options.tty ? parseDetachKeys(options.detachKeys ?? DEFAULT_DETACH_KEYS) : Buffer.alloc(0);
  const client = await MonitorClient.connect(socket, { stdin: options.stdin !== undefined });
  if (!client) return undefined;
  const { stdin, stdout, stderr } = options;
  let settle: (end: AttachEnd) => void = () => {};
  const ended = new Promise<AttachEnd>((resolve) => {
    settle = resolve;
  });

  const outputs = new Map<1 | 2, Sink>();
  if (stdout) outputs.set(1, sinkOf(stdout));
  if (stderr) outputs.set(2, sinkOf(stderr));
  const full = new Set<Sink>();
  const stops = [...outputs.values()].map((output) =>
    output.listen(
      () => {
        full.delete(output);
        if (full.size === 0) client.pause(false);
      },
      () => settle({ reason: 'closed' }),
    ),
  );
  client.onData((stream, data) => {
    const output = outputs.get(stream);
    if (!output || output.write(data)) return;
    full.add(output);
    client.pause(true);
  });
  client.tell({
    type: 'attach',
    stdin: stdin !== undefined,
    stdout: stdout !== undefined,
    stderr: stderr !== undefined,
    size: options.size,
  });

  const filter = new DetachFilter(keys);
  const onInput = (chunk: Buffer | string): void => {
    const { data, detached } = filter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    if (data.length > 0 && !client.writeStdin(data)) {
      stdin!.pause();
      client.drained(() => stdin!.resume());
    }
    if (detached) settle({ reason: 'detached' });
  };
  const onInputEnd = (): void => {
    if (!options.tty) client.tell({ type: 'closeStdin' });
  };
  stdin?.on('data', onInput).once('end', onInputEnd).once('error', onInputEnd);

  client.exit.then(async (exit) => {
    if (exit) {
      await Promise.all([...outputs.values()].map((output) => output.flushed()));
      settle({ reason: 'exit', ...exit });
    } else settle({ reason: 'lost' });
  });
  const done = ended.then((end) => {
    client.close();
    for (const stop of stops) stop();
    if (stdin) {
      stdin.off('data', onInput).off('end', onInputEnd).off('error', onInputEnd);
      stdin.pause();
      (stdin as Readable & { unref?: () => void }).unref?.();
    }
    return end;
  });
  return {
    done,
    hello: client.hello,
    resize: (size) => client.tell({ type: 'resize', size }),
    signal: async (number) => {
      using control = await MonitorClient.connect(socket);
      await control?.request({ type: 'signal', signal: number });
    },
    detach: () => settle({ reason: 'detached' }),
  };
}

function sinkOf(output: Writable | Sink): Sink {
  return 'flushed' in output ? output : streamSink(output);
}
