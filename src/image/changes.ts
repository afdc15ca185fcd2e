import { InvalidError, parseSeconds } from '../base/index.js';
import type { ImageConfig } from './types.js';

type Execution = NonNullable<ImageConfig['config']>;

/**
 * Applies `--change` instructions (Dockerfile syntax: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
 * STOPSIGNAL, USER, VOLUME, WORKDIR) to the execution part of a config, which isn't modified.
 * @throws InvalidError naming the instruction
 */
export function applyChanges(config: Execution, changes: readonly string[]): Execution {
  const out = structuredClone(config);
  for (const change of changes) {
    const m = /^\s*([A-Za-z]+)\s+([\s\S]*?)\s*$/.exec(change);
    const instruction = m?.[1]?.toUpperCase() ?? change.trim().toUpperCase();
    const rest = m?.[2] ?? '';
    const apply = INSTRUCTIONS[instruction];
    if (!apply) {
      throw new InvalidError(
        `--change: ${JSON.stringify(change)} is not one of ${Object.keys(INSTRUCTIONS).join(', ')}`,
      );
    }
    if (rest === '') throw new InvalidError(`--change: ${instruction} needs an argument`);
    apply(out, rest);
  }
  return out;
}

const INSTRUCTIONS: Record<string, (config: Execution, rest: string) => void> = {
  CMD: (c, rest) => {
    c.Cmd = command(rest);
  },
  ENTRYPOINT: (c, rest) => {
    c.Entrypoint = command(rest);
  },
  ENV: (c, rest) => {
    for (const [key, value] of pairs('ENV', rest)) {
      c.Env = [...(c.Env ?? []).filter((e) => !e.startsWith(`${key}=`)), `${key}=${value}`];
    }
  },
  LABEL: (c, rest) => {
    c.Labels = { ...c.Labels, ...Object.fromEntries(pairs('LABEL', rest)) };
  },
  EXPOSE: (c, rest) => {
    for (const port of rest.split(/\s+/)) {
      const m = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(port);
      if (!m) throw new InvalidError(`--change: EXPOSE ${port} is no port`);
      for (let p = Number(m[1]); p <= Number(m[2] ?? m[1]); p++) {
        c.ExposedPorts = { ...c.ExposedPorts, [`${p}/${m[3] ?? 'tcp'}`]: {} };
      }
    }
  },
  HEALTHCHECK: (c, rest) => {
    c.Healthcheck = healthcheck(rest);
  },
  ONBUILD: (c, rest) => {
    c.OnBuild = [...(c.OnBuild ?? []), rest];
  },
  STOPSIGNAL: (c, rest) => {
    c.StopSignal = rest;
  },
  USER: (c, rest) => {
    c.User = rest;
  },
  VOLUME: (c, rest) => {
    const places = jsonArray(rest) ?? rest.split(/\s+/);
    for (const place of places) c.Volumes = { ...c.Volumes, [place]: {} };
  },
  WORKDIR: (c, rest) => {
    c.WorkingDir = rest.startsWith('/') ? rest : `${c.WorkingDir?.replace(/\/$/, '') ?? ''}/${rest}`;
  },
};

const HEALTH_OPTIONS = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const;

/** `NONE`, or `[--interval=30s …] CMD command`. */
function healthcheck(text: string): NonNullable<Execution['Healthcheck']> {
  const out: NonNullable<Execution['Healthcheck']> = {};
  const bad = (why: string) => new InvalidError(`--change: HEALTHCHECK: ${why}`);
  let rest = text;
  for (;;) {
    const m = /^--([a-z-]+)=(\S*)\s*/.exec(rest);
    if (!m) break;
    const [all, name, value] = m as unknown as [string, string, string];
    rest = rest.slice(all.length);
    if (name === 'retries') {
      if (!/^\d{1,9}$/.test(value)) throw bad(`--retries must be at least 0 (not ${value})`);
      out.Retries = Number(value);
      continue;
    }
    if (!Object.hasOwn(HEALTH_OPTIONS, name)) throw bad(`unknown flag: --${name}`);
    const nanoseconds = Math.round(parseSeconds(value) * 1e9);
    if (nanoseconds !== 0 && nanoseconds < 1e6) throw bad(`--${name} cannot be less than 1ms`);
    out[HEALTH_OPTIONS[name as keyof typeof HEALTH_OPTIONS]] = nanoseconds;
  }
  const [, type = '', command = ''] = /^(\S*)\s*([\s\S]*)$/.exec(rest)!;
  switch (type.toUpperCase()) {
    case 'NONE':
      if (command !== '' || Object.keys(out).length > 0) throw bad('NONE takes no arguments');
      return { Test: ['NONE'] };
    case 'CMD': {
      if (command === '') throw bad('missing command after CMD');
      const words = jsonArray(command);
      return { ...out, Test: words ? ['CMD', ...words] : ['CMD-SHELL', command] };
    }
    default:
      throw bad(`unknown type ${JSON.stringify(type)} (try CMD)`);
  }
}

/** Exec form (a JSON array) or shell form. */
function command(rest: string): string[] {
  return jsonArray(rest) ?? ['/bin/sh', '-c', rest];
}

function jsonArray(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value;
  } catch {
    // Docker takes what isn't JSON as the shell form.
  }
  return undefined;
}

/** `A=1 B="two words"`, or the old `A the rest`. */
function pairs(instruction: string, rest: string): [string, string][] {
  const first = /^(\S+)/.exec(rest)?.[1] ?? '';
  if (!first.includes('=')) {
    const m = /^(\S+)\s+([\s\S]+)$/.exec(rest);
    if (!m) throw new InvalidError(`--change: ${instruction} ${rest} has no value`);
    return [[m[1]!, m[2]!]];
  }
  const out: [string, string][] = [];
  for (const word of words(rest)) {
    const equals = word.indexOf('=');
    if (equals < 1)
      throw new InvalidError(`--change: ${instruction}: ${JSON.stringify(word)} is no KEY=value`);
    out.push([word.slice(0, equals), word.slice(equals + 1)]);
  }
  return out;
}

/** Words with Dockerfile's quotes and backslashes. */
function words(text: string): string[] {
  const out: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\\' && quote !== "'" && i + 1 < text.length) word = (word ?? '') + text[++i]!;
    else if (quote !== '') {
      if (c === quote) quote = '';
      else word = (word ?? '') + c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (/\s/.test(c)) {
      if (word !== undefined) out.push(word);
      word = undefined;
    } else word = (word ?? '') + c;
  }
  if (word !== undefined) out.push(word);
  return out;
}
