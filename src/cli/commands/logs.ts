import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'logs',
  aliases: ['container logs'],
  usage: '[OPTIONS] CONTAINER',
  summary: 'Fetch the logs of a container',
  options: {
    details: { type: 'bool', help: 'Show extra details provided to logs' },
    follow: { type: 'bool', short: 'f', help: 'Follow log output' },
    since: {
      type: 'string',
      help: 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
    tail: {
      type: 'string',
      short: 'n',
      help: 'Number of lines to show from the end of the logs',
      default: 'all',
    },
    timestamps: { type: 'bool', short: 't', help: 'Show timestamps' },
    until: {
      type: 'string',
      help: 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const { findContainer, logRenderer, parseInstant, readLogs } = await import('../../engine/index.js');
    const record = findContainer(ctx, args[0]!);
    const stop = new AbortController();
    const unsubscribe = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    const render = logRenderer(flags);
    try {
      const entries = readLogs(ctx, record, {
        follow: flags.follow,
        since: flags.since === undefined ? undefined : parseInstant(flags.since),
        until: flags.until === undefined ? undefined : parseInstant(flags.until),
        tail: parseTail(flags.tail),
        signal: stop.signal,
      });
      for await (const entry of entries) {
        const text = render(entry);
        if (entry.stream === 'stderr') io.err(text);
        else io.out(text);
      }
    } finally {
      unsubscribe();
    }
    return 0;
  },
});

/** `all` or a negative number: everything. */
function parseTail(text: string): number | undefined {
  if (text === 'all') return undefined;
  if (!/^-?\d+$/.test(text)) throw new InvalidError(`invalid value for --tail: ${text} (a number or all)`);
  const n = Number(text);
  return n < 0 ? undefined : n;
}
