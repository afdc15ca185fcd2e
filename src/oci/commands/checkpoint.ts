import { checkCount, type Flag, parseArguments } from '../arguments.js';
import { load } from '../containers.js';
import { dump } from '../criu/dump.js';
import { checkpointOptions, SHARED_FLAGS } from '../criu/options.js';
import { destroy } from '../destroy.js';
import { log } from '../log.js';
import type { Runtime } from '../runtime.js';

const FLAGS: Flag[] = [
  ...SHARED_FLAGS,
  { name: 'parent-path', kind: 'text' },
  { name: 'leave-running', kind: 'switch' },
  { name: 'tcp-skip-in-flight', kind: 'switch' },
  { name: 'link-remap', kind: 'switch' },
  { name: 'status-fd', kind: 'number' },
  { name: 'page-server', kind: 'text' },
  { name: 'pre-dump', kind: 'switch' },
];

/** `checkpoint`: a container's processes become images; the container goes, unless it shall go on. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, FLAGS);
  checkCount('checkpoint', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  const options = checkpointOptions(args, runtime.ctx.cwd);
  await dump(runtime, record, options);
  if (!options.leaveRunning && !options.preDump) {
    try {
      await destroy(runtime, record, true);
    } catch (error) {
      log(runtime.log, 'warning', (error as Error).message);
    }
  }
  return 0;
}
