import { ConflictError } from '../../base/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { checkId, forget, listIds, load, type OciRecord, statusOf } from '../containers.js';
import { destroy } from '../destroy.js';
import type { Runtime } from '../runtime.js';

/** `delete`: everything of a container that has ended; with --force also of one that runs, or was half made. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, [
    { name: 'force', short: 'f', kind: 'switch' },
    { name: 'regex', kind: 'switch' },
  ]);
  checkCount('delete', args.positional, 1);
  const force = args.switches['force'] ?? false;
  const given = args.positional[0]!;
  if (args.switches['regex']) {
    const pattern = new RegExp(given);
    for (const id of listIds(runtime.root)) if (pattern.test(id)) await remove(runtime, id, force);
    return 0;
  }
  await remove(runtime, given, force);
  return 0;
}

async function remove(runtime: Runtime, id: string, force: boolean): Promise<void> {
  let record: OciRecord;
  try {
    record = load(runtime.root, id);
  } catch (error) {
    checkId(id);
    // A create that was killed before it wrote anything leaves an empty directory.
    forget(runtime.root, id);
    if (force) return;
    throw error;
  }
  const status = statusOf(runtime.root, record);
  if (!force && status !== 'stopped' && status !== 'created') {
    throw new ConflictError(`cannot delete container ${id} that is not stopped: ${status}`, {
      hint: 'kill it first, or use --force',
    });
  }
  await destroy(runtime, record, force || status === 'created');
}
