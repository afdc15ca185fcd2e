/** What changed between two runs: `npm run bench -- compare A.json B.json`. */
import { AGAIN } from './harness.js';
import { digits, quantity } from './report/words.js';
import type { BenchResult } from './result.js';
import { median, seeded } from './stats.js';

/**
 * Compares side by side what both runs measured. Samples of two runs aren't pairs, so the ratio of medians is
 * bootstrapped over both; a change counts where its interval excludes 1 and it exceeds the noise of both runs.
 */
export function compareResults(a: BenchResult, b: BenchResult): string {
  const lines = ['| row | side | before | after | after ÷ before | |', '|---|---|---:|---:|---:|---|'];
  for (const after of b.rows) {
    const before = a.rows.find((r) => r.suite === after.suite && r.id === after.id);
    if (!before) continue;
    for (const s of after.sides) {
      const old = before.sides.find((o) => o.side === s.side);
      if (!old || s.side.endsWith(AGAIN) || s.samples.length === 0 || old.samples.length === 0) continue;
      const i = ratioOfMedians(s.samples, old.samples);
      const noise = Math.max(after.noise, before.noise);
      const counts = Math.abs(i.median - 1) > noise && (i.low > 1 || i.high < 1);
      const word = counts ? (i.median > 1 ? 'slower' : 'quicker') : '';
      lines.push(
        `| ${after.title} | ${s.side} | ${quantity(old.summary.median, after.unit)} | ${quantity(s.summary.median, after.unit)} | ${digits(i.median)} (${digits(i.low)}–${digits(i.high)}) | ${word} |`,
      );
    }
  }
  const only = (x: BenchResult, y: BenchResult): string[] =>
    x.rows.filter((r) => !y.rows.some((o) => o.suite === r.suite && o.id === r.id)).map((r) => r.title);
  for (const [name, missing] of [
    ['before', only(a, b)],
    ['after', only(b, a)],
  ] as const) {
    if (missing.length > 0) lines.push('', `Measured only ${name}: ${missing.join(', ')}.`);
  }
  for (const key of ['kernel', 'processor', 'nsbox', 'node'] as const) {
    if (a.machine[key] !== b.machine[key])
      lines.push('', `${key}: ${a.machine[key]} before, ${b.machine[key]} after.`);
  }
  return `${lines.join('\n')}\n`;
}

function ratioOfMedians(
  a: readonly number[],
  b: readonly number[],
): { median: number; low: number; high: number } {
  const random = seeded(1);
  const pick = (v: readonly number[]): number[] => v.map(() => v[Math.floor(random() * v.length)] as number);
  const resampled = Array.from({ length: 1000 }, () => median(pick(a)) / median(pick(b)));
  const sorted = resampled.sort((x, y) => x - y);
  return {
    median: median(a) / median(b),
    low: sorted[25] as number,
    high: sorted[974] as number,
  };
}
