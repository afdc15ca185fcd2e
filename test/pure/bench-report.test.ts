import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareResults } from '../../bench/compare.js';
import { html } from '../../bench/report/html.js';
import { markdown } from '../../bench/report/markdown.js';
import { digits, quantity, verdict } from '../../bench/report/words.js';
import { sampleResult } from '../support/bench-result.js';

test('quantities have three significant digits and a unit that fits', () => {
  assert.equal(quantity(1_834_000, 'ns'), '1.83 ms');
  assert.equal(quantity(999, 'ns'), '999 ns');
  assert.equal(quantity(2.5e9, 'ns'), '2.50 s');
  assert.equal(quantity(300 * 1024, 'bytes'), '300 KiB');
  assert.equal(quantity(Number.NaN, 'ns'), '–');
  assert.equal(digits(12.345), '12.3');
});

test('the verdict names each measurable cost, its size and the setting that removes it', () => {
  const lines = verdict(sampleResult());
  assert.match(lines[0] ?? '', /^In 1 of 2 rows no loss/);
  assert.match(
    lines[1] ?? '',
    /^getpid: (9|10|11)\.\d+ % more time than bare .* in nsbox\. With --security-opt seccomp=unconfined none/,
  );
  assert.match(lines[2] ?? '', /^start: library run\(\) takes/);
});

test('an A/A run says that nothing is measurable', () => {
  const lines = verdict(sampleResult({ slow: 1 }));
  assert.deepEqual(lines.slice(0, 1), ['No loss against the bare machine is measurable in any of 2 rows.']);
});

test('Markdown holds every row, its noise, and what was not measured', () => {
  const text = markdown(sampleResult());
  for (const part of [
    '# What a container costs here',
    '### getpid',
    '| bare |',
    'Noise',
    'docker: no daemon answers',
  ])
    assert.ok(text.includes(part), part);
});

test('the page holds its plots as SVG, refers to nothing outside, and escapes what it shows', async () => {
  const result = sampleResult();
  result.skipped.push({ name: '<script>', why: '"quoted" & more' });
  const page = await html(result);
  assert.equal(page.match(/<svg /g)?.length, 6);
  assert.ok(page.includes('var(--ink)'));
  assert.doesNotMatch(page, /<script|https?:\/\/(?!www\.w3\.org)/);
  assert.match(page, /&lt;script&gt;: &quot;quoted&quot; &amp; more/);
});

test('compare says what became slower or quicker between two runs, and what changed around it', () => {
  const before = sampleResult();
  const after = sampleResult({ slow: 1.4, seed: 99 });
  after.machine.kernel = '6.19';
  const text = compareResults(before, after);
  assert.match(text, /\| getpid \| nsbox \|.*\| slower \|/);
  assert.doesNotMatch(text, /\| integer \| nsbox \|.*\| (slower|quicker) \|/);
  assert.match(text, /kernel: 6\.18 before, 6\.19 after/);
});
