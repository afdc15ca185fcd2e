import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyEdits, checkGpus, emptyEdits, listGpus, mergeEdits } from '../../src/devices/index.js';
import type { Spec } from '../../src/spec/index.js';
import { memoryFiles, type Tree } from '../support/device-tree.js';
import { gpuTree, pciDevice, pciOf, uuidOf } from '../support/gpu-tree.js';

const base: Spec = {
  ociVersion: '1.3.0',
  process: { user: { uid: 5, gid: 6, additionalGids: [44] }, cwd: '/', args: ['x'], env: ['A=1', 'B=2'] },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/data/', type: 'bind', source: '/old' },
  ],
  hooks: { poststop: [{ path: '/bin/x' }] },
  linux: { devices: [{ path: '/dev/a', type: 'c', major: 1, minor: 1 }] },
};

test('edits go into the spec, and the spec that was given stays', () => {
  const before = JSON.stringify(base);
  const edits = emptyEdits();
  const node = { hostPath: '/dev/a', type: 'c' as const, major: 9, minor: 8, mode: 0o640, permissions: 'rw' };
  edits.nodes.push({ ...node, path: '/dev/a' }, { ...node, path: '/dev/b', uid: 0, gid: 7 });
  edits.cgroupRules.push(
    { allow: true, type: 'c', major: 9, minor: 8, access: 'rw' },
    { allow: true, type: 'b', access: 'r' },
  );
  edits.mounts.push(
    { source: '/x', destination: '/lib/deep/er', options: ['ro'] },
    { source: '/y', destination: '/lib', options: [] },
    { source: '/z', destination: '/data', options: ['ro'] },
  );
  edits.env.push('B=3', 'C=4');
  edits.additionalGids.push(44, 104);
  edits.hooks = { poststop: [{ path: '/bin/y' }] };
  edits.ldconfig = { program: '/sbin/ldconfig', args: ['ldconfig'] };
  edits.netDevices.push({ hostName: 'eth7', name: 'net0' });
  edits.annotations['k'] = 'v';
  const out = applyEdits(base, edits);
  assert.equal(JSON.stringify(base), before);
  assert.deepEqual(out.linux?.devices, [
    { path: '/dev/a', type: 'c', major: 9, minor: 8, fileMode: 0o640, uid: 5, gid: 6 },
    { path: '/dev/b', type: 'c', major: 9, minor: 8, fileMode: 0o640, uid: 0, gid: 7 },
  ]);
  assert.deepEqual(out.linux?.resources?.devices, [
    { allow: true, type: 'c', major: 9, minor: 8, access: 'rw' },
    { allow: true, type: 'b', access: 'r' },
  ]);
  assert.deepEqual(
    out.mounts?.map((m) => m.destination),
    ['/proc', '/lib', '/data', '/lib/deep/er'],
  );
  assert.deepEqual(out.process?.env, ['A=1', 'B=3', 'C=4']);
  assert.deepEqual(out.process?.user, { uid: 5, gid: 6, additionalGids: [44, 104] });
  assert.deepEqual(out.hooks, {
    poststop: [{ path: '/bin/x' }, { path: '/bin/y' }],
    startContainer: [{ path: '/sbin/ldconfig', args: ['ldconfig'] }],
  });
  assert.deepEqual(out.linux?.netDevices, { eth7: { name: 'net0' } });
  assert.deepEqual(out.annotations, { k: 'v' });
  const readonly = applyEdits({ ...base, root: { path: '/', readonly: true } }, edits);
  assert.equal(readonly.hooks?.startContainer, undefined);
});

test('merging keeps the later of two at one place, and equal things once', () => {
  const a = emptyEdits();
  const b = emptyEdits();
  a.mounts.push({ source: '/a', destination: '/m', options: [] });
  b.mounts.push({ source: '/b', destination: '/m', options: [] });
  a.additionalGids.push(1);
  b.additionalGids.push(1, 2);
  b.warnings.push('w');
  mergeEdits(a, b);
  mergeEdits(a, b);
  assert.deepEqual(a.mounts, [{ source: '/b', destination: '/m', options: [] }]);
  assert.deepEqual(a.additionalGids, [1, 2]);
  assert.deepEqual(a.warnings, ['w']);
});

test("the inventory names each vendor's GPUs", async () => {
  const tree = gpuTree({ gpus: 2, mig: { 1: { 1: [0] } } });
  pciDevice(tree, '0000:03:00.0', '0x1002', 'card8', 'renderD136', 'amdgpu', 8);
  assert.deepEqual(await listGpus(memoryFiles(tree)), [
    ...[0, 1].map((i) => ({
      vendor: 'nvidia',
      index: i,
      name: 'NVIDIA Test 100',
      uuid: uuidOf(i),
      address: pciOf(i),
      driver: '550.54.14',
      nodes: [`/dev/nvidia${i}`, `/dev/dri/card${i}`, `/dev/dri/renderD${128 + i}`],
      instances: i === 1 ? ['1:0'] : [],
    })),
    {
      vendor: 'amd',
      index: 0,
      name: 'AMD GPU 0x2330',
      uuid: undefined,
      address: '0000:03:00.0',
      driver: 'amdgpu',
      nodes: ['/dev/dri/card8', '/dev/dri/renderD136'],
      instances: [],
    },
  ]);
  assert.deepEqual(await listGpus(memoryFiles(new Map())), []);
});

test('doctor: a healthy driver, and each way in which one can be broken', async () => {
  const look = async (tree: Tree) =>
    (await checkGpus(memoryFiles(tree), false)).map(
      (c) => `${c.name}: ${c.status}: ${c.found}${c.hint ? ` (${c.hint})` : ''}`,
    );
  const has = (lines: string[], text: RegExp) =>
    assert.ok(
      lines.some((l) => text.test(l)),
      lines.join('\n'),
    );
  const well = await look(gpuTree());
  has(well, /^NVIDIA driver: ok: 550\.54\.14 \(CUDA 12\.4\)$/);
  has(well, /^GPU 0: ok: NVIDIA Test 100, GPU-00000000-/);
  has(well, /^NVIDIA nodes: ok: \/dev\/nvidiactl, \/dev\/nvidia0, \/dev\/nvidia-uvm$/);
  has(well, /^NVIDIA libraries: ok: 10 of \d+ known ones, in \/usr\/lib\/x86_64-linux-gnu$/);
  assert.ok(well.every((l) => !/problem|warning/.test(l)));
  has(
    await look(gpuTree({ libraries: [] })),
    /libraries: problem: libcuda\.so and libnvidia-ml\.so of version 550/,
  );
  has(
    await look(gpuTree({ libraries: ['535.1.2'] })),
    /problem.*there are some of 535\.1\.2 \(the driver was updated/,
  );
  has(await look(gpuTree({ without: ['nvidia0'] })), /nodes: info: \/dev\/nvidia0 missing on the host/);
  const noUvm = gpuTree({ without: ['nvidia-uvm'] });
  noUvm.set('/proc/devices', { kind: 'file', content: 'Character devices:\n195 nvidia\n' });
  has(await look(noUvm), /CUDA module: problem: nvidia-uvm is not loaded/);
  const closed = gpuTree();
  closed.set('/dev/nvidia0', { kind: 'char', major: 195, minor: 0, mode: 0o660 });
  has(await look(closed), /nodes: warning: \/dev\/nvidia0 can't be opened by everyone/);
  has(await look(gpuTree({ gpus: 0 })), /GPUs: problem: the driver is loaded and shows none/);
  const nouveau: Tree = new Map();
  pciDevice(nouveau, '0000:17:00.0', '0x10de', 'card0', 'renderD128', 'nouveau', 0);
  has(
    await look(nouveau),
    /driver: problem: not loaded, though there is a GPU at 0000:17:00\.0; nouveau has it/,
  );
  has(await look(new Map()), /^GPUs: info: none on this host/);
});
