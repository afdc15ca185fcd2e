import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { noBusybox, TestRoot } from '../support/rootfs.js';
import { soakMs } from '../support/soak.js';

/** How many in a row; `npm run soak` begins again, with another seed, until its time is over. */
const RUNS = 200;

/** One go: hammers a root of its own with two drivers that are killed, and looks at what is left. */
function hammer(t: TestContext, seed: number): void {
  using box = new TestRoot('crash');
  t.diagnostic(`seed ${seed} (NSBOX_CRASH_SEED repeats it)`);
  const main = path.join(import.meta.dirname, '../support/crash-main.js');
  const r = spawnSync(
    'unshare',
    ['--net', process.execPath, main, 'hammer', box.directory, String(seed), String(RUNS)],
    { encoding: 'utf8', timeout: 120_000 },
  );
  assert.equal(r.status, 0, r.stderr);
  const result = JSON.parse(r.stdout.trim().split('\n').at(-1)!) as {
    verbs: number;
    kills: number;
    containers: number;
    left: string[];
    errors: string[];
  };
  t.diagnostic(`${result.verbs} verbs, ${result.kills} kills, ${result.containers} containers`);
  assert.deepEqual(result.errors, []);
  assert.deepEqual(result.left, []);
}

test(`${RUNS} runs, execs, stops and removals under kill -9 leave nothing behind`, {
  skip: noBusybox,
}, (t) => {
  const seed = Number(process.env['NSBOX_CRASH_SEED'] ?? Date.now() % 2 ** 31);
  const start = performance.now();
  for (let i = 0; i === 0 || performance.now() - start < (soakMs ?? 0); i++) hammer(t, seed + i);
});
