import path from 'node:path';
import { type Context, type Filters, matches } from '../base/index.js';
import { ensureDirectory } from '../state/index.js';
import type { EngineEvent } from './emit.js';
import { Waker } from './follow.js';
import { type LogFile, openLaterFiles, openLogFiles } from './log-files.js';
import { eventsFile } from './paths.js';

export const EVENT_FILTERS = [
  'container',
  'event',
  'image',
  'label',
  'network',
  'scope',
  'type',
  'volume',
] as const;

export interface EventOptions {
  /** Nanoseconds since 1970. Absent: only what happens from now on. */
  since?: bigint | undefined;
  /** Absent: without end. */
  until?: bigint | undefined;
  filters?: Filters | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * What happens to containers, images, networks and volumes, as `docker events` shows it: from `since` on, and then as it
 * happens until `until`. Past events are kept as long as the boot lasts, the last one or two MiB of them.
 *
 * A file that was renamed meanwhile is read to its end, and stays open until the next rename: a writer that had opened
 * it before may write to it a moment later.
 */
export async function* readEvents(ctx: Context, options: EventOptions = {}): AsyncGenerator<EngineEvent> {
  const file = eventsFile(ctx);
  const directory = path.dirname(file);
  const name = path.basename(file);
  ensureDirectory(directory);
  using waker = new Waker(directory, name);
  const onAbort = (): void => waker.wake();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const now = BigInt(Date.now()) * 1_000_000n;
  const since = options.since ?? now;
  const until = options.until;
  let timer: NodeJS.Timeout | undefined;
  // Armed before each wait: a timer may fire a little before the clock shows its time.
  const wakeAt = (time: bigint): void => {
    const wait = Number((time - BigInt(Date.now()) * 1_000_000n) / 1_000_000n) + 1;
    clearTimeout(timer);
    timer = setTimeout(() => waker.wake(), Math.min(Math.max(wait, 1), 2 ** 31 - 1));
  };
  function* select(lines: Iterable<string>): Generator<EngineEvent> {
    for (const line of lines) {
      const event = parse(line);
      if (!event) continue;
      const time = timeOf(line, event);
      if (time < since || (until !== undefined && time > until)) continue;
      if (matchesEvent(event, options.filters)) yield event;
    }
  }
  let files = openLogFiles(directory, name);
  let renamed: LogFile | undefined;
  try {
    for (;;) {
      const over = until !== undefined && BigInt(Date.now()) * 1_000_000n > until;
      if (renamed) yield* select(renamed.lines());
      while (files.length > 0) {
        const current = files[0]!;
        for (const event of select(current.lines())) {
          yield event;
          if (options.signal?.aborted) return;
        }
        if (files.length === 1) {
          // Asked after reading to its end; what was still written before the rename is read once more.
          const later = openLaterFiles(directory, name, current.inode);
          if (later.length === 0) break;
          files.push(...later);
          yield* select(current.lines());
        }
        renamed?.[Symbol.dispose]();
        renamed = files.shift();
      }
      if (over || options.signal?.aborted) return;
      if (until !== undefined) wakeAt(until);
      await waker.next();
      if (files.length === 0) files = openLogFiles(directory, name);
    }
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
    renamed?.[Symbol.dispose]();
    for (const f of files) f[Symbol.dispose]();
  }
}

function parse(line: string): EngineEvent | undefined {
  try {
    const event = JSON.parse(line) as EngineEvent;
    return typeof event?.Action === 'string' ? event : undefined;
  } catch {
    return undefined; // cut short by a crash
  }
}

/** timeNano has more digits than a JSON number keeps. */
function timeOf(line: string, event: EngineEvent): bigint {
  const digits = /"timeNano":(\d+)\}?$/.exec(line)?.[1];
  return digits ? BigInt(digits) : BigInt(event.time) * 1_000_000_000n;
}

function matchesEvent(event: EngineEvent, filters: Filters | undefined): boolean {
  if (!filters) return true;
  const { ID, Attributes } = event.Actor;
  const named = (type: EngineEvent['Type']) => (value: string) =>
    event.Type === type && (ID.startsWith(value) || Attributes['name'] === value);
  return (
    matches(filters, 'type', (v) => event.Type === v) &&
    matches(filters, 'event', (v) => event.Action === v || event.Action.startsWith(`${v}:`)) &&
    matches(filters, 'scope', (v) => event.scope === v) &&
    matches(filters, 'container', named('container')) &&
    matches(filters, 'network', named('network')) &&
    matches(filters, 'volume', named('volume')) &&
    matches(
      filters,
      'image',
      (v) =>
        (event.Type === 'image' && (ID === v || Attributes['name'] === v)) ||
        Attributes['image'] === v ||
        Attributes['image']?.replace(/:[^:/]*$/, '') === v,
    ) &&
    matches(filters, 'label', (v) => {
      const equals = v.indexOf('=');
      const key = equals < 0 ? v : v.slice(0, equals);
      return Object.hasOwn(Attributes, key) && (equals < 0 || Attributes[key] === v.slice(equals + 1));
    })
  );
}
