import { checkCount, parseArguments } from '../arguments.js';
import { load } from '../containers.js';
import { describe } from '../describe.js';
import { print } from '../log.js';
import type { Runtime } from '../runtime.js';

/** `state`: the container's state document. */
export function command(runtime: Runtime, argv: readonly string[]): number {
  const args = parseArguments(argv, []);
  checkCount('state', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  print(1, JSON.stringify(describe(runtime.root, record), undefined, 2));
  return 0;
}
