import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { hostFacts } from '../../src/host/index.js';
import { type CliResult, CliRig, collect, NSBOX } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

/**
 * What the command line says of controllers and of limits that cannot be enforced, on this host and in private views
 * of it: all that a person has to go by.
 */
const facts = hostFacts(makeContext({ root: '/tmp', state: '/dev/null/none' })).cgroup;
const BARE = 'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup';
const bound = facts.boundToV1.includes('memory');
const why = noBusybox || (bound ? false : 'the controllers of this host are not bound to v1');
const hybrid = why || (facts.mode === 'hybrid' ? false : `this host is ${facts.mode}, not hybrid`);

/** nsbox where cgroup2 alone is mounted, without controllers. */
function bare(rig: CliRig, args: string[]): Promise<CliResult> {
  const inner = ['sh', '-ec', `${BARE}; exec "$@"`, 'sh', NSBOX, ...args];
  const child = spawn('unshare', ['-m', '--propagation', 'private', ...inner], {
    env: rig.env,
    cwd: rig.box.directory,
  });
  return collect(child);
}

/** The remedy where a controller is bound to a hierarchy that isn't mounted. */
const remedy = (v1: string): string =>
  `mount it (mount -t cgroup -o ${v1} none /sys/fs/cgroup/${v1}), or boot with cgroup_no_v1=all`;
const reason = (controller: string): string =>
  `the ${controller} controller is bound to a cgroup v1 hierarchy that is not mounted here`;
const V1: [controller: string, v1: string][] = [
  ['memory', 'memory'],
  ['cpu', 'cpu'],
  ['cpuset', 'cpuset'],
  ['pids', 'pids'],
  ['io', 'blkio'],
];

test('hybrid: doctor and info say where each controller is', { skip: hybrid }, async () => {
  await using rig = new CliRig('refusals');
  const doctor = await rig.nsbox(['doctor']);
  const info = await rig.nsbox(['info']);
  for (const [controller, v1] of V1) {
    assert.ok(facts.v1[v1], `this host has no ${v1} hierarchy`);
    assert.match(
      doctor.stdout,
      new RegExp(`^ok +${controller} controller +cgroup v1 at ${facts.v1[v1]}$`, 'm'),
    );
    assert.match(info.stdout, new RegExp(`^ v1 controllers: .*\\b${v1}\\b`, 'm'));
    assert.doesNotMatch(info.stderr, new RegExp(`No ${controller} limit support`));
  }
});

test('cgroup2 without controllers: doctor and info name the reason and the remedy', {
  skip: why,
}, async () => {
  await using rig = new CliRig('refusals');
  const doctor = await bare(rig, ['doctor']);
  const info = await bare(rig, ['info']);
  assert.match(info.stdout, /^Cgroup Version: 2$/m);
  for (const [controller, v1] of V1) {
    const found = new RegExp(`^note +${controller} controller +${reason(controller)}\n +(.*)$`, 'm');
    const advice = found.exec(doctor.stdout)?.[1];
    assert.equal(advice, `limits of ${controller} are refused; ${remedy(v1)}`);
    const warning = `WARNING: No ${controller} limit support: ${reason(controller)}; ${remedy(v1)}\n`;
    assert.ok(info.stderr.includes(warning), info.stderr);
  }
  const list = JSON.parse((await bare(rig, ['info', '--format', '{{json .Warnings}}'])).stdout) as string[];
  assert.equal(list.length, info.stderr.trimEnd().split('\n').length);
});

test('a limit that cannot be enforced: 125 with the remedy, a warning with --force-limits=warn', {
  skip: why,
}, async () => {
  await using rig = new CliRig('refusals');
  const run = (...flags: string[]): Promise<CliResult> =>
    bare(rig, [
      'run',
      ...['--rm', '--network', 'none', ...flags, '--rootfs', rig.box.rootfs],
      ...['sh', '-c', 'echo ran'],
    ]);
  const refused = await run('-m', '64m', '--name', 'refused');
  assert.equal(refused.code, 125);
  assert.equal(refused.stdout, '');
  const text = `cannot set memory.max to 67108864: ${reason('memory')}`;
  assert.ok(refused.stderr.includes(text), refused.stderr);
  assert.ok(refused.stderr.includes(remedy('memory')), refused.stderr);
  assert.ok(refused.stderr.includes('run without this limit: --force-limits=warn'), refused.stderr);
  assert.equal((await rig.nsbox(['ps', '-aq'])).stdout, '', 'the refused container was left');
  const warned = await run('-m', '64m', '--pids-limit', '9', '--force-limits=warn');
  assert.deepEqual([warned.code, warned.stdout], [0, 'ran\n'], warned.stderr);
  assert.ok(warned.stderr.includes(`${text}; the container runs without this limit`), warned.stderr);
  assert.ok(warned.stderr.includes('cannot set pids.max to 9: '), warned.stderr);
  // Values that every group has from the start need no controller.
  const plain = await run('--cpu-shares', '1024', '--pids-limit', '-1');
  assert.deepEqual(plain, { code: 0, signal: null, stdout: 'ran\n', stderr: '' });
});

test('a limit that this kind of hierarchy does not have names where its controller is bound', {
  skip: hybrid,
}, async () => {
  await using rig = new CliRig('refusals');
  const high = ['--rm', '--cgroup-conf', 'memory.high=16M'];
  const refused = await rig.run(high, 'true');
  assert.equal(refused.code, 125);
  assert.match(
    refused.stderr,
    new RegExp(
      `cannot set memory\\.high to 16M: .*\\(memory is bound to cgroup v1 at ${facts.v1['memory']}\\)`,
    ),
  );
  const warned = await rig.run([...high, '--force-limits=warn'], 'echo', 'ran');
  assert.deepEqual([warned.code, warned.stdout], [0, 'ran\n']);
  assert.match(warned.stderr, /memory\.high to 16M: .*; the container runs without this limit/);
});
