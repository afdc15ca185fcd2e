import { ConflictError } from '../../base/index.js';
import { thaw } from '../../cgroup/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load, statusOf } from '../containers.js';
import type { Runtime } from '../runtime.js';

/** `resume`: lets a paused container go on. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, []);
  checkCount('resume', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  if (statusOf(runtime.root, record) !== 'paused') throw new ConflictError('container not paused');
  await thaw(record.groups);
  return 0;
}
