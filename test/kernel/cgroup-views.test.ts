import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { hostFacts } from '../../src/host/index.js';

/** Other layouts than this host's, as private mount namespaces show them. */
const VIEW = path.join(import.meta.dirname, '../support/view-main.js');
const host = hostFacts(makeContext({ root: '/tmp', state: '/dev/null/none' })).cgroup;

/** Runs view-main with mounts changed by a shell script first. */
function inView<T>(script: string, ...args: string[]): T {
  const out = execFileSync(
    'unshare',
    [
      '-m',
      '--propagation',
      'private',
      'sh',
      '-ec',
      `${script}; exec "$@"`,
      'sh',
      process.execPath,
      VIEW,
      ...args,
    ],
    { encoding: 'utf8' },
  );
  return JSON.parse(out) as T;
}

interface Planned {
  mode: string;
  message?: string;
  hint?: string;
  writes?: unknown[];
  groups?: { path: string }[];
}

const BARE = 'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup';
const bound = host.boundToV1.includes('memory');

test('cgroup2 alone without controllers: no limits, no problem', (t) => {
  if (!bound) return t.skip('the controllers of this host are not bound to v1');
  const plan = inView<Planned>(BARE, 'plan', '{"cpu":{"shares":1024},"pids":{"limit":-1}}');
  assert.equal(plan.mode, 'unified');
  assert.deepEqual(plan.writes, []);
  assert.deepEqual(
    plan.groups?.map((g) => g.path),
    ['/sys/fs/cgroup/nsbox/view'],
  );
});

test('cgroup2 alone without controllers: a limit is refused, naming controller, place and remedy', (t) => {
  if (!bound) return t.skip('the controllers of this host are not bound to v1');
  const plan = inView<Planned>(BARE, 'plan', '{"memory":{"limit":67108864}}');
  assert.equal(
    plan.message,
    'cannot set memory.max to 67108864: the memory controller is bound to a cgroup v1 hierarchy that is not mounted here',
  );
  assert.match(plan.hint ?? '', /mount -t cgroup -o memory .*cgroup_no_v1=all.*--force-limits=warn/);
});

test('v1 alone: limits hold, and devices are confined by the devices hierarchy', (t) => {
  if (!host.v1['devices'] || !host.v1['freezer'])
    return t.skip('this host has no v1 devices and freezer hierarchies');
  const view = inView<{ mode: string; results: { name: string; error?: string }[] }>(
    `umount ${host.unified}`,
    'effects',
    'pids:',
    'devices:',
    'memory: a hog',
  );
  assert.equal(view.mode, 'legacy');
  assert.equal(view.results.length, 3);
  for (const result of view.results) assert.equal(result.error, undefined, `${result.name}: ${result.error}`);
});

test('no cgroup filesystem at all: nothing is planned, limits are refused', () => {
  const none = inView<Planned>('umount -R -l /sys/fs/cgroup', 'plan', '{}');
  assert.deepEqual([none.mode, none.groups], ['none', []]);
  const refused = inView<Planned>('umount -R -l /sys/fs/cgroup', 'plan', '{"pids":{"limit":3}}');
  assert.match(refused.message ?? '', /^cannot set pids\.max to 3: /);
});
