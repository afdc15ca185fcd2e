import { InvalidError } from '../base/index.js';

const UNITS: Record<string, bigint> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/**
 * An instant as `--since` and `--until` take it: seconds since 1970 (with a fraction), a duration before now (`10m`,
 * `1h30m`), or a date and time (RFC 3339; parts may be missing from the end, without a zone it is local time).
 * @param now nanoseconds since 1970
 * @returns nanoseconds since 1970
 * @throws InvalidError
 */
export function parseInstant(text: string, now: bigint = BigInt(Date.now()) * 1_000_000n): bigint {
  const unix = /^(-?\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (unix) return BigInt(unix[1]!) * UNITS['s']! + BigInt((unix[2] ?? '').padEnd(9, '0'));
  const duration = durationOf(text);
  if (duration !== undefined) return now - duration;
  const stamp = parseTimestamp(text);
  if (stamp !== undefined) return stamp;
  throw new InvalidError(`invalid time '${text}'`, {
    hint: 'give seconds since 1970, a duration such as 10m or 1h30m, or a time such as 2026-01-31T10:00:00Z',
  });
}

/** Go's durations: `1h30m`, `1.5s`; undefined for anything else. */
function durationOf(text: string): bigint | undefined {
  const sign = text.startsWith('-') ? -1n : 1n;
  const body = text.replace(/^[-+]/, '');
  if (!/^(\d+(\.\d+)?(ns|us|\u00b5s|ms|s|m|h))+$/.test(body)) return undefined;
  let total = 0n;
  for (const part of body.matchAll(/(\d+)(?:\.(\d+))?(ns|us|\u00b5s|ms|s|m|h)/g)) {
    const unit = UNITS[part[3]!]!;
    total += BigInt(part[1]!) * unit;
    if (part[2]) total += (BigInt(part[2]) * unit) / 10n ** BigInt(part[2].length);
  }
  return sign * total;
}

/** An RFC 3339 time, exact to the nanosecond; parts may be missing from the end. Undefined for anything else. */
export function parseTimestamp(text: string): bigint | undefined {
  const match =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d\d:\d\d)?$/i.exec(
      text,
    );
  if (!match) return undefined;
  const [, date, hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = match;
  const ms = Date.parse(`${date}T${hour}:${minute}:${second}${zone.toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}
