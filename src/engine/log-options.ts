import { InvalidError } from '../base/index.js';
import type { KeepLog } from '../kernel/index.js';
import type { ContainerRequest } from '../spec/index.js';

/** Logs are rotated unless told otherwise: nobody's disk fills up because of a chatty program. */
const DEFAULT_SIZE = { 'json-file': 10_000_000, local: 20_000_000 } as const;
const DEFAULT_FILES = { 'json-file': 3, local: 5 } as const;

/** What a log's options may refer to. */
export interface LogSubject {
  id: string;
  name: string;
  imageName: string;
  imageId: string;
  /** Of image and container. */
  labels: Readonly<Record<string, string>>;
  /** KEY=value, later ones win. */
  env: readonly string[];
}

/**
 * `--log-driver` and `--log-opt` as the monitor takes them. `local` is json-file with its own defaults.
 * @throws InvalidError for a value that makes no sense
 */
export function logConfig(log: ContainerRequest['log'], subject: LogSubject): KeepLog {
  if (log.driver === 'none') return { driver: 'none' };
  const { options } = log;
  const mode = options['mode'] ?? 'blocking';
  if (mode !== 'blocking') {
    throw new InvalidError(
      `invalid log opt mode=${mode}: output is never dropped, so that only blocking is known`,
    );
  }
  const files = options['max-file'];
  const maxFiles = files === undefined ? DEFAULT_FILES[log.driver] : Number(files);
  if (!Number.isInteger(maxFiles) || maxFiles < 1 || maxFiles > 1000) {
    throw new InvalidError(`invalid log opt max-file=${files}: expected a number of files from 1 to 1000`);
  }
  const size = options['max-size'];
  const attributes: Record<string, string> = {};
  const env = new Map(subject.env.map((e) => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)]));
  choose(new Map(Object.entries(subject.labels)), 'labels', options, attributes);
  choose(env, 'env', options, attributes);
  if (options['tag']) attributes['tag'] = renderTag(options['tag'], subject);
  return {
    driver: 'json-file',
    maxSize: size === undefined ? DEFAULT_SIZE[log.driver] : parseSize(size),
    maxFiles,
    attributes,
  };
}

/** `labels=a,b` and `labels-regex=^a` (the same for env): which of them go into every line. */
function choose(
  from: ReadonlyMap<string, string>,
  option: 'labels' | 'env',
  options: Readonly<Record<string, string>>,
  into: Record<string, string>,
): void {
  for (const key of (options[option] ?? '').split(',')) {
    const value = from.get(key);
    if (key !== '' && value !== undefined) into[key] = value;
  }
  const pattern = options[`${option}-regex`];
  if (!pattern) return;
  let regex: RegExp;
  try {
    regex = new RegExp(pattern);
  } catch (cause) {
    throw new InvalidError(`invalid log opt ${option}-regex=${pattern}: ${(cause as Error).message}`, {
      cause,
    });
  }
  for (const [key, value] of from) if (regex.test(key)) into[key] = value;
}

function renderTag(template: string, subject: LogSubject): string {
  const fields: Record<string, string> = {
    ID: subject.id.slice(0, 12),
    FullID: subject.id,
    Name: subject.name,
    ImageName: subject.imageName,
    ImageID: subject.imageId.replace(/^sha256:/, '').slice(0, 12),
    ImageFullID: subject.imageId,
    DaemonName: 'nsbox',
  };
  return template.replace(/\{\{\s*(.*?)\s*\}\}/g, (_, text: string) => {
    const value = text.startsWith('.') ? fields[text.slice(1)] : undefined;
    if (value !== undefined) return value;
    throw new InvalidError(`invalid log opt tag: unknown field {{${text}}}`, {
      hint: `known are ${Object.keys(fields)
        .map((f) => `{{.${f}}}`)
        .join(', ')}`,
    });
  });
}

/** `10m`, `1.5g`, `-1` (no limit): as Docker's log options, in powers of 1000. */
function parseSize(text: string): number {
  if (text === '-1') return 0;
  const match = /^(\d+(?:\.\d+)?)\s?([kmg])?b?$/i.exec(text);
  const power = { k: 1, m: 2, g: 3 }[(match?.[2] ?? '').toLowerCase()] ?? 0;
  const size = match ? Math.floor(Number(match[1]) * 1000 ** power) : 0;
  if (size < 1)
    throw new InvalidError(`invalid log opt max-size=${text}: expected a size such as 10m, or -1`);
  return size;
}
