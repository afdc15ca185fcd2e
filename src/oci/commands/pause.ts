import { ConflictError } from '../../base/index.js';
import { freeze } from '../../cgroup/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load, statusOf } from '../containers.js';
import type { Runtime } from '../runtime.js';

/** `pause`: stops every process of the container where it is. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, []);
  checkCount('pause', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  const status = statusOf(runtime.root, record);
  if (status !== 'running' && status !== 'created') {
    throw new ConflictError(`container not running: ${record.id} is ${status}`);
  }
  await freeze(record.groups);
  return 0;
}
