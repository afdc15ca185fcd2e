import { InvalidError } from '../base/index.js';
import type { Healthcheck } from './image-config.js';

/** Nanoseconds, as everywhere in a Healthcheck. */
const MILLISECOND = 1_000_000;
const SECOND = 1_000_000_000;

/** Docker's shortest duration in a health check. */
const SHORTEST = MILLISECOND;

const FIELDS = ['Test', 'Interval', 'Timeout', 'StartPeriod', 'StartInterval', 'Retries'] as const;

/**
 * A container's health check: that of the request over that of its image, field by field. Empty and 0 inherit.
 * @returns undefined where neither has one
 * @throws InvalidError, in Docker's words, for a duration below 1 ms
 */
export function mergeHealthcheck(
  own: Healthcheck | undefined,
  image: Healthcheck | undefined,
): Healthcheck | undefined {
  if (!own && !image) return undefined;
  const out: Healthcheck = {};
  const isSet = (value: string[] | number | undefined) => (Array.isArray(value) ? value.length > 0 : !!value);
  for (const field of FIELDS) {
    const value = [own?.[field], image?.[field]].find(isSet);
    if (value !== undefined) Object.assign(out, { [field]: value });
  }
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    if ((out[field] ?? SHORTEST) < SHORTEST) {
      throw new InvalidError(`${field} in Healthcheck cannot be less than 1ms`);
    }
  }
  return out;
}

/** A health check as it is carried out: every field has its value. Durations in milliseconds. */
export interface HealthPlan {
  argv: string[];
  intervalMs: number;
  timeoutMs: number;
  startPeriodMs: number;
  startIntervalMs: number;
  retries: number;
}

/**
 * What is to be run, and when, with Docker's defaults; undefined where there is nothing to run (`NONE`, no test).
 * @param shell of the image (SHELL), for CMD-SHELL; default `/bin/sh -c`
 * @see https://docs.docker.com/reference/dockerfile/#healthcheck
 */
export function healthPlan(check: Healthcheck | undefined, shell?: string[]): HealthPlan | undefined {
  const [kind, ...words] = check?.Test ?? [];
  if (!check || words.length === 0 || (kind !== 'CMD' && kind !== 'CMD-SHELL')) return undefined;
  const milliseconds = (value: number | undefined, fallback: number) => (value || fallback) / MILLISECOND;
  return {
    argv: kind === 'CMD' ? words : [...(shell?.length ? shell : ['/bin/sh', '-c']), ...words],
    intervalMs: milliseconds(check.Interval, 30 * SECOND),
    timeoutMs: milliseconds(check.Timeout, 30 * SECOND),
    startPeriodMs: milliseconds(check.StartPeriod, 0),
    startIntervalMs: milliseconds(check.StartInterval, 5 * SECOND),
    retries: check.Retries || 3,
  };
}
