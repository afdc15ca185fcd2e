import { InvalidError } from '../base/index.js';

export interface GpusFlag {
  /** Whose GPUs; the first vendor that has any where absent. */
  driver: 'nvidia' | 'amd' | 'intel' | undefined;
  /** `all`, so many of them, or those named. */
  devices: 'all' | number | string[];
  /** Empty: what the image says, or utility and compute. */
  capabilities: string[];
}

export const CAPABILITIES = [
  'compute',
  'compat32',
  'graphics',
  'utility',
  'video',
  'display',
  'ngx',
] as const;
export type Capability = (typeof CAPABILITIES)[number];

const KEYS = new Set(['driver', 'count', 'device', 'capabilities', 'options']);
const DRIVERS = new Set(['nvidia', 'amd', 'intel']);

/**
 * `--gpus all`, `--gpus 2`, `--gpus device=0,GPU-…`, `--gpus '"device=0,1",capabilities=compute,utility'`: Docker's
 * grammar (a CSV line), where the quotes round a list may be left out.
 * @throws InvalidError
 */
export function parseGpusFlag(text: string): GpusFlag {
  const values = new Map<string, string[]>();
  let list: string[] | undefined;
  for (const field of splitCsv(text)) {
    const equals = field.indexOf('=');
    const key = equals < 0 ? '' : field.slice(0, equals).toLowerCase();
    if (KEYS.has(key)) {
      if (values.has(key)) throw bad(text, `"${key}" is there twice`);
      const value = field.slice(equals + 1);
      if (value === '') throw bad(text, `"${key}" has no value`);
      list = value.split(',').map((v) => v.trim());
      values.set(key, list);
      if (key === 'count' || key === 'driver') list = undefined;
    } else if (equals >= 0 && key !== '') {
      throw bad(text, `unknown key "${key}"`);
    } else if (list && field !== '') {
      list.push(field);
    } else if (/^(all|-?\d+)$/.test(field) && !values.has('count')) {
      values.set('count', [field]);
    } else {
      throw bad(text, field === '' ? 'an empty field' : `"${field}" isn't a number of GPUs`);
    }
  }
  return {
    driver: driverOf(text, values.get('driver')),
    devices: devicesOf(text, values.get('count')?.[0], values.get('device')),
    capabilities: values.get('capabilities') ?? [],
  };
}

function driverOf(text: string, value: string[] | undefined): GpusFlag['driver'] {
  const driver = value?.join(',');
  if (driver === undefined) return undefined;
  if (!DRIVERS.has(driver)) throw bad(text, `unknown driver "${driver}": nvidia, amd or intel`);
  return driver as GpusFlag['driver'];
}

function devicesOf(text: string, count: string | undefined, ids: string[] | undefined): GpusFlag['devices'] {
  if (ids && count !== undefined) throw bad(text, 'give a number of GPUs or name them, not both');
  if (ids) {
    if (ids.some((id) => id === '')) throw bad(text, 'an empty device name');
    return ids.length === 1 && ids[0] === 'all' ? 'all' : [...new Set(ids)];
  }
  // Docker's default, where only a driver or capabilities are given, is one GPU.
  if (count === undefined) return 1;
  if (count === 'all' || count === '-1') return 'all';
  if (!/^\d+$/.test(count)) throw bad(text, `"${count}" isn't a number of GPUs`);
  return Number(count);
}

/**
 * Capabilities by NVIDIA's names; `all` is all of them, `gpu` (Docker's own word) none in particular.
 * @throws InvalidError
 */
export function parseCapabilities(names: readonly string[], where: string): Set<Capability> {
  const found = new Set<Capability>();
  for (const name of names.map((n) => n.trim()).filter((n) => n !== '' && n !== 'gpu' && n !== 'nvidia')) {
    if (name === 'all') {
      for (const c of CAPABILITIES) found.add(c);
    } else if ((CAPABILITIES as readonly string[]).includes(name)) {
      found.add(name as Capability);
    } else {
      throw new InvalidError(`unknown GPU capability "${name}" in ${where}`, {
        hint: `they are ${CAPABILITIES.join(', ')} and all`,
      });
    }
  }
  return found;
}

/** Fields of one CSV line: quotes may stand round a field, and doubled inside it. */
function splitCsv(text: string): string[] {
  const fields: string[] = [];
  let rest = text;
  for (;;) {
    const quoted = /^"((?:[^"]|"")*)"(?:,|$)/.exec(rest);
    const match = quoted ?? /^([^,]*)(?:,|$)/.exec(rest);
    if (!match) throw bad(text, 'a quote that is not closed');
    fields.push((match[1] as string).replaceAll('""', '"').trim());
    if (!match[0].endsWith(',')) return fields;
    rest = rest.slice(match[0].length);
  }
}

function bad(text: string, why: string): InvalidError {
  return new InvalidError(`invalid --gpus "${text}": ${why}`, {
    hint: 'as in: all, 2, device=0,1, device=GPU-<uuid>, "all,capabilities=compute,utility"',
  });
}
