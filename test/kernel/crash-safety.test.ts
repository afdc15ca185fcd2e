import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { noBusybox, TestRoot } from '../support/rootfs.js';

const RUNS = 200;

test(`${RUNS} runs, execs, stops and removals under kill -9 leave nothing behind`, {
  skip: noBusybox,
}, (t) => {
  using box = new TestRoot('crash');
  const seed = Number(process.env['NSBOX_CRASH_SEED'] ?? Date.now() % 2 ** 31);
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
});
