import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGAIN, type Row, type RowResult, summarise } from '../../bench/harness.js';
import { aims } from '../../bench/report/aims.js';
import { markdown } from '../../bench/report/markdown.js';
import { tables } from '../../bench/report/tables.js';
import { verdict } from '../../bench/report/words.js';
import { seeded } from '../../bench/stats.js';
import { readTrace } from '../../bench/trace.js';
import { sampleResult } from '../support/bench-result.js';

function row(
  suite: string,
  id: string,
  base: string,
  sides: Record<string, number>,
  rate?: Row['rate'],
): RowResult {
  const random = seeded(3);
  const times = (ns: number): number[] => Array.from({ length: 21 }, () => ns * (1 + 0.01 * random()));
  const all = { [base]: 1e6, [base + AGAIN]: 1e6, ...sides };
  return summarise(
    { suite, id, title: id, unit: 'ns', base, ...(rate ? { rate } : {}) },
    new Map(Object.entries(all).map(([name, ns]) => [name, times(ns)])),
  );
}

const judged = (r: RowResult): [string, string, string][] =>
  aims({ ...sampleResult(), rows: [r] }).map((a) => [a.side, a.aim, a.verdict]);

test('an aim is held, missed, or open where the run cannot tell', () => {
  assert.deepEqual(judged(row('cpu', 'integer', 'bare', { nsbox: 1e6 })), [['nsbox', '1.00 × bare', 'held']]);
  assert.deepEqual(judged(row('cpu', 'integer', 'bare', { nsbox: 1.1e6 })), [
    ['nsbox', '1.00 × bare', 'missed'],
  ]);
  assert.deepEqual(judged(row('syscalls', 'getpid', 'bare', { nsbox: 1.25e6 }))[0]?.[2], 'held');
  assert.deepEqual(judged(row('syscalls', 'open', 'bare', { nsbox: 1.25e6 }))[0]?.[2], 'missed');
  assert.deepEqual(judged(row('syscalls', 'open', 'bare', { nsbox: 1.052e6 }))[0]?.[2], 'open');
});

test('wiring is judged by what it adds, names by what they take, real programs by their throughput', () => {
  const wiring = (ns: number) => judged(row('network', 'wiring', 'no network', { bridge: 1e6 + ns }))[0];
  assert.deepEqual(wiring(1.4e6), ['bridge', 'adds at most 1.50 ms', 'held']);
  assert.deepEqual(wiring(2e6)?.[2], 'missed');
  assert.equal(judged(row('network', 'names', 'nsbox', {}))[0]?.[2], 'missed');
  assert.equal(judged(row('application', 'redis', 'bare', { nsbox: 1.04e6 }))[0]?.[2], 'held');
  assert.equal(judged(row('application', 'redis', 'bare', { nsbox: 1.1e6 }))[0]?.[2], 'missed');
});

test('nsbox is held against the best of the others in the same way of doing it', () => {
  const r = row('network', 'rr', 'bare', {
    'nsbox bridge': 1.5e6,
    'docker bridge': 1.2e6,
    'podman bridge': 1.7e6,
    'nsbox -p, by address': 1.6e6,
    'docker -p, by address': 1.6e6,
  });
  assert.deepEqual(judged(r), [
    ['nsbox bridge', 'as good as the best other, docker bridge', 'missed'],
    ['nsbox -p, by address', 'as good as the best other, docker -p, by address', 'held'],
  ]);
});

test('the verdict counts the aims and names each that is missed; a busy machine is said first', () => {
  const result = sampleResult();
  result.rows = [
    row('cpu', 'integer', 'bare', { nsbox: 1.2e6 }),
    row('cpu', 'float', 'bare', { nsbox: 1e6 }),
  ];
  result.machine.load = 9;
  const lines = verdict(result);
  assert.match(lines[0] ?? '', /^This machine was busy \(load 9\.00 before/);
  assert.ok(lines.includes('1 of 2 aims are missed.'));
  assert.ok(lines.some((l) => /^Missed: integer, nsbox: 1\.20 .*the aim is 1\.00 × bare\.$/.test(l)));
});

test('tables have a line for each side, its rate and why it is missing; reports name a failed suite', () => {
  const result = sampleResult();
  const nginx = row('network', 'nginx', 'bare', { 'nsbox bridge': 1e6 }, { amount: 1, unit: '/s' });
  nginx.sides.push({
    side: 'docker bridge',
    samples: [],
    summary: { median: Number.NaN, low: Number.NaN, high: Number.NaN },
    failed: 'no daemon | today',
  });
  result.rows = [nginx];
  result.suites = [
    { name: 'network', seconds: 12 },
    { name: 'image', seconds: 0.1, failed: 'the disk is full' },
  ];
  const text = tables(result);
  assert.match(text, /`npm run bench -- network`, 12 s here/);
  assert.match(text, /\| nginx \| bare \| 1\.0\d ms \| \d+ \/s \| base \| ±/);
  assert.match(text, /\| {2}\| docker bridge \| – \| .*no daemon \\\| today \|/);
  assert.ok(!text.includes(AGAIN));
  assert.match(markdown(result), /The suite image could not be measured: the disk is full/);
});

test('the trace of a start is read as it is printed', () => {
  const text =
    '      at µs    took µs  step\n        0.0       12.5  parent: Make namespaces\n       20.0        1.0  init: Mount proc: here\nhello\n';
  assert.deepEqual(readTrace(text), [
    { list: 'parent', title: 'Make namespaces', start: 0, end: 12_500 },
    { list: 'init', title: 'Mount proc: here', start: 20_000, end: 21_000 },
  ]);
});
