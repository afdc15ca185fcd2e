import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DeviceEdits, parseDeviceRule, resolveDevices } from '../../src/devices/index.js';
import { memoryFiles, type Tree } from '../support/device-tree.js';

const tree: Tree = new Map([
  ['/dev/fuse', { kind: 'char', major: 10, minor: 229, mode: 0o666 }],
  ['/dev/sda', { kind: 'block', major: 8, minor: 0, mode: 0o660, gid: 6 }],
  ['/dev/rtc', { kind: 'link', target: 'rtc0' }],
  ['/dev/rtc0', { kind: 'char', major: 250, minor: 0, mode: 0o600 }],
  ['/dev/snd/seq', { kind: 'char', major: 116, minor: 1, mode: 0o660, gid: 29 }],
  ['/dev/snd/by-path/pci-0', { kind: 'link', target: '../controlC0' }],
  ['/dev/snd/deep/pcm', { kind: 'char', major: 116, minor: 2, mode: 0o660, gid: 29 }],
  ['/dev/pts/0', { kind: 'char', major: 136, minor: 0 }],
  ['/dev/console', { kind: 'char', major: 5, minor: 1 }],
  ['/dev/initctl', { kind: 'fifo' }],
  ['/dev/empty/readme', { kind: 'file', content: '' }],
  ['/dev/round', { kind: 'link', target: 'round' }],
]);
const files = memoryFiles(tree);

function device(source: string, target = source, permissions = 'rwm'): Promise<DeviceEdits> {
  return resolveDevices({ devices: [{ source, target, permissions }] }, { files });
}

test('a node keeps its numbers, owner and mode, and gets a rule', async () => {
  const edits = await device('/dev/sda', '/dev/xvdc', 'r');
  assert.deepEqual(edits.nodes, [
    {
      path: '/dev/xvdc',
      hostPath: '/dev/sda',
      type: 'b',
      major: 8,
      minor: 0,
      mode: 0o660,
      uid: 0,
      gid: 6,
      permissions: 'r',
    },
  ]);
  assert.deepEqual(edits.cgroupRules, [{ allow: true, type: 'b', major: 8, minor: 0, access: 'r' }]);
});

test('a link is followed, under the name that was given', async () => {
  const [node] = (await device('/dev/rtc')).nodes;
  assert.equal(node?.path, '/dev/rtc');
  assert.equal(node?.hostPath, '/dev/rtc0');
});

test('a directory brings every node below it and no links', async () => {
  const edits = await device('/dev/snd/', '/dev/audio');
  assert.deepEqual(
    edits.nodes.map((n) => n.path),
    ['/dev/audio/deep/pcm', '/dev/audio/seq'],
  );
});

test('privileged brings all but what is not a device of the container', async () => {
  const edits = await resolveDevices({ devices: [], privileged: true }, { files });
  assert.deepEqual(
    edits.nodes.map((n) => n.path),
    ['/dev/fuse', '/dev/rtc0', '/dev/sda', '/dev/snd/deep/pcm', '/dev/snd/seq'],
  );
  assert.deepEqual(edits.cgroupRules, [{ allow: true, type: 'a', access: 'rwm' }]);
});

test('what is missing or no device is refused in one line', async () => {
  await assert.rejects(device('/dev/nosuch'), /cannot add the device \/dev\/nosuch: no such file/);
  await assert.rejects(device('/dev/round'), /no such file/);
  await assert.rejects(device('/dev/initctl'), /it is not a device node/);
  await assert.rejects(device('/dev/empty'), /the directory holds none/);
  await assert.rejects(device('dev/fuse'), /must be absolute: "dev\/fuse"/);
  await assert.rejects(device('/dev/fuse', '/dev/fuse', 'rx'), /invalid device permissions "rx"/);
});

test('device cgroup rules', async () => {
  assert.deepEqual(parseDeviceRule('c 42:* mr'), { allow: true, type: 'c', major: 42, access: 'rm' });
  assert.deepEqual(parseDeviceRule('a *:* rwm'), { allow: true, type: 'a', access: 'rwm' });
  assert.deepEqual(parseDeviceRule('b 8:16 w'), { allow: true, type: 'b', major: 8, minor: 16, access: 'w' });
  for (const bad of ['', 'x 1:2 r', 'c 1 r', 'c 1:2', 'c 1:2 rx', 'c -1:2 r']) {
    assert.throws(() => parseDeviceRule(bad), /invalid device cgroup rule/);
  }
  const edits = await resolveDevices({ devices: [], deviceCgroupRules: ['c 1:1 r', 'c 1:1 r'] }, { files });
  assert.equal(edits.cgroupRules.length, 1);
});
