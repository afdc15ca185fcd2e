import { ConflictError, signalNumber } from '../../base/index.js';
import { killAll } from '../../cgroup/index.js';
import { signalProcess } from '../../kernel/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load, statusOf } from '../containers.js';
import type { Runtime } from '../runtime.js';

/** `kill`: a signal for the container's first process. */
export function command(runtime: Runtime, argv: readonly string[]): number {
  const args = parseArguments(argv, [
    { name: 'all', short: 'a', kind: 'switch' },
    { name: 'regex', short: 'r', kind: 'switch' },
  ]);
  checkCount('kill', args.positional, 1, 2);
  const record = load(runtime.root, args.positional[0]!);
  const signal = signalNumber(args.positional[1] ?? 'SIGTERM');
  const all = args.switches['all'] ?? false;
  // Without a pid namespace of its own, what init started outlives it.
  if (signal === 9 && (!record.ownPid || all) && statusOf(runtime.root, record) !== 'stopped')
    killAll(record.groups);
  else if (signal === 9 && !record.ownPid) {
    killAll(record.groups);
    return 0;
  } else if (!record.init || !signalProcess(record.init, signal)) {
    if (all) return 0;
    throw new ConflictError('container not running', {
      hint: `${record.id} has ended, or was never started`,
    });
  }
  return 0;
}
