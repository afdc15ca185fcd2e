import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, InvalidError } from '../../base/index.js';
import { parseJson, parseMounts } from '../../spec/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load, statusOf } from '../containers.js';
import { addMounts, removeMounts } from '../live-mounts.js';
import type { Runtime } from '../runtime.js';

/** `mounts add|remove CONTAINER FILE`: other mounts for a container that runs, as crun has it. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, []);
  checkCount('mounts', args.positional, 3);
  const [verb, id, given] = args.positional as [string, string, string];
  if (verb !== 'add' && verb !== 'remove') {
    throw new InvalidError(`unknown command ${verb}`, { hint: 'mounts add|remove CONTAINER FILE' });
  }
  const record = load(runtime.root, id);
  const status = statusOf(runtime.root, record);
  if (status !== 'running' && status !== 'paused') {
    throw new ConflictError(
      `container not running: mounts of a container in the ${status} state can't be changed`,
    );
  }
  const file = path.resolve(runtime.ctx.cwd, given);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fromErrno(`read ${file}`, error, { path: file });
  }
  const document = parseJson(text);
  if (!Array.isArray(document)) throw new InvalidError(`${file}: mounts must be an array`);
  const { value: mounts } = await parseMounts(document, file);
  if (verb === 'add') await addMounts(runtime, record, mounts);
  else await removeMounts(runtime, record, mounts);
  return 0;
}
