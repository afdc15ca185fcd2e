import { InvalidError } from './errors.js';

/** Durations as Docker's users write and read them. */

const DURATION_UNITS: Record<string, number> = {
  h: 3600,
  m: 60,
  s: 1,
  ms: 1e-3,
  us: 1e-6,
  µs: 1e-6,
  ns: 1e-9,
};

/**
 * Parses seconds (`10`, `-1`) or a duration in Go's form (`1m30s`, `1.5h`, `500ms`).
 * @returns seconds
 * @throws InvalidError
 */
export function parseSeconds(text: string): number {
  if (/^[+-]?\d+(\.\d+)?$/.test(text)) return Number(text);
  const match = /^([+-]?)((?:\d+(?:\.\d+)?(?:h|ms|m|s|us|\u00b5s|ns))+)$/.exec(text);
  if (!match) throw new InvalidError(`invalid duration: '${text}' (expected seconds or a form as 1m30s)`);
  let seconds = 0;
  for (const [, number, unit] of match[2]!.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|\u00b5s|ns)/g)) {
    seconds += Number(number) * DURATION_UNITS[unit!]!;
  }
  return match[1] === '-' ? -seconds : seconds;
}

/** A duration as Go prints it: `1m30s`, `1.5s`, `300ms`. From 1 ms on. */
export function goDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds}ms`;
  const seconds = milliseconds / 1000;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = Number((seconds % 60).toFixed(9));
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${rest}s`;
}
