import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { hostFacts } from '../../src/host/index.js';
import { noSystemd, SystemdHost } from '../support/systemd-host.js';

/**
 * The systemd cgroup manager against a real systemd, pid 1 of namespaces of its own. Where this machine's controllers are
 * bound to cgroup v1, the limits' values are looked at in the test VM (test/vm) instead.
 */
const { unified } = hostFacts(makeContext({ root: '/tmp', state: '/dev/null/none' })).cgroup;
const why = noSystemd() ?? (unified ? undefined : 'no cgroup2 is mounted');

test('containers whose groups systemd makes', { skip: why, timeout: 180_000 }, async (t) => {
  await using host = await SystemdHost.boot(unified!);
  const main = path.join(import.meta.dirname, '../support/systemd-main.js');
  const out = await host.run([process.execPath, main], 150_000);
  for (const line of out.trim().split('\n')) {
    const { name, ms, error } = JSON.parse(line) as { name: string; ms: number; error?: string };
    await t.test(`${name} (${ms} ms)`, () => assert.equal(error, undefined, error));
  }
});
