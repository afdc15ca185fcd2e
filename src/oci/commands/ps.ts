import { InvalidError, NsboxError } from '../../base/index.js';
import { directoriesOf, pidsIn } from '../../cgroup/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load } from '../containers.js';
import { print } from '../log.js';
import type { Runtime } from '../runtime.js';

/** `ps`: the container's processes, as an array of pids or as ps(1) shows them. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, [{ name: 'format', short: 'f', kind: 'text' }], { stopAfter: 1 });
  checkCount('ps', args.positional, 1, Number.POSITIVE_INFINITY);
  const [id, ...psArguments] = args.positional;
  const record = load(runtime.root, id!);
  const pids = [...new Set(directoriesOf(record.groups).flatMap(pidsIn))].sort((a, b) => a - b);
  const format = args.texts['format'] ?? 'table';
  if (format === 'json') {
    print(1, `${JSON.stringify(pids)}\n`);
    return 0;
  }
  if (format !== 'table') throw new InvalidError('invalid format option');
  const { execFileSync } = await import('node:child_process');
  let output: string;
  try {
    output = execFileSync('ps', psArguments.length > 0 ? psArguments : ['-ef'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...runtime.ctx.env },
    });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim().split('\n')[0] || (cause as Error).message;
    throw new NsboxError('INTERNAL', `ps: ${said}`, { cause });
  }
  const [title = '', ...lines] = output.split('\n');
  const column = title.trim().split(/\s+/).indexOf('PID');
  if (column < 0) throw new InvalidError("couldn't find PID field in ps output");
  const mine = lines.filter((l) => pids.includes(Number(l.trim().split(/\s+/)[column])));
  print(1, `${[title, ...mine].join('\n')}\n`);
  return 0;
}
