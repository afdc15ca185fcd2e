/** The steps of one start, as `nsbox run --trace` prints them. */
import { commandLine, importImage, type Place } from './nsbox.js';
import type { Trace } from './result.js';
import { outputs } from './timer.js';

/** Reads what `--trace` prints: when each step began and how long it took, in microseconds, and what it was. */
export function readTrace(text: string): Trace['steps'] {
  const steps: Trace['steps'] = [];
  for (const line of text.split('\n')) {
    const [, at, took, list, title] = /^\s*([\d.]+)\s+([\d.]+)\s+(\w+): (.*)$/.exec(line) ?? [];
    if (at === undefined || took === undefined || list === undefined || title === undefined) continue;
    const start = Number(at) * 1000;
    steps.push({ list, title, start, end: start + Number(took) * 1000 });
  }
  return steps;
}

const total = (steps: Trace['steps']): number => Math.max(...steps.map((s) => s.end));

/** Traces several starts and gives the one in the middle. */
export async function traceStart(place: Place, starts = 7): Promise<Trace> {
  await importImage(place);
  const args = ['run', '--rm', '--trace', '--network', 'bridge', 'bench', '/true'];
  const runs: Trace['steps'][] = [];
  for (let i = 0; i < starts; i++) {
    const { stderr } = await outputs(commandLine(place, ...args));
    const steps = readTrace(stderr);
    if (steps.length === 0) throw new Error('--trace printed no steps');
    runs.push(steps);
  }
  runs.sort((a, b) => total(a) - total(b));
  return {
    command: `nsbox ${args.join(' ')}`,
    steps: runs[Math.floor(runs.length / 2)] as Trace['steps'],
  };
}
