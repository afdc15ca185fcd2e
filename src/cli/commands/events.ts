import { parseFilters } from '../../base/index.js';
import type { EngineEvent } from '../../engine/index.js';
import { defineCommand, listFlags } from '../command.js';
import { compileTemplate } from '../format/template.js';

export const command = defineCommand({
  name: 'events',
  aliases: ['system events'],
  usage: '[OPTIONS]',
  summary: 'Get real time events',
  options: {
    filter: listFlags.filter,
    format: { type: 'string', help: "Format output using a custom template: 'json' or a Go template" },
    pressure: {
      type: 'int',
      value: 'percent',
      help: 'Report a container whose work waits for CPU, memory or disk this much of the time; 0: never',
      default: 50,
    },
    since: { type: 'string', help: 'Show all events created since timestamp' },
    until: { type: 'string', help: 'Stream events until this timestamp' },
  },
  async run({ flags }, io, ctx) {
    const { EVENT_FILTERS, parseInstant, readEvents } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, EVENT_FILTERS);
    const { format } = flags;
    const template = format === undefined || format === 'json' ? undefined : compileTemplate(format);
    const show = (event: EngineEvent): string =>
      template ? template.execute(event) : format === 'json' ? JSON.stringify(event) : plain(event);
    const stop = new AbortController();
    const { InvalidError } = await import('../../base/index.js');
    if (flags.pressure < 0 || flags.pressure > 100) {
      throw new InvalidError(`invalid value for --pressure: ${flags.pressure} (0 to 100)`);
    }
    const unsubscribe = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    // What limits do is reported while somebody listens, unless only the past is asked for.
    const { reportLimitEvents } = await import('../../engine/limit-events.js');
    const past = flags.until !== undefined && parseInstant(flags.until) <= BigInt(Date.now()) * 1_000_000n;
    const reporting = past ? undefined : reportLimitEvents(ctx, stop.signal, flags.pressure / 100);
    try {
      const events = readEvents(ctx, {
        since: flags.since === undefined ? undefined : parseInstant(flags.since),
        until: flags.until === undefined ? undefined : parseInstant(flags.until),
        filters,
        signal: stop.signal,
      });
      for await (const event of events) io.out(`${show(event)}\n`);
    } finally {
      unsubscribe();
      stop.abort();
      await reporting;
    }
    return 0;
  },
});

/** `2026-01-31T10:00:00.000000000Z container start 0123… (image=busybox, name=web)`. */
function plain(event: EngineEvent): string {
  const time = new Date(event.time * 1000).toISOString().slice(0, 19);
  const nanos = String(Math.round(event.timeNano % 1e9)).padStart(9, '0');
  const attributes = Object.entries(event.Actor.Attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
  return `${time}.${nanos}Z ${event.Type} ${event.Action} ${event.Actor.ID} (${attributes})`;
}
