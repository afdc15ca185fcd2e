import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeContext, packageRoot } from '../../src/base/index.js';
import { hostFacts } from '../../src/host/index.js';
import { CliRig } from '../support/cli.js';
import { OciWorld } from '../support/oci-bundle.js';
import { noBusybox } from '../support/rootfs.js';

/** What takes a container's device program away (systemd's daemon-reload may) is undone by `update`. */

const { unified } = hostFacts(makeContext({})).cgroup;
const skip = unified ? noBusybox : 'no cgroup2 here: v1 has a list instead of a program';
const directory = mkdtempSync('/tmp/nsbox-test-program-');
const detacher = path.join(directory, 'detach');

before(() => {
  const source = path.join(packageRoot(), 'test/support/detach-device-program.c');
  execFileSync('cc', ['-Wall', '-Werror', '-o', detacher, source]);
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** Takes the programs of a process's group off. @returns how many there were */
function detach(pid: number): number {
  const group = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
  assert.ok(group && group !== '/' && existsSync(unified + group), `a group of its own, not ${group}`);
  return Number(execFileSync(detacher, [unified + group], { encoding: 'utf8' }));
}

test('nsbox update attaches it again', { skip }, async () => {
  await using rig = new CliRig('program');
  // No driver has this number: reading it, where writing alone is allowed, is EPERM by the program, and ENXIO without.
  const node = path.join(directory, 'odd');
  execFileSync('mknod', ['-m', '666', node, 'c', '1', '2']);
  await rig.start(['--name', 'one', '--device', `${node}:/dev/odd:w`], 'sleep', '1000');
  const open = async () => (await rig.nsbox(['exec', 'one', 'cat', '/dev/odd'])).stderr;
  const pid = Number(await rig.ok('inspect', '--format', '{{.State.Pid}}', 'one'));
  assert.match(await open(), /Operation not permitted/);
  assert.equal(detach(pid), 1);
  assert.match(await open(), /No such device or address/);
  await rig.ok('update', '--cpu-shares', '512', 'one');
  assert.match(await open(), /Operation not permitted/);
  await rig.ok('update', '--restart', 'on-failure', 'one');
  assert.equal(detach(pid), 1, 'one program, however often it is attached');
  await rig.ok('update', '--restart', 'no', 'one');
  assert.match(await open(), /Operation not permitted/);
});

test('nsbox-oci update attaches it again', { skip }, () => {
  const world = new OciWorld();
  try {
    const bundle = world.bundle((spec) => {
      // No driver has this number: opening it is EPERM by the program, and ENXIO without it.
      spec.linux!.devices = [{ path: '/dev/odd', type: 'c', major: 1, minor: 2, fileMode: 0o666 }];
    });
    const id = world.id();
    assert.equal(world.create(id, bundle).code, 0, world.output(id).stderr);
    assert.equal(world.call(['start', id]).code, 0);
    const open = () => world.call(['exec', id, 'cat', '/dev/odd']).stderr;
    assert.match(open(), /Operation not permitted/);
    assert.equal(detach(world.state(id)!['pid'] as number), 1);
    assert.match(open(), /No such device or address/);
    const updated = world.call(['update', '--cpu-share', '512', id]);
    assert.equal(updated.code, 0, updated.stderr);
    assert.match(open(), /Operation not permitted/);
  } finally {
    world.close();
  }
});
