import { checkCount, parseArguments } from '../arguments.js';
import { load } from '../containers.js';
import type { Runtime } from '../runtime.js';
import { startContainer } from '../start.js';

/** `start`: lets the program of a created container run. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, []);
  checkCount('start', args.positional, 1);
  await startContainer(runtime, load(runtime.root, args.positional[0]!));
  return 0;
}
