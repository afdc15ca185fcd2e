/** The statistics of the reports: medians, bootstrap intervals, ratios pair by pair, and what counts as a loss. */

/** Numbers in [0, 1) that come out the same for the same seed (mulberry32), so that a report can be recomputed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The q-quantile of values, interpolated linearly between order statistics (type 7 of Hyndman and Fan 1996). */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const below = sorted[low] as number;
  const above = sorted[Math.min(low + 1, sorted.length - 1)] as number;
  return below + (above - below) * (at - low);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export interface Interval {
  /** Median of the sample. */
  median: number;
  low: number;
  high: number;
}

/**
 * The median with its 95 % confidence interval, from order statistics of the sample: for n independent values the
 * number below the true median is binomial(n, ½), so the interval holds it with at least 95 % whatever the
 * distribution is (Conover 1999, §3.2). With fewer than six values no such interval exists; it is then the range.
 */
export function medianInterval(values: readonly number[], confidence = 0.95): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let skip = 0;
  let tail = 0.5 ** n;
  let term = tail;
  for (let k = 1; k < n / 2; k++) {
    term = (term * (n - k + 1)) / k;
    // After skipping k values at each end, the interval misses with probability 2·P(X ≤ k-1).
    if (2 * tail > 1 - confidence) break;
    skip = k - 1;
    tail += term;
  }
  return {
    median: median(values),
    low: sorted[skip] ?? Number.NaN,
    high: sorted[n - 1 - skip] ?? Number.NaN,
  };
}

/**
 * The median with its percentile-bootstrap interval (Efron 1979): for samples whose values depend on each other too
 * little to matter, such as ratios of interleaved pairs.
 */
export function bootstrap(
  values: readonly number[],
  options: { resamples?: number; confidence?: number; seed?: number } = {},
): Interval {
  const n = values.length;
  const resamples = options.resamples ?? 2000;
  const random = seeded(options.seed ?? 1);
  const medians = new Array<number>(resamples);
  const draw = new Array<number>(n);
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < n; i++) draw[i] = values[Math.floor(random() * n)] as number;
    medians[r] = median(draw);
  }
  const beyond = (1 - (options.confidence ?? 0.95)) / 2;
  return { median: median(values), low: quantile(medians, beyond), high: quantile(medians, 1 - beyond) };
}

/** What a ratio says: `cost` and `saving` only where the interval excludes 1 and the difference exceeds the noise. */
export type Verdict = 'cost' | 'saving' | 'none';

export interface Ratio extends Interval {
  verdict: Verdict;
}

/** Ratios pair by pair: a[i] and b[i] were measured in the same round. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  const n = Math.min(a.length, b.length);
  return Array.from({ length: n }, (_, i) => (a[i] as number) / (b[i] as number));
}

/** How far two sides that are the same thing were apart in this run: the bound below which nothing is claimed. */
export function noiseOf(same: readonly number[], again: readonly number[]): number {
  const i = interval(ratios(again, same));
  return Math.max(Math.abs(i.low - 1), Math.abs(i.high - 1));
}

/** The wider of both intervals: few pairs make the bootstrap too narrow, order statistics never are. */
function interval(values: readonly number[]): Interval {
  const b = bootstrap(values);
  const m = medianInterval(values);
  return { median: m.median, low: Math.min(b.low, m.low), high: Math.max(b.high, m.high) };
}

/**
 * Compares times (less is better) of a side with those of its base line.
 * @param noise - from the A/A pair of the same run
 */
export function compare(side: readonly number[], base: readonly number[], noise: number): Ratio {
  const i = interval(ratios(side, base));
  const beyond = Math.abs(i.median - 1) > noise;
  // Fewer than six pairs have no 95 % interval, and so say nothing.
  const enough = Math.min(side.length, base.length) >= 6;
  const verdict = enough && beyond && i.low > 1 ? 'cost' : enough && beyond && i.high < 1 ? 'saving' : 'none';
  return { ...i, verdict };
}

/** What a side takes more than its base, pair by pair, in the samples' unit. */
export function difference(side: readonly number[], base: readonly number[]): Interval {
  const n = Math.min(side.length, base.length);
  return medianInterval(Array.from({ length: n }, (_, i) => (side[i] as number) - (base[i] as number)));
}
