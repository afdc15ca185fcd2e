import { InvalidError, isErrno } from '../../base/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { listIds, load } from '../containers.js';
import { type Description, describe } from '../describe.js';
import { print } from '../log.js';
import type { Runtime } from '../runtime.js';

/** `list`: every container below the root. */
export function command(runtime: Runtime, argv: readonly string[]): number {
  const args = parseArguments(argv, [
    { name: 'format', short: 'f', kind: 'text' },
    { name: 'quiet', short: 'q', kind: 'switch' },
  ]);
  checkCount('list', args.positional, 0);
  const format = args.texts['format'] ?? 'table';
  if (format !== 'table' && format !== 'json') throw new InvalidError('invalid format option');
  const all: Description[] = [];
  for (const id of ids(runtime)) {
    try {
      all.push(describe(runtime.root, load(runtime.root, id)));
    } catch {
      // Being made or being removed.
    }
  }
  if (args.switches['quiet']) print(1, all.map((c) => `${c.id}\n`).join(''));
  else if (format === 'json') print(1, `${JSON.stringify(all.length > 0 ? all : null)}\n`);
  else {
    const rows = [
      ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'],
      ...all.map((c) => [c.id, String(c.pid), c.status, c.bundle, c.created, c.owner]),
    ];
    // As Go's tabwriter with a least width of 12 and a padding of 3.
    const widths = rows[0]!.map((_, i) => Math.max(12, ...rows.map((r) => r[i]!.length + 3)));
    const line = (r: string[]) =>
      `${r.map((cell, i) => (i < r.length - 1 ? cell.padEnd(widths[i]!) : cell)).join('')}\n`;
    print(1, rows.map(line).join(''));
  }
  return 0;
}

function ids(runtime: Runtime): string[] {
  try {
    return listIds(runtime.root);
  } catch (error) {
    // The default root appears with the first container; one that was named must be there.
    if (!runtime.rootGiven && isErrno(error, 'ENOENT')) return [];
    throw new InvalidError(`open ${runtime.root}: no such file or directory`, { cause: error });
  }
}
