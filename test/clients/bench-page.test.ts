import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { html } from '../../bench/report/html.js';
import { packageRoot } from '../../src/base/index.js';
import { sampleResult } from '../support/bench-result.js';

/** The bench's page in a browser: what a person would see, on a desk and on a phone. */

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);

for (const [name, width] of [
  ['desk', 1200],
  ['phone', 400],
] as const) {
  test(`the report opens without an error and shows its plots (${name})`, { timeout: 120_000 }, async (t) => {
    if (!chromium) return t.skip('no chromium on this machine');
    const scratch = mkdtempSync('/tmp/nsbox-test-page-');
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    const page = path.join(scratch, 'report.html');
    // What the page looks like once it is drawn, measured by a script of the test's own at its end.
    const probe = `<script>addEventListener('load', () => { const svgs = [...document.querySelectorAll('svg')];
      document.title = 'plots ' + svgs.length + ' drawn ' + svgs.filter((s) => s.getBoundingClientRect().width > 100).length
      + ' wider ' + (document.documentElement.scrollWidth > innerWidth + 1); })</script>`;
    writeFileSync(page, (await html(sampleResult())).replace('</body>', `${probe}</body>`));
    const shot = path.join(packageRoot(), 'build/test', `bench-${name}.png`);
    mkdirSync(path.dirname(shot), { recursive: true });
    const common = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--hide-scrollbars',
      `--user-data-dir=${scratch}/p`,
    ];
    const run = (...more: string[]) =>
      spawnSync(
        chromium,
        [...common, `--window-size=${width},1600`, '--enable-logging=stderr', ...more, `file://${page}`],
        {
          encoding: 'utf8',
          timeout: 100_000,
          env: { ...process.env, HOME: scratch },
        },
      );
    const dom = run('--dump-dom');
    assert.match(dom.stdout, /<title>plots 6 drawn 6 wider false<\/title>/);
    assert.doesNotMatch(dom.stderr, /CONSOLE.*(error|Uncaught)/i);
    run(`--screenshot=${shot}`);
    assert.ok(statSync(shot).size > 10_000);
    assert.deepEqual([...readFileSync(shot).subarray(1, 4)], [...Buffer.from('PNG')]);
  });
}
