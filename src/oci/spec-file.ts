import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError, isErrno, NsboxError } from '../base/index.js';
import { parseJson, parseSpec, type Spec, stringifyJson } from '../spec/index.js';
import { writeFileAtomic } from '../state/index.js';
import { directoryOf } from './containers.js';
import { log } from './log.js';
import type { Runtime } from './runtime.js';

/**
 * Reads and validates the config.json of a bundle. Fields that nobody knows are named in a warning.
 * @throws InvalidError INVALID_SPEC with path and expected type; NsboxError where the file can't be read
 */
export async function readBundle(runtime: Runtime, file: string): Promise<Spec> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      throw new InvalidError(`JSON specification file ${file} not found: no such file or directory`, {
        path: file,
        hint: 'give the bundle with --bundle; `nsbox-oci spec` makes a config.json',
      });
    }
    throw fromErrno(`read ${file}`, error, { path: file });
  }
  const { value, unknown } = await parseSpec(text, file);
  if (unknown.length > 0) {
    log(runtime.log, 'warning', `${file}: unknown fields are ignored: ${unknown.join(', ')}`);
  }
  return value;
}

/** Keeps the spec with the container: the bundle may change, or go. */
export function saveSpec(root: string, id: string, spec: Spec): void {
  writeFileAtomic(path.join(directoryOf(root, id), 'config.json'), stringifyJson(spec), { durable: false });
}

/** The spec that the container was made of. Validated when it was written. */
export function loadSpec(root: string, id: string): Spec {
  const file = path.join(directoryOf(root, id), 'config.json');
  try {
    return parseJson(readFileSync(file, 'utf8')) as Spec;
  } catch (cause) {
    throw new NsboxError('INTERNAL', `cannot read the container's configuration ${file}`, {
      cause,
      path: file,
    });
  }
}
