import { InvalidError } from '../base/index.js';
import type { ImageConfig } from './image-config.js';
import { parseJson } from './json.js';
import type { OciState, Spec, SpecMount, SpecProcess } from './runtime.js';
import type { OciFeatures } from './runtime-features.js';
import type { SpecResources, SpecSeccomp } from './runtime-linux.js';
import type { Fault, Schema } from './shape.js';

/** A document that was accepted, and the fields in it that its schema doesn't know. */
export interface Parsed<T> {
  value: T;
  /** JSON paths of fields that nsbox ignores, for a warning. */
  unknown: string[];
}

/**
 * Validates an OCI config.json.
 * @param source the text of the document, or its parsed value
 * @param name what the message calls it, such as the file's path
 * @throws InvalidError INVALID_SPEC with the JSON path and the expected type of the first few faults
 */
export async function parseSpec(source: unknown, name = 'config.json'): Promise<Parsed<Spec>> {
  const { specSchema } = await import('./runtime.js');
  const parsed = parse(specSchema, source, name);
  checkVersion(parsed.value.ociVersion, name);
  return parsed;
}

/** Validates a process.json, as `exec -p` takes it. */
export async function parseProcess(source: unknown, name = 'process.json'): Promise<Parsed<SpecProcess>> {
  const { processSchema } = await import('./runtime.js');
  return parse(processSchema, source, name);
}

/** Validates a list of mounts, as `mounts add` takes it. */
export async function parseMounts(source: unknown, name = 'mounts'): Promise<Parsed<SpecMount[]>> {
  const { mountsSchema } = await import('./runtime.js');
  return parse(mountsSchema, source, name);
}

/** Validates linux.resources, as `update -r` takes it. */
export async function parseResources(source: unknown, name = 'resources'): Promise<Parsed<SpecResources>> {
  const { resourcesSchema } = await import('./runtime-linux.js');
  return parse(resourcesSchema, source, name);
}

/** Validates a linux.seccomp section by itself. */
export async function parseSeccomp(source: unknown, name = 'seccomp'): Promise<Parsed<SpecSeccomp>> {
  const { seccompSchema } = await import('./runtime-linux.js');
  return parse(seccompSchema, source, name);
}

/** Validates the state document of runtime-spec. */
export async function parseState(source: unknown, name = 'state'): Promise<Parsed<OciState>> {
  const { stateSchema } = await import('./runtime.js');
  return parse(stateSchema, source, name);
}

/** Validates what a runtime's `features` command prints. */
export async function parseFeatures(source: unknown, name = 'features'): Promise<Parsed<OciFeatures>> {
  const { featuresSchema } = await import('./runtime-features.js');
  return parse(featuresSchema, source, name);
}

/** Validates the configuration of an image. Fields beyond the standard are kept. */
export async function parseImageConfig(source: unknown, name = 'image config'): Promise<Parsed<ImageConfig>> {
  const { imageConfigSchema } = await import('./image-config.js');
  return parse(imageConfigSchema, source, name);
}

/** Parses and validates; the core that all of the above share. */
export function parse<T>(schema: Schema<T>, source: unknown, name: string): Parsed<T> {
  let document = source;
  if (typeof source === 'string') {
    try {
      document = parseJson(source);
    } catch (cause) {
      throw new InvalidError(`${name} is not valid JSON: ${(cause as Error).message}`, {
        code: 'INVALID_SPEC',
        cause,
      });
    }
  }
  const clean = withoutNulls(document);
  const result = schema.parse(clean);
  if ('faults' in result) {
    const { faults } = result;
    const shown = faults.slice(0, 5).map((fault) => describe(fault, clean));
    const more = faults.length > 5 ? `; and ${faults.length - 5} more` : '';
    throw new InvalidError(`${name}: ${shown.join('; ')}${more}`, {
      code: 'INVALID_SPEC',
      path: jsonPath(faults[0]?.path ?? []),
    });
  }
  return { value: result.value, unknown: unknownFields(clean, result.value) };
}

/**
 * Go's decoders, which every other runtime uses, read null as "absent"; engines do send it (`"hooks": null`).
 * Elements of arrays stay, so that a null there is named as a fault.
 */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== 'object') return value;
  const out: Record<string, unknown> = {};
  for (const [k, v] of Object.entries(value)) {
    if (v === null || v === undefined) continue;
    // Plain assignment would set the prototype.
    if (k === '__proto__') Object.defineProperty(out, k, { value: v, enumerable: true });
    else out[k] = withoutNulls(v);
  }
  return out;
}

function describe(fault: Fault, document: unknown): string {
  const where = jsonPath(fault.path);
  let got: unknown = document;
  for (const key of fault.path) got = (got as Record<PropertyKey, unknown> | undefined)?.[key];
  return `${where === '' ? 'the document' : where}: ${fault.message}${received(got)}`;
}

function received(value: unknown): string {
  if (value === undefined) return ', but it is missing';
  if (value === null) return ', received null';
  if (Array.isArray(value)) return ', received an array';
  if (typeof value === 'object') return ', received an object';
  const text = typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
  return `, received ${text.length > 60 ? `${text.slice(0, 57)}…` : text} (${typeof value === 'bigint' ? 'number' : typeof value})`;
}

/** `linux.resources.hugepageLimits[0].pageSize`; keys that aren't identifiers in brackets and quotes. */
export function jsonPath(path: readonly PropertyKey[]): string {
  let out = '';
  for (const key of path) {
    if (typeof key === 'number') out += `[${key}]`;
    else if (/^[A-Za-z_$][\w$]*$/.test(String(key))) out += out === '' ? String(key) : `.${String(key)}`;
    else out += `[${JSON.stringify(String(key))}]`;
  }
  return out;
}

/** Fields of the input that validation dropped. */
function unknownFields(
  input: unknown,
  output: unknown,
  path: PropertyKey[] = [],
  found: string[] = [],
): string[] {
  if (Array.isArray(input)) {
    if (!Array.isArray(output)) return found;
    for (const [i, element] of input.entries()) unknownFields(element, output[i], [...path, i], found);
  } else if (input !== null && typeof input === 'object' && output !== null && typeof output === 'object') {
    for (const [key, value] of Object.entries(input)) {
      if (Object.hasOwn(output, key)) {
        unknownFields(value, (output as Record<string, unknown>)[key], [...path, key], found);
      } else {
        found.push(jsonPath([...path, key]));
      }
    }
  }
  return found;
}

/** The version of runtime-spec that nsbox implements. */
export const OCI_VERSION = '1.3.0';

/**
 * Any 1.x is accepted (later minors only add fields, which are then named as unknown), and the drafts before it, which
 * old bundles still carry.
 */
function checkVersion(version: string, name: string): void {
  if (/^[01]\.\d+\.\d+([-+].*)?$/.test(version)) return;
  throw new InvalidError(
    /^\d+\.\d+\.\d+([-+].*)?$/.test(version)
      ? `${name}: ociVersion: expected version 1 of runtime-spec, received ${JSON.stringify(version)}`
      : `${name}: ociVersion: expected a version such as "1.3.0", received ${JSON.stringify(version)}`,
    { code: 'INVALID_SPEC', path: 'ociVersion' },
  );
}
