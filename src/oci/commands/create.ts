import { checkCount, type Flag, type Parsed, parseArguments } from '../arguments.js';
import { type CreateOptions, createContainer } from '../create.js';
import type { Runtime } from '../runtime.js';

/** Flags that create and run share. */
export const CREATE_FLAGS: Flag[] = [
  { name: 'bundle', short: 'b', kind: 'text' },
  { name: 'config', short: 'f', kind: 'text' },
  { name: 'console-socket', kind: 'text' },
  { name: 'pidfd-socket', kind: 'text' },
  { name: 'pid-file', kind: 'text' },
  { name: 'preserve-fds', kind: 'number' },
  { name: 'no-pivot', kind: 'switch' },
  { name: 'no-new-keyring', kind: 'switch' },
  { name: 'no-subreaper', kind: 'switch' },
];

/** What the shared flags mean. */
export function createOptions(args: Parsed, wait: boolean): CreateOptions {
  return {
    id: args.positional[0]!,
    bundle: args.texts['bundle'],
    config: args.texts['config'],
    consoleSocket: args.texts['console-socket'],
    pidfdSocket: args.texts['pidfd-socket'],
    pidFile: args.texts['pid-file'],
    preserveFds: args.numbers['preserve-fds'] ?? 0,
    noPivot: args.switches['no-pivot'] ?? false,
    noNewKeyring: args.switches['no-new-keyring'] ?? false,
    wait,
    detached: wait,
  };
}

/** `create`: a container up to the point where `start` lets its program run. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, CREATE_FLAGS);
  checkCount('create', args.positional, 1);
  await createContainer(runtime, createOptions(args, true));
  return 0;
}
