import { checkCount, type Flag, parseArguments } from '../arguments.js';
import { checkpointOptions, SHARED_FLAGS } from '../criu/options.js';
import { restore } from '../criu/restore.js';
import { destroy } from '../destroy.js';
import { catchSignals, waitInForeground } from '../foreground.js';
import type { Runtime } from '../runtime.js';

const FLAGS: Flag[] = [
  ...SHARED_FLAGS,
  { name: 'bundle', short: 'b', kind: 'text' },
  { name: 'console-socket', kind: 'text' },
  { name: 'detach', short: 'd', kind: 'switch' },
  { name: 'pid-file', kind: 'text' },
  { name: 'no-subreaper', kind: 'switch' },
  { name: 'no-pivot', kind: 'switch' },
  { name: 'lsm-profile', kind: 'text' },
  { name: 'lsm-mount-context', kind: 'text' },
];

/** `restore`: a container of images that `checkpoint` wrote. In the foreground its exit status is the program's. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, FLAGS);
  checkCount('restore', args.positional, 1);
  const detach = args.switches['detach'] ?? false;
  const options = {
    ...checkpointOptions(args, runtime.ctx.cwd),
    id: args.positional[0]!,
    bundle: args.texts['bundle'],
    consoleSocket: args.texts['console-socket'],
    pidFile: args.texts['pid-file'],
    detach,
  };
  if (detach) {
    await restore(runtime, options);
    return 0;
  }
  const signals = catchSignals();
  try {
    const { record, launched } = await restore(runtime, options);
    try {
      return await waitInForeground(launched, signals);
    } finally {
      await destroy(runtime, record, true);
    }
  } finally {
    signals.stop();
  }
}
