import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { BenchResult } from '../../bench/result.js';
import { packageRoot } from '../../src/base/index.js';

/** `nsbox bench` as a user has it who installed nsbox: no sources, no compiler asked, none of the repository's folders. */

const scratch = mkdtempSync('/tmp/nsbox-test-bench-');
const installed = path.join(scratch, 'nsbox');
const work = path.join(scratch, 'work');
const place = path.join(scratch, 'place');

before(() => {
  const from = packageRoot();
  for (const d of ['bin', 'profiles', 'package.json', 'binding.gyp'])
    cpSync(path.join(from, d), path.join(installed, d), { recursive: true });
  for (const name of ['nsbox.node', 'nsbox-init'])
    cpSync(path.join(from, 'build/Release', name), path.join(installed, 'build/Release', name));
  for (const name of readdirSync(path.join(from, 'dist'))) {
    if (name === 'bench' || /^nsbox.*\.cjs$/.test(name))
      cpSync(path.join(from, 'dist', name), path.join(installed, 'dist', name), { recursive: true });
  }
  mkdirSync(work);
  mkdirSync(place, { mode: 0o755 });
});
after(() => rmSync(scratch, { recursive: true, force: true }));

function bench(...argv: string[]): { code: number | null; stdout: string; stderr: string } {
  const r = spawnSync(path.join(installed, 'bin/nsbox'), ['bench', ...argv], {
    cwd: work,
    encoding: 'utf8',
    env: { ...process.env, NODE_EXTRA_CA_CERTS: undefined },
  });
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

test('a run without the sources yields three reports and leaves nothing else', () => {
  const r = bench('--quick', '--no-peers', '--rounds', '2', '--place', place, 'syscalls', 'gpus');
  assert.equal(r.code, 0, r.stderr);
  assert.deepEqual(readdirSync(path.join(work, 'nsbox-bench')).sort(), [
    'report.html',
    'report.md',
    'result.json',
  ]);
  const result = JSON.parse(readFileSync(path.join(work, 'nsbox-bench/result.json'), 'utf8')) as BenchResult;
  assert.deepEqual(
    result.suites.map((s) => [s.name, s.failed]),
    [
      ['syscalls', undefined],
      ['gpus', undefined],
    ],
  );
  const getpid = result.rows.find((row) => row.id === 'getpid');
  assert.deepEqual(
    getpid?.sides.map((s) => [s.side, s.samples.length]),
    [
      ['bare', 2],
      ['nsbox', 2],
      ['nsbox --security-opt seccomp=unconfined', 2],
      ['bare (again)', 2],
    ],
  );
  // Two samples have no interval: nothing is claimed of them.
  assert.ok(result.rows.every((row) => row.sides.every((s) => (s.ratio?.verdict ?? 'none') === 'none')));
  assert.match(r.stdout, /^# What a container costs here/);
  assert.deepEqual(readdirSync(place), []);
});

test('compare and report read what was written; a wrong suite or file is named', () => {
  const file = path.join(work, 'nsbox-bench/result.json');
  assert.match(bench('compare', file, file).stdout, /\| getpid \| nsbox \|.*\| 1\.00 /);
  assert.match(bench('report', '--tables', file).stdout, /\| getpid \| bare \|/);
  const unknown = bench('nothing');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^bench: no suite nothing; there are start, cpu, /);
  const missing = bench('compare', '/no/such.json', file);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /can't read \/no\/such\.json/);
  assert.match(bench('--help').stdout, /--peers-root dir/);
});

test('an installation without the bench says how to build it', () => {
  const own = path.join(installed, 'dist/bench');
  assert.ok(existsSync(own));
  rmSync(own, { recursive: true });
  const r = bench('report', 'x.json');
  assert.equal(r.code, 1);
  assert.match(r.stderr, /the bench is not part of this installation/);
  assert.match(r.stderr, /node scripts\/build\.mjs bench/);
});
