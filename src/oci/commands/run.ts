import { checkCount, parseArguments } from '../arguments.js';
import { createContainer } from '../create.js';
import { destroy } from '../destroy.js';
import { catchSignals, waitInForeground } from '../foreground.js';
import type { Runtime } from '../runtime.js';
import { startContainer } from '../start.js';
import { CREATE_FLAGS, createOptions } from './create.js';

/** `run`: create and start; in the foreground also wait, and delete. Exit status: the program's. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, [
    ...CREATE_FLAGS,
    { name: 'detach', short: 'd', kind: 'switch' },
    { name: 'keep', kind: 'switch' },
  ]);
  checkCount('run', args.positional, 1);
  const detach = args.switches['detach'] ?? false;
  const options = createOptions(args, detach);
  if (detach) {
    const { record } = await createContainer(runtime, options);
    try {
      await startContainer(runtime, record);
    } catch (error) {
      await destroy(runtime, record, true);
      throw error;
    }
    return 0;
  }
  const signals = catchSignals();
  try {
    const { record, launched, notify } = await createContainer(runtime, options);
    // The main process is this one: it ends as the container does.
    notify
      ?.forward(process.pid, record.init!)
      .then(notify.close, (error: Error) => runtime.ctx.warn(error.message));
    try {
      return await waitInForeground(launched, signals);
    } finally {
      notify?.close();
      if (!args.switches['keep']) await destroy(runtime, record, true);
    }
  } finally {
    signals.stop();
  }
}
