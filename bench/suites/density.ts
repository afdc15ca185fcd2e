/** What an idle container holds: memory and processes besides its own program. */
import { readFileSync } from 'node:fs';
import type { Row } from '../harness.js';
import { commandLine, importImage } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { output } from '../timer.js';

/** Proportional set size of a process: its own pages whole, shared ones by share. In bytes. */
function pss(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024;
}

function parent(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

export async function densityRows(setup: Setup): Promise<Row[]> {
  const { place } = setup;
  const n = setup.quick ? 10 : 100;
  await importImage(place);
  const pids: number[] = [];
  const ids: string[] = [];
  const nsbox = (...argv: string[]): Promise<string> => output(commandLine(place, ...argv));
  for (let i = 0; i < n; i++) {
    const id = (await nsbox('run', '-d', '--network', 'none', 'bench', 'sleep', '1000000')).trim();
    ids.push(id);
    pids.push(Number((await nsbox('inspect', '--format', '{{.State.Pid}}', id)).trim()));
  }
  let programAt = 0;
  let monitorAt = 0;
  return [
    {
      suite: 'density',
      id: `idle-${n}`,
      title: `Memory of one of ${n} idle containers`,
      unit: 'bytes',
      base: 'the program itself (sleep)',
      rounds: n - 1,
      sides: [
        { name: 'the program itself (sleep)', run: async () => pss(pids[programAt++ % n] as number) },
        { name: "nsbox's monitor", run: async () => pss(parent(pids[monitorAt++ % n] as number)) },
      ],
      close: async () => {
        for (let i = 0; i < ids.length; i += 50) await nsbox('rm', '-f', ...ids.slice(i, i + 50));
      },
    },
  ];
}
