/** The suites one after another, each within its time; one that fails is told of, and the others go on. */
import { firstLine, LEAST_ROUNDS, measure, type Row, summarise } from './harness.js';
import type { BenchResult } from './result.js';
import type { Setup } from './setup.js';
import { applicationRows } from './suites/application.js';
import { densityRows } from './suites/density.js';
import { gpuRows } from './suites/gpus.js';
import { imageRows } from './suites/image.js';
import { networkRows } from './suites/network.js';
import { ociRows } from './suites/oci.js';
import { resourceRows } from './suites/resources.js';
import { startRows } from './suites/start.js';
import { cpuRows, diskRows, memoryRows, syscallRows } from './suites/work.js';
import { traceStart } from './trace.js';

interface Suite {
  rows: (setup: Setup) => Promise<Row[]> | Row[];
  /** Seconds that a quick run gives it, its making ready included; a full run gives ten times as much. */
  seconds: number;
}

export const SUITES = {
  start: { rows: startRows, seconds: 35 },
  cpu: { rows: cpuRows, seconds: 16 },
  memory: { rows: memoryRows, seconds: 8 },
  syscalls: { rows: syscallRows, seconds: 10 },
  disk: { rows: diskRows, seconds: 20 },
  network: { rows: networkRows, seconds: 60 },
  application: { rows: applicationRows, seconds: 40 },
  density: { rows: densityRows, seconds: 12 },
  resources: { rows: resourceRows, seconds: 10 },
  gpus: { rows: gpuRows, seconds: 4 },
  oci: { rows: ociRows, seconds: 12 },
  image: { rows: imageRows, seconds: 14 },
} satisfies Record<string, Suite>;

export type SuiteName = keyof typeof SUITES;

export interface RunOptions {
  suites: readonly SuiteName[];
  /** So many for each row, whatever the time. */
  rounds?: number | undefined;
  baselineOnly: boolean;
  signal?: AbortSignal;
}

/** Measures, and fills in the result's rows, suites and trace. */
export async function runSuites(result: BenchResult, setup: Setup, options: RunOptions): Promise<void> {
  for (const name of options.suites) {
    if (options.signal?.aborted) return;
    const began = performance.now();
    const seconds = (): number => (performance.now() - began) / 1000;
    const done: BenchResult['suites'][number] = { name, seconds: 0 };
    result.suites.push(done);
    try {
      const budget = SUITES[name].seconds * (setup.quick ? 1 : 10);
      await oneSuite(name, SUITES[name], result, setup, options, () => budget - seconds());
      if (name === 'start' && !options.baselineOnly) result.trace = await traceStart(setup.place);
    } catch (error) {
      if (options.signal?.aborted) return;
      done.failed = firstLine(error);
      result.rows.push(failedRow(name, done.failed));
      process.stderr.write(`${name}: ${(error as Error).stack ?? error}\n`);
    }
    done.seconds = Math.round(seconds() * 10) / 10;
    process.stderr.write(`${name}: ${done.seconds} s\n`);
  }
}

/** A suite that could not be measured, as a row that says why. */
function failedRow(suite: string, why: string): ReturnType<typeof summarise> {
  const row = {
    suite,
    id: `${suite}-failed`,
    title: `The suite ${suite}`,
    unit: 'ns',
    base: 'bare',
  } as const;
  return summarise(row, new Map([['bare', []]]), new Map([['bare', why]]));
}

/** @param left - seconds that remain to the suite */
async function oneSuite(
  name: string,
  suite: Suite,
  result: BenchResult,
  setup: Setup,
  options: RunOptions,
  left: () => number,
): Promise<void> {
  const rows = await suite.rows(setup);
  const open = new Set(rows);
  const close = async (row: Row): Promise<void> => {
    open.delete(row);
    try {
      await row.close?.();
    } catch (error) {
      setup.skip(`cleaning up after ${row.title}`, firstLine(error));
    }
  };
  try {
    for (const [i, row] of rows.entries()) {
      process.stderr.write(`${name}: ${row.title}\n`);
      if (options.baselineOnly) {
        const base = row.sides.find((s) => s.name === row.base);
        if (base) row.sides = [base, { name: 'nsbox', run: () => base.run() }];
      }
      result.rows.push(
        await measure(row, {
          ...(options.rounds
            ? { rounds: options.rounds }
            : { budget: Math.max(0, (left() / (rows.length - i)) * 1000), least: LEAST_ROUNDS }),
          seed: result.rows.length + 1,
          signal: options.signal,
        }),
      );
      // What a row holds may serve those after it: only the last one's `close` ends the suite's servers.
      await close(row);
    }
  } finally {
    for (const row of [...open]) await close(row);
  }
}
