import { InvalidError } from '../base/index.js';
import type { SpecRlimit } from './runtime.js';

/** RLIM_INFINITY of setrlimit(2). */
export const RLIM_INFINITY = 2n ** 64n - 1n;

/** Limits by number, see setrlimit(2) and asm-generic/resource.h. */
export const RLIMITS = [
  'RLIMIT_CPU',
  'RLIMIT_FSIZE',
  'RLIMIT_DATA',
  'RLIMIT_STACK',
  'RLIMIT_CORE',
  'RLIMIT_RSS',
  'RLIMIT_NPROC',
  'RLIMIT_NOFILE',
  'RLIMIT_MEMLOCK',
  'RLIMIT_AS',
  'RLIMIT_LOCKS',
  'RLIMIT_SIGPENDING',
  'RLIMIT_MSGQUEUE',
  'RLIMIT_NICE',
  'RLIMIT_RTPRIO',
  'RLIMIT_RTTIME',
] as const;

/** Number of a limit by its OCI name; undefined where there is none. */
export function rlimitNumber(type: string): number | undefined {
  const n = (RLIMITS as readonly string[]).indexOf(type);
  return n < 0 ? undefined : n;
}

/**
 * `--ulimit name=soft[:hard]` as OCI rlimits; -1 is "unlimited".
 * @throws InvalidError for a name that doesn't exist, or a soft limit above the hard one
 */
export function rlimitsFromUlimits(
  ulimits: readonly { name: string; soft: number; hard: number }[],
): SpecRlimit[] {
  const out = new Map<string, SpecRlimit>();
  for (const u of ulimits) {
    const type = `RLIMIT_${u.name.toUpperCase()}`;
    if (rlimitNumber(type) === undefined) {
      throw new InvalidError(`invalid ulimit type: ${u.name}`, {
        hint: `one of ${RLIMITS.map((r) => r.slice(7).toLowerCase()).join(', ')}`,
      });
    }
    const soft = u.soft < 0 ? RLIM_INFINITY : u.soft;
    const hard = u.hard < 0 ? RLIM_INFINITY : u.hard;
    if (soft > hard) {
      throw new InvalidError(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
    }
    out.set(type, { type, soft, hard });
  }
  return [...out.values()];
}
