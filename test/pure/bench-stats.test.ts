import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as library from 'simple-statistics';
import { AGAIN, measure, summarise } from '../../bench/harness.js';
import { bootstrap, compare, median, medianInterval, quantile, ratios, seeded } from '../../bench/stats.js';

/** A positive, skewed sample, as times are: a floor, and now and then something in between. */
function times(random: () => number, n: number, floor = 100): number[] {
  return Array.from(
    { length: n },
    () => floor * (1 + 0.01 * random()) * (random() < 0.05 ? 1 + random() : 1),
  );
}

test('median and quantiles agree with a library, and with R and NumPy on a known sample', () => {
  const random = seeded(7);
  for (const n of [1, 2, 3, 10, 101]) {
    const values = Array.from({ length: n }, random);
    assert.equal(median(values), library.median(values));
  }
  // quantile(c(15, 20, 35, 40, 50), c(.05, .4, .9), type = 7)
  const known = [15, 20, 35, 40, 50];
  assert.deepEqual(
    [0.05, 0.4, 0.9].map((q) => Math.round(quantile(known, q) * 1e9) / 1e9),
    [16, 29, 46],
  );
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

test('the interval of a median takes the order statistics that tables name (Conover 1999, table A3)', () => {
  const ordered = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  assert.deepEqual(medianInterval(ordered(6)), { median: 3.5, low: 1, high: 6 });
  assert.deepEqual(medianInterval(ordered(10)), { median: 5.5, low: 2, high: 9 });
  assert.deepEqual(medianInterval(ordered(20)), { median: 10.5, low: 6, high: 15 });
  assert.deepEqual(medianInterval(ordered(30)), { median: 15.5, low: 10, high: 21 });
});

test('both intervals hold the true median about as often as they say', () => {
  const random = seeded(11);
  let inBootstrap = 0;
  let inOrder = 0;
  const repeats = 300;
  for (let r = 0; r < repeats; r++) {
    // Exponential: its median is ln 2.
    const sample = Array.from({ length: 31 }, () => -Math.log(1 - random()));
    const b = bootstrap(sample, { resamples: 400, seed: r });
    if (b.low <= Math.LN2 && Math.LN2 <= b.high) inBootstrap++;
    const m = medianInterval(sample);
    if (m.low <= Math.LN2 && Math.LN2 <= m.high) inOrder++;
  }
  assert.ok(inBootstrap / repeats > 0.9, `bootstrap held it in ${inBootstrap} of ${repeats}`);
  assert.ok(inOrder / repeats > 0.94, `order statistics held it in ${inOrder} of ${repeats}`);
});

test('a seed gives the same interval each time', () => {
  const sample = times(seeded(3), 25);
  assert.deepEqual(bootstrap(sample, { seed: 5 }), bootstrap(sample, { seed: 5 }));
});

/** A row of synthetic samples: a base, the base again, and a side that is slower by a factor. */
function row(seed: number, factor: number, n = 21): ReturnType<typeof summarise> {
  const random = seeded(seed);
  return summarise(
    { suite: 's', id: 'r', title: 'r', unit: 'ns', base: 'bare' },
    new Map([
      ['bare', times(random, n)],
      [`bare${AGAIN}`, times(random, n)],
      ['side', times(random, n, 100 * factor)],
    ]),
  );
}

test('A/A: at least 95 % of rows report neither cost nor saving', () => {
  const rows = Array.from({ length: 400 }, (_, i) => row(1000 + i, 1));
  const claims = rows.filter((r) => r.sides.find((s) => s.side === 'side')?.ratio?.verdict !== 'none');
  assert.ok(
    claims.length <= rows.length * 0.05,
    `${claims.length} of ${rows.length} rows claim a difference`,
  );
});

test('a slowdown of 5 % is found, and a quicker side is not called a cost', () => {
  const found = Array.from({ length: 200 }, (_, i) => row(5000 + i, 1.05)).filter(
    (r) => r.sides.find((s) => s.side === 'side')?.ratio?.verdict === 'cost',
  );
  assert.ok(found.length >= 190, `found in ${found.length} of 200`);
  const quicker = row(1, 0.95).sides.find((s) => s.side === 'side')?.ratio;
  assert.equal(quicker?.verdict, 'saving');
});

test('ratios pair what was measured in the same round', () => {
  assert.deepEqual(ratios([2, 4, 9], [1, 2, 3]), [2, 2, 3]);
  const twice = compare([2, 4, 6, 8, 10, 12, 14], [1, 2, 3, 4, 5, 6, 7], 0);
  assert.deepEqual([twice.median, twice.low, twice.high, twice.verdict], [2, 2, 2, 'cost']);
});

test('measure: every side once a round, in changing order, the first round dropped, a failing side told of', async () => {
  const order: string[] = [];
  let calls = 0;
  const side = (name: string) => ({
    name,
    run: async () => {
      order.push(name);
      return 5;
    },
  });
  const result = await measure({
    suite: 's',
    id: 'r',
    title: 'r',
    unit: 'ns',
    base: 'a',
    rounds: 12,
    sides: [
      side('a'),
      side('b'),
      {
        name: 'c',
        run: async () => {
          if (++calls === 4) throw new Error('the machine said no\nin two lines');
          return 6;
        },
      },
    ],
  });
  const by = (name: string) => result.sides.find((s) => s.side === name);
  assert.equal(by('a')?.samples.length, 12);
  assert.equal(by('b')?.samples.length, 12);
  assert.equal(by(`a${AGAIN}`)?.samples.length, 12);
  assert.equal(by('c')?.failed, 'the machine said no');
  assert.equal(by('c')?.samples.length, 2);
  const rounds = Array.from({ length: 13 }, (_, i) => order.slice(3 * i, 3 * i + 3).join(''));
  assert.ok(new Set(rounds).size > 1, 'the order changes');
  for (const r of rounds) assert.deepEqual([...r].sort(), ['a', 'a', 'b']);
});
