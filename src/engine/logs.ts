import { type Context, InvalidError } from '../base/index.js';
import { Waker } from './follow.js';
import { type LogFile, openLaterFiles, openLogFiles } from './log-files.js';
import { MonitorClient } from './monitor-client.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { parseTimestamp } from './time-filter.js';

/** One record of a log: a line, or a piece of a long one. */
export interface LogEntry {
  stream: 'stdout' | 'stderr';
  /** With its newline, unless the line goes on in the next entry of this stream (or the output ended there). */
  text: string;
  /** RFC 3339, as recorded. */
  time: string;
  /** `--log-opt labels=…,env=…`. */
  attributes: Record<string, string>;
}

export interface LogOptions {
  /** Go on until the container has ended. */
  follow?: boolean | undefined;
  /** Nanoseconds since 1970, see parseInstant. */
  since?: bigint | undefined;
  until?: bigint | undefined;
  /** The last so many records. */
  tail?: number | undefined;
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
}

const NAME = 'log.json';

/**
 * Reads a container's log across its rotated files.
 * @throws InvalidError for a container that keeps no log
 */
export async function* readLogs(
  ctx: Context,
  record: ContainerRecord,
  options: LogOptions = {},
): AsyncGenerator<LogEntry> {
  if (record.request.log.driver === 'none') {
    throw new InvalidError(`container ${record.name} keeps no log: it was created with --log-driver none`, {
      exitCode: 1,
    });
  }
  const paths = containerPaths(ctx, record.id);
  const select = selector(options);
  // Watching and the connection come before the first read, so that nothing falls in between.
  using waker = options.follow ? new Waker(paths.data, NAME) : undefined;
  const end = waker ? followEnd(paths.socket, waker, options.signal) : undefined;
  const files = openLogFiles(paths.data, NAME);
  try {
    if (options.tail !== undefined) skipToTail(files, options.tail);
    else if (options.since !== undefined) {
      // A file last written before the time asked for has nothing to say.
      while (files.length > 1 && BigInt(Math.ceil(files[0]!.modified)) * 1_000_000n < options.since) {
        files.shift()![Symbol.dispose]();
      }
    }
    for (;;) {
      const last = end?.ended ?? true;
      while (files.length > 0) {
        const file = files[0]!;
        for (const line of file.lines()) {
          const entry = select(line);
          if (entry === 'done') return;
          if (entry) yield entry;
          if (options.signal?.aborted) return;
        }
        if (files.length === 1) {
          // Asked after reading to its end; what was still written before the rename is read once more.
          const later = waker ? openLaterFiles(paths.data, NAME, file.inode) : [];
          if (later.length === 0) break;
          files.push(...later);
          for (const line of file.lines()) {
            const entry = select(line);
            if (entry === 'done') return;
            if (entry) yield entry;
          }
        }
        files.shift()![Symbol.dispose]();
      }
      if (last || !waker || options.signal?.aborted) return;
      await waker.next();
      if (files.length === 0) files.push(...openLogFiles(paths.data, NAME));
    }
  } finally {
    for (const f of files) f[Symbol.dispose]();
    end?.close();
  }
}

/** Notices the container's end (not one that is followed by a restart) through its monitor. */
function followEnd(
  socket: string,
  waker: Waker,
  signal: AbortSignal | undefined,
): { readonly ended: boolean; close(): void } {
  const state = { ended: false, closed: false, client: undefined as MonitorClient | undefined };
  const run = async (): Promise<void> => {
    for (;;) {
      state.client = await MonitorClient.connect(socket);
      if (!state.client || state.closed) break;
      const exit = await state.client.exit;
      if (!exit?.restarting) break;
    }
    state.client?.close();
    state.ended = true;
    waker.wake();
  };
  run().catch(() => {
    state.ended = true;
    waker.wake();
  });
  signal?.addEventListener('abort', () => waker.wake(), { once: true });
  return {
    get ended() {
      return state.ended;
    },
    close: () => {
      state.closed = true;
      state.client?.close();
    },
  };
}

/** Opens the files at the last `count` lines of them all; those before are closed. */
function skipToTail(files: LogFile[], count: number): void {
  let missing = count;
  for (let i = files.length - 1; i >= 0; i--) {
    if (missing <= 0 && i < files.length - 1) {
      for (const f of files.splice(0, i + 1)) f[Symbol.dispose]();
      return;
    }
    missing = files[i]!.seekTail(missing);
  }
}

/** Parses and filters lines; 'done' after `until`. What isn't JSON (cut short by a crash) is left out. */
function selector(options: LogOptions): (line: string) => LogEntry | 'done' | undefined {
  return (line) => {
    let raw: { log?: unknown; stream?: unknown; time?: unknown; attrs?: Record<string, string> };
    try {
      raw = JSON.parse(line);
    } catch {
      return undefined;
    }
    if (typeof raw?.log !== 'string' || typeof raw.time !== 'string') return undefined;
    if (options.since !== undefined || options.until !== undefined) {
      const time = parseTimestamp(raw.time) ?? 0n;
      if (options.since !== undefined && time < options.since) return undefined;
      if (options.until !== undefined && time > options.until) return 'done';
    }
    return {
      stream: raw.stream === 'stderr' ? 'stderr' : 'stdout',
      text: raw.log,
      time: raw.time,
      attributes: raw.attrs ?? {},
    };
  };
}

/** Puts what `-t` and `--details` ask for before an entry; pieces of one line get it once. */
export function logRenderer(options: {
  timestamps?: boolean | undefined;
  details?: boolean | undefined;
}): (entry: LogEntry) => string {
  const middle = { stdout: false, stderr: false };
  return (entry) => {
    const continued = middle[entry.stream];
    middle[entry.stream] = !entry.text.endsWith('\n');
    if (continued) return entry.text;
    let prefix = '';
    if (options.timestamps) prefix += `${fixedTime(entry.time)} `;
    if (options.details) {
      const pairs = Object.entries(entry.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
      prefix += `${pairs.map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`).join(',')} `;
    }
    return prefix + entry.text;
  };
}

/** Always nine digits, so that columns stand below each other. */
function fixedTime(time: string): string {
  const match = /^(.*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  return match ? `${match[1]}.${(match[2] ?? '').padEnd(9, '0')}${match[3]}` : time;
}
