/** How anything is measured here: sides of a row, interleaved in random order, with an A/A pair among them. */
import { compare, type Interval, medianInterval, noiseOf, type Ratio, seeded } from './stats.js';

/** One way of doing the work. */
export interface Side {
  name: string;
  /** Does the work once; resolves to its nanoseconds (or another quantity of which less is better). */
  run(): Promise<number>;
}

/** The same work done in several ways. */
export interface Row {
  suite: string;
  id: string;
  title: string;
  /** Of one sample: ns, or bytes for memory. */
  unit: 'ns' | 'bytes' | 'count';
  /** The side that the others are compared with. It is measured twice a round: that is the noise. */
  base: string;
  sides: Side[];
  /** Milliseconds that a side may take once, where two minutes are too few: the first may make what all use. */
  patience?: number;
  /** How often everything is done; a suite knows what its work needs. */
  rounds: number;
  /** What one sample amounts to, for figures by the second: 8 Gibit, 1 request. */
  rate?: Rate;
  /** Ends what the sides hold. */
  close?: () => Promise<void>;
}

/** Sample and amount make a rate: `amount` of `unit` in the sample's time. */
export interface Rate {
  amount: number;
  unit: 'bit/s' | 'B/s' | '/s';
}

export interface SideResult {
  side: string;
  samples: number[];
  summary: Interval;
  /** Against the row's base; absent for the base itself. */
  ratio?: Ratio;
  /** Why there are no samples, or not all of them. */
  failed?: string;
}

export interface RowResult {
  suite: string;
  id: string;
  title: string;
  unit: Row['unit'];
  base: string;
  rate?: Rate;
  /** Half-width of the A/A ratio around 1. */
  noise: number;
  sides: SideResult[];
}

/** The base measured a second time. */
export const AGAIN = ' (again)';

export interface MeasureOptions {
  rounds?: number;
  seed?: number;
  /** Milliseconds after which no further round begins, once there are `least` of them. */
  budget?: number;
  least?: number;
  /** Milliseconds that a side may take once; it is left out from then on. The row's own, or two minutes, unless told. */
  patience?: number;
  signal?: AbortSignal | undefined;
}

/** Fewer rounds than these have no 95 % interval. */
export const LEAST_ROUNDS = 6;

/**
 * Measures a row. Each round does every side once, in a new random order; the first round is dropped.
 * A side that fails is left out from then on, with the reason in the result.
 */
export async function measure(row: Row, options: MeasureOptions = {}): Promise<RowResult> {
  const random = seeded(options.seed ?? 1);
  const base = row.sides.find((s) => s.name === row.base);
  if (!base) throw new Error(`row ${row.id} has no side named ${row.base}`);
  const sides = [...row.sides, { name: base.name + AGAIN, run: () => base.run() }];
  const samples = new Map<string, number[]>(sides.map((s) => [s.name, []]));
  const failed = new Map<string, string>();
  const rounds = options.rounds ?? row.rounds;
  const end = performance.now() + (options.budget ?? Number.POSITIVE_INFINITY);
  for (let round = -1; round < rounds; round++) {
    if (round >= (options.least ?? LEAST_ROUNDS) && performance.now() > end) break;
    for (const side of shuffled(sides, random)) {
      options.signal?.throwIfAborted();
      if (failed.has(side.name)) continue;
      try {
        const value = await patient(side.run(), options.patience ?? row.patience ?? 120_000);
        if (round >= 0) samples.get(side.name)?.push(value);
      } catch (error) {
        failed.set(side.name, firstLine(error));
      }
    }
    if (failed.has(base.name)) break; // nothing to compare with
  }
  return summarise(row, samples, failed);
}

/** The first line of an error's message: what fits into a table. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().split('\n')[0] ?? '';
}

async function patient(work: Promise<number>, ms: number): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Turns samples into what the report shows. Pure: the same samples give the same result. */
export function summarise(
  row: Pick<Row, 'suite' | 'id' | 'title' | 'unit' | 'base' | 'rate'>,
  samples: ReadonlyMap<string, number[]>,
  failed: ReadonlyMap<string, string> = new Map(),
): RowResult {
  const bases = samples.get(row.base) ?? [];
  const noise = noiseOf(bases, samples.get(row.base + AGAIN) ?? []);
  const sides = [...samples].map(([side, values]): SideResult => {
    const why = failed.get(side);
    return {
      side,
      samples: values,
      summary: medianInterval(values),
      ...(side !== row.base && values.length > 0 && bases.length > 0
        ? { ratio: compare(values, bases, noise) }
        : {}),
      ...(why !== undefined ? { failed: why } : {}),
    };
  });
  const { suite, id, title, unit, base, rate } = row;
  return { suite, id, title, unit, base, ...(rate ? { rate } : {}), noise, sides };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
