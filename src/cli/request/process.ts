import { constants } from 'node:os';
import path from 'node:path';
import { InvalidError, parseSeconds, UnsupportedError } from '../../base/index.js';
import type { ContainerRequest, DeviceRequest } from '../../spec/index.js';
import { splitOnce } from './lists.js';

/** The grammars of what concerns the program and its rights: ulimits, devices, signals, security options, restart. */

const ULIMITS = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
);

/** `--ulimit NAME=SOFT[:HARD]`; -1 is unlimited. */
export function parseUlimit(spec: string): { name: string; soft: number; hard: number } {
  const [name, text] = splitOnce(spec, '=');
  if (text === undefined || text === '') {
    throw new InvalidError(`invalid ulimit argument: ${spec} (expected NAME=SOFT[:HARD])`);
  }
  if (!ULIMITS.has(name))
    throw new InvalidError(`invalid ulimit type: ${name} (one of ${[...ULIMITS].join(', ')})`);
  const numbers = text.split(':').map((part) => {
    if (part === 'unlimited') return -1;
    if (!/^(-1|\d+)$/.test(part) || !Number.isSafeInteger(Number(part))) {
      throw new InvalidError(`invalid ulimit value: ${spec}: '${part}' is not a whole number or -1`);
    }
    return Number(part);
  });
  if (numbers.length > 2)
    throw new InvalidError(`too many limit value arguments - ${text}, can only have up to two`);
  const soft = numbers[0]!;
  const hard = numbers[1] ?? soft;
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new InvalidError(
      `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard} (${spec})`,
    );
  }
  return { name, soft, hard };
}

const PERMISSIONS = /^(?!.*(.).*\1)[rwm]{1,3}$/;

/** `--device SOURCE[:TARGET][:PERMISSIONS]`, or a CDI name `vendor/class=name`. */
export function parseDevice(spec: string): DeviceRequest {
  if (/^[a-zA-Z0-9][\w.-]*\/[\w.-]+=[\w.:-]+$/.test(spec)) {
    return { source: spec, target: spec, permissions: 'rwm' };
  }
  const parts = spec.split(':');
  const [source, second, third] = parts as [string, string?, string?];
  if (parts.length > 3 || !source) throw new InvalidError(`invalid device specification: ${spec}`);
  let target = source;
  let permissions = 'rwm';
  if (second !== undefined) {
    if (third === undefined && PERMISSIONS.test(second)) permissions = second;
    else target = second || source;
  }
  if (third !== undefined) permissions = third;
  if (!PERMISSIONS.test(permissions)) {
    throw new InvalidError(`invalid device mode: ${permissions} in ${spec} (some of r, w, m)`);
  }
  for (const p of [source, target]) {
    if (!p.startsWith('/'))
      throw new InvalidError(`invalid device specification: ${spec}: ${p} is not an absolute path`);
  }
  return { source: path.posix.normalize(source), target: path.posix.normalize(target), permissions };
}

/** `--device-cgroup-rule 'c 1:3 rwm'`. */
export function parseDeviceRule(spec: string): string {
  if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(spec)) {
    throw new InvalidError(`invalid device cgroup rule: '${spec}' (expected as 'c 1:3 rwm')`);
  }
  return spec;
}

/** `--device-read-bps /dev/sda:1mb`, `--device-write-iops /dev/sda:100`. */
export function parseRate(spec: string, size: (text: string) => number): { path: string; rate: number } {
  const colon = spec.lastIndexOf(':');
  const device = spec.slice(0, Math.max(colon, 0));
  if (!device.startsWith('/dev/'))
    throw new InvalidError(`bad format for device path: ${spec} (expected /dev/NAME:RATE)`);
  const rate = size(spec.slice(colon + 1));
  if (!Number.isSafeInteger(rate) || rate < 0) throw new InvalidError(`invalid rate for device: ${spec}`);
  return { path: device, rate };
}

/** Checks a signal's name or number and gives its name, as `SIGTERM`. */
export function parseSignal(text: string): string {
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  if (Object.hasOwn(constants.signals, name)) return name;
  const real = /^SIGRT(MIN(\+\d+)?|MAX(-\d+)?)$/.exec(name);
  if (real && Number(/\d+$/.exec(name)?.[0] ?? 0) <= 30) return name;
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    const known = Object.entries(constants.signals).find(([, n]) => n === number);
    if (known) return known[0];
    if (number >= 34 && number <= 64) return number === 34 ? 'SIGRTMIN' : `SIGRTMIN+${number - 34}`;
  }
  throw new InvalidError(`invalid signal: ${text}`);
}

const RESTART = ['no', 'on-failure', 'always', 'unless-stopped'] as const;

/** `--restart no | on-failure[:N] | always | unless-stopped`. */
export function parseRestart(spec: string): ContainerRequest['restart'] {
  const [word, count] = splitOnce(spec, ':');
  const name = RESTART.find((r) => r === (word === '' ? 'no' : word));
  if (!name) {
    throw new InvalidError(
      `invalid restart policy: unknown policy '${word}'; use one of '${RESTART.join("', '")}'`,
    );
  }
  if (count !== undefined && name !== 'on-failure') {
    throw new InvalidError("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  if (count !== undefined && !/^\d{1,9}$/.test(count)) {
    throw new InvalidError('invalid restart policy: maximum retry count must be a whole number, 0 or more');
  }
  return { name, maximumRetryCount: Number(count ?? 0) };
}

/** Checks one `--security-opt`; a seccomp profile's path becomes absolute. */
export function parseSecurityOpt(spec: string, cwd: string): string {
  const [key, value] = splitOnce(spec, spec.includes('=') ? '=' : ':');
  switch (key) {
    case 'no-new-privileges':
      if (value !== undefined && value !== 'true' && value !== 'false') break;
      return value === undefined ? key : `${key}=${value}`;
    case 'seccomp':
      if (!value) break;
      if (value === 'unconfined' || value === 'builtin') return `seccomp=${value}`;
      return `seccomp=${path.resolve(cwd, value)}`;
    case 'systempaths':
      if (value !== 'unconfined') break;
      return spec;
    case 'apparmor':
    case 'label':
    case 'mask':
    case 'unmask':
      if (!value) break;
      return `${key}=${value}`;
  }
  throw new InvalidError(`invalid --security-opt: ${JSON.stringify(spec)}`);
}

/** `host`, `private`, `container:NAME` and what else the namespace admits. */
export function parseNamespace(
  flag: string,
  text: string | undefined,
  words: readonly string[],
): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.startsWith('container:') && words.includes('container:')) {
    if (text !== 'container:') return text;
    throw new InvalidError(`--${flag}: container: needs the name of a container`);
  }
  if (words.includes(text)) return text;
  throw new InvalidError(
    `--${flag}: invalid mode: ${text} (expected ${words.join(', ').replace('container:', 'container:NAME')})`,
  );
}

const LOG_OPTIONS: Record<string, readonly string[]> = {
  'json-file': ['max-size', 'max-file', 'labels', 'labels-regex', 'env', 'env-regex', 'tag', 'mode'],
  local: ['max-size', 'max-file'],
  none: [],
};

/** `--log-driver` and `--log-opt`. */
export function parseLog(
  driver: string | undefined,
  options: Record<string, string>,
): ContainerRequest['log'] {
  const name = driver ?? 'json-file';
  const known = Object.hasOwn(LOG_OPTIONS, name) ? LOG_OPTIONS[name] : undefined;
  if (!known)
    throw new UnsupportedError(`there is no logging driver '${name}' (there are json-file, local and none)`);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new InvalidError(`unknown log opt '${key}' for ${name} log driver`);
  }
  return { driver: name as ContainerRequest['log']['driver'], options };
}

type HealthFlag = `health-${'interval' | 'timeout' | 'start-period' | 'start-interval'}`;

/** `--health-*` and `--no-healthcheck`; undefined where none was given. Checked as Docker's client does. */
export function parseHealth(
  flags: Record<HealthFlag | 'health-cmd', string | undefined> & {
    'health-retries': number | undefined;
    'no-healthcheck': boolean;
  },
): ContainerRequest['healthcheck'] {
  const nanoseconds = (flag: HealthFlag): number => {
    const text = flags[flag];
    const value = text === undefined ? 0 : parseDuration(flag, text);
    if (value < 0) throw new InvalidError(`--${flag} cannot be negative`);
    return value;
  };
  const retries = flags['health-retries'] ?? 0;
  if (retries < 0) throw new InvalidError('--health-retries cannot be negative');
  const given = {
    Test: flags['health-cmd'] ? ['CMD-SHELL', flags['health-cmd']] : [],
    Interval: nanoseconds('health-interval'),
    Timeout: nanoseconds('health-timeout'),
    StartPeriod: nanoseconds('health-start-period'),
    StartInterval: nanoseconds('health-start-interval'),
    Retries: retries,
  };
  const set = Object.entries(given).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value));
  if (flags['no-healthcheck']) {
    if (set.length > 0) throw new InvalidError('--no-healthcheck conflicts with --health-* options');
    return { Test: ['NONE'] };
  }
  return set.length > 0 ? Object.fromEntries(set) : undefined;
}

/** A duration in Go's form, with its unit, in nanoseconds. */
function parseDuration(flag: string, text: string): number {
  const bad = (why: string) =>
    new InvalidError(`invalid argument "${text}" for "--${flag}" flag: time: ${why} duration "${text}"`);
  if (/^[+-]?\d+(\.\d+)?$/.test(text) && Number(text) !== 0) throw bad('missing unit in');
  try {
    return Math.round(parseSeconds(text) * 1e9);
  } catch {
    throw bad('invalid');
  }
}
