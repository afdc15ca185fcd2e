import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { ENGINES, type EngineName, missing } from '../support/network-engines.js';
import { CASES } from '../support/network-table.js';

/**
 * The same flags given to nsbox, docker and podman, and what a user sees of each: a table in network-table.ts. The
 * three run at once, each in network, process and mount namespaces of its own.
 */
const seen = new Map<EngineName, Record<string, string>>();

function observe(name: EngineName): Promise<Record<string, string>> {
  const runner = path.join(import.meta.dirname, '../support/network-table-run.js');
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(
    'unshare',
    [
      ...['-n', '-m', '-p', '-f', '--mount-proc', '--kill-child', '--propagation', 'private'],
      ...[process.execPath, runner, name],
    ],
    { env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let out = '';
  let err = '';
  child.stdout.on('data', (d) => {
    out += d;
  });
  child.stderr.on('data', (d) => {
    err += d;
  });
  return new Promise((resolve, reject) => {
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(out));
      else reject(new Error(`the cases with ${name} ended with ${code}: ${err.slice(-3000)}`));
    });
  });
}

before(async () => {
  const there = ENGINES.filter((name) => !missing(name));
  await Promise.all(there.map(async (name) => seen.set(name, await observe(name))));
});

for (const name of ENGINES) {
  test(`${CASES.length} cases with ${name}`, { skip: missing(name) ?? false }, async (t) => {
    for (const c of CASES) {
      await t.test(c.name, () => {
        const want = name === 'nsbox' ? c.all : (c[name] ?? c.all);
        assert.equal(seen.get(name)?.[c.name], want);
      });
    }
  });
}

test('each difference is in the documentation, with its reason', () => {
  const text = readFileSync(path.join(packageRoot(), 'docs/networks.md'), 'utf8');
  for (const c of CASES) {
    if (c.docker === undefined && c.podman === undefined) continue;
    assert.ok(c.why, c.name);
    const row = text.split('\n').find((line) => line.startsWith(`| \`${c.name}\` |`));
    assert.ok(row?.includes(c.why), `no row for ${c.name}`);
  }
});
