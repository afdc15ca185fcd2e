import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { type DeviceEdits, dockerDeviceRequests, resolveDevices } from '../../src/devices/index.js';
import { memoryFiles, type Tree } from '../support/device-tree.js';
import { type GpuTreeOptions, gpuTree, imageTree, pciDevice, pciOf, uuidOf } from '../support/gpu-tree.js';

type Image = Parameters<typeof imageTree>[0];

function gpus(
  flag: string,
  options: GpuTreeOptions | Tree = {},
  image: Image | Tree | undefined = 'debian',
  imageEnv: string[] = [],
): Promise<DeviceEdits> {
  const tree = options instanceof Map ? options : gpuTree(options);
  const root = image instanceof Map ? image : image && imageTree(image);
  return resolveDevices(
    { devices: [], gpus: flag, imageEnv },
    { files: memoryFiles(tree), arch: 'x64', ...(root ? { image: memoryFiles(root) } : {}) },
  );
}

const paths = (edits: DeviceEdits) => edits.nodes.map((n) => n.path);
const places = (edits: DeviceEdits) => edits.mounts.map((m) => m.destination);

/** Compares with a file of test/golden/devices; UPDATE_GOLDEN=1 writes it. */
function golden(name: string, edits: DeviceEdits): void {
  const file = path.join(packageRoot(), 'test/golden/devices', `${name}.json`);
  const text = `${JSON.stringify(edits, null, 1)}\n`;
  if (process.env['UPDATE_GOLDEN']) {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  assert.equal(text, readFileSync(file, 'utf8'));
}

const GOLDEN: [name: string, flag: string, options: GpuTreeOptions, image: Image, env?: string[]][] = [
  ['one-gpu-debian', 'all', {}, 'debian'],
  ['one-gpu-redhat', 'all', {}, 'redhat'],
  ['one-gpu-static', 'all', {}, 'static'],
  ['two-gpus-second', 'device=1', { gpus: 2 }, 'debian'],
  ['eight-gpus-three', '3', { gpus: 8 }, 'debian'],
  ['everything-32', 'all,capabilities=all', { bits32: true, graphics: true }, 'debian32'],
  ['mig-instance', 'device=0:1', { gpus: 2, mig: { 0: { 1: [0], 5: [0, 1] } } }, 'debian'],
  ['missing-nodes', 'all', { without: ['nvidia0', 'nvidiactl', 'nvidia-uvm', 'nvidia-uvm-tools'] }, 'debian'],
  ['mixed-versions', 'all', { libraries: ['535.104.05', '550.54.14'] }, 'debian'],
  ['driver-directory', 'all', { directory: '/usr/local/nvidia/lib64', noCache: true }, 'debian'],
];
for (const [name, flag, options, image, env] of GOLDEN) {
  test(`exact edits: ${name}`, async () => golden(name, await gpus(flag, options, image, env)));
}

test('only the nodes of the GPUs that were asked for', async () => {
  const always = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools'];
  const of = async (flag: string, n: number) =>
    paths(await gpus(flag, { gpus: n })).filter((p) => !always.includes(p));
  assert.deepEqual(await of('all', 2), ['/dev/nvidia0', '/dev/nvidia1']);
  assert.deepEqual(await of('1', 2), ['/dev/nvidia0']);
  assert.deepEqual(
    await of('-1', 8),
    [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `/dev/nvidia${i}`),
  );
  assert.deepEqual(await of('device=3,5', 8), ['/dev/nvidia3', '/dev/nvidia5']);
  assert.deepEqual(await of('"device=3,5",capabilities=utility', 8), ['/dev/nvidia3', '/dev/nvidia5']);
  assert.deepEqual(await of(`device=${uuidOf(6)}`, 8), ['/dev/nvidia6']);
  assert.deepEqual(await of(`device=${uuidOf(6).slice(0, 12)}`, 8), ['/dev/nvidia6']);
  assert.deepEqual(await of(`device=${pciOf(2)}`, 8), ['/dev/nvidia2']);
  assert.deepEqual(await of(`device=0000${pciOf(2)}`, 8), ['/dev/nvidia2']);
  const utility = await gpus('all,capabilities=utility');
  assert.deepEqual(paths(utility), ['/dev/nvidiactl', '/dev/nvidia0']);
  assert.ok(!places(utility).some((p) => p.includes('libcuda.so')));
});

test('MIG: instances by place, by the old name, and all of a GPU', async () => {
  const options = { gpus: 2, mig: { 0: { 1: [0], 5: [0, 1] } } };
  const caps = async (flag: string) =>
    paths(await gpus(flag, options))
      .filter((p) => p.includes('caps'))
      .map((p) => p.replace('/dev/nvidia-caps/nvidia-cap', ''));
  assert.deepEqual(await caps('device=0:0'), ['3', '4']);
  assert.deepEqual(await caps('device=0:2'), ['5', '7']);
  assert.deepEqual(await caps(`device=MIG-${uuidOf(0)}/5/0`), ['5', '6']);
  assert.deepEqual(await caps('device=0'), ['3', '4', '5', '6', '7']);
  assert.deepEqual(await caps('device=1'), []);
  const withConfig = await gpus('all', options, 'debian', ['NVIDIA_MIG_CONFIG_DEVICES=all']);
  assert.ok(paths(withConfig).includes('/dev/nvidia-caps/nvidia-cap1'));
});

test('the filtered /proc/driver/nvidia names only what is visible', async () => {
  const [tree] = (await gpus('device=1', { gpus: 2, mig: { 1: { 2: [0] } } })).trees;
  assert.deepEqual(
    tree?.files.map((f) => f.path),
    [
      'version',
      'params',
      'registry',
      `gpus/${pciOf(1)}/information`,
      'capabilities/gpu1/mig/gi2/access',
      'capabilities/gpu1/mig/gi2/ci0/access',
    ],
  );
  assert.match(tree?.files[1]?.content ?? '', /^ModifyDeviceFiles: 0$/m);
});

test("an image's variables", async () => {
  const of = async (...env: string[]) => gpus('all', { gpus: 4 }, 'debian', env);
  assert.ok(
    paths(await of('NVIDIA_VISIBLE_DEVICES=1,3'))
      .join()
      .endsWith('nvidia1,/dev/nvidia3,/dev/nvidia-uvm,/dev/nvidia-uvm-tools'),
  );
  assert.ok(paths(await of('NVIDIA_VISIBLE_DEVICES=void')).includes('/dev/nvidia3'));
  const none = await of('NVIDIA_VISIBLE_DEVICES=none');
  assert.ok(!paths(none).includes('/dev/nvidia0'));
  assert.ok(places(none).some((p) => p.includes('libcuda.so')));
  const video = await of('NVIDIA_DRIVER_CAPABILITIES=video,utility');
  assert.ok(places(video).some((p) => p.includes('libnvcuvid')));
  assert.ok(!places(video).some((p) => p.includes('libcuda.so')));
  assert.deepEqual(video.env, ['NVIDIA_VISIBLE_DEVICES=all', 'NVIDIA_DRIVER_CAPABILITIES=video,utility']);
  const flag = await gpus('all,capabilities=compute', {}, 'debian', ['NVIDIA_DRIVER_CAPABILITIES=video']);
  assert.ok(places(flag).some((p) => p.includes('libcuda.so')));
  await assert.rejects(
    of('NVIDIA_DRIVER_CAPABILITIES=magic'),
    /unknown GPU capability "magic" in NVIDIA_DRIVER/,
  );
  const old = await of('NVIDIA_REQUIRE_CUDA=cuda>=12.8 driver>=470,driver<471');
  assert.match(
    old.warnings[0] ?? '',
    /asks for CUDA 12\.8, and this host's NVIDIA driver 550\.54\.14 offers CUDA 12\.4/,
  );
  assert.deepEqual((await of('NVIDIA_REQUIRE_CUDA=cuda>=12.8 driver>=550,driver<551')).warnings, []);
  assert.deepEqual((await of('NVIDIA_REQUIRE_CUDA=cuda>=12.8', 'NVIDIA_DISABLE_REQUIRE=1')).warnings, []);
});

test("CUDA's forward-compatibility libraries of an image go before the host's older ones", async () => {
  const image = imageTree('debian');
  const compat = (version: string) => {
    image.set(`/usr/local/cuda/compat/libcuda.so.${version}`, { kind: 'file', content: '' });
    image.set('/usr/local/cuda/compat/libcuda.so.1', { kind: 'link', target: `libcuda.so.${version}` });
  };
  compat('570.10.01');
  const newer = await gpus('all', {}, image);
  assert.ok(!places(newer).some((p) => p.includes('libcuda.so')));
  assert.ok(places(newer).some((p) => p.includes('libnvidia-ml.so')));
  assert.deepEqual(
    newer.symlinks.filter((l) => l.path.includes('libcuda.so')),
    [
      { path: '/usr/lib/x86_64-linux-gnu/libcuda.so.1', target: '/usr/local/cuda/compat/libcuda.so.1' },
      { path: '/usr/lib/x86_64-linux-gnu/libcuda.so', target: 'libcuda.so.1' },
    ],
  );
  image.delete('/usr/local/cuda/compat/libcuda.so.570.10.01');
  compat('535.10.01');
  assert.ok(places(await gpus('all', {}, image)).some((p) => p.endsWith('libcuda.so.1')));
});

test('layouts of images', async () => {
  const lib = async (image: Image) =>
    path.dirname(places(await gpus('all', {}, image)).find((p) => p.includes('libcuda.so')) ?? '');
  assert.equal(await lib('debian'), '/usr/lib/x86_64-linux-gnu');
  assert.equal(await lib('redhat'), '/usr/lib64');
  assert.equal(await lib('arch'), '/usr/lib');
  assert.equal(await lib('static'), '/usr/lib64');
  assert.equal((await gpus('all', {}, 'debian')).ldconfig?.program, '/sbin/ldconfig');
  assert.equal((await gpus('all', {}, 'static')).ldconfig, undefined);
  await assert.rejects(gpus('all', {}, 'alpine'), /musl C library.*need glibc/);
  const both = await gpus('all,capabilities=compute,compat32', { bits32: true }, 'debian32');
  assert.ok(places(both).includes('/usr/lib/i386-linux-gnu/libcuda.so.1'));
  assert.ok(!places(await gpus('all,capabilities=all', { bits32: true })).some((p) => p.includes('i386')));
});

test('graphics brings the DRM nodes of the same PCI device, and nvidia-modeset', async () => {
  const edits = await gpus('device=1,capabilities=graphics', { gpus: 2, graphics: true });
  assert.deepEqual(paths(edits), [
    '/dev/nvidiactl',
    '/dev/nvidia1',
    '/dev/nvidia-modeset',
    '/dev/dri/card1',
    '/dev/dri/renderD129',
  ]);
  assert.deepEqual(
    edits.symlinks.filter((l) => l.path.includes('by-path')),
    [
      { path: `/dev/dri/by-path/pci-${pciOf(1)}-card`, target: '../card1' },
      { path: `/dev/dri/by-path/pci-${pciOf(1)}-render`, target: '../renderD129' },
    ],
  );
});

test('what is wrong is said in one line', async () => {
  await assert.rejects(gpus('9', { gpus: 2 }), (e: Error & { hint?: string }) => {
    assert.equal(e.message, '--gpus 9: this host has 2 GPUs');
    assert.match(e.hint ?? '', /there are 0 \(NVIDIA Test 100, GPU-00000000-.*\); 1 \(/);
    return true;
  });
  await assert.rejects(gpus('device=GPU-dead', {}), /there is no GPU "GPU-dead"/);
  await assert.rejects(gpus('device=7', { gpus: 2 }), /there is no GPU "7"/);
  await assert.rejects(gpus('all', new Map()), /this host has no GPU with a loaded driver/);
  await assert.rejects(gpus('driver=amd,all', { gpus: 2 }), /this host has no AMD GPU/);
  const unloaded: Tree = new Map();
  pciDevice(unloaded, '0000:17:00.0', '0x10de', 'card0', 'renderD128', 'nouveau', 0);
  await assert.rejects(
    gpus('all', unloaded),
    /NVIDIA GPU at 0000:17:00\.0, but NVIDIA's driver isn't loaded \(nouveau is\)/,
  );
  await assert.rejects(
    gpus('all', { libraries: [] }),
    /550\.54\.14 is loaded, but its library libcuda\.so\.1 is not on this host/,
  );
  await assert.rejects(
    gpus('all', { libraries: ['535.104.05'] }),
    /is 550\.54\.14 and its libraries are 535\.104\.05/,
  );
  await assert.rejects(gpus('all', { gpus: 0 }), /is loaded and shows no GPU/);
  for (const [flag, why] of [
    ['two', /isn't a number of GPUs/],
    ['all,2', /isn't a number of GPUs/],
    ['count=x', /isn't a number of GPUs/],
    ['2,device=0', /not both/],
    ['device=', /has no value/],
    ['colour=red', /unknown key "colour"/],
    ['driver=matrox,all', /unknown driver/],
    ['all,driver=nvidia,driver=amd', /is there twice/],
    ['all,capabilities=magic', /unknown GPU capability/],
    ['"device=0', /quote that is not closed|unknown key/],
  ] as const) {
    await assert.rejects(gpus(flag), why, flag);
  }
});

test('AMD and Intel by their nodes, with the groups that may open them', async () => {
  const tree: Tree = new Map();
  pciDevice(tree, '0000:03:00.0', '0x1002', 'card0', 'renderD128', 'amdgpu', 0);
  pciDevice(tree, '0000:83:00.0', '0x1002', 'card1', 'renderD129', 'amdgpu', 1);
  pciDevice(tree, '0000:00:02.0', '0x8086', 'card2', 'renderD130', 'i915', 2);
  tree.set('/dev/kfd', { kind: 'char', major: 234, minor: 0, mode: 0o660, gid: 104 });
  const one = await gpus('1', tree);
  assert.deepEqual(paths(one), ['/dev/kfd', '/dev/dri/card0', '/dev/dri/renderD128']);
  assert.deepEqual(one.additionalGids, [104, 44]);
  assert.deepEqual(paths(await gpus('driver=intel,all', tree)), ['/dev/dri/card2', '/dev/dri/renderD130']);
  assert.deepEqual(paths(await gpus('device=renderD129', tree)), [
    '/dev/kfd',
    '/dev/dri/card1',
    '/dev/dri/renderD129',
  ]);
  await assert.rejects(gpus('3', tree), /this host has 2 GPUs/);
});

test('nvidia.com/gpu works without CDI files, from what is found', async () => {
  const edits = await resolveDevices(
    { devices: [{ source: 'nvidia.com/gpu=1', target: '', permissions: '' }] },
    { files: memoryFiles(gpuTree({ gpus: 2 })), arch: 'x64' },
  );
  assert.ok(paths(edits).includes('/dev/nvidia1') && !paths(edits).includes('/dev/nvidia0'));
});

test("DeviceRequests of inspect, in Docker's words", () => {
  const of = (gpus?: string, ...names: string[]) =>
    dockerDeviceRequests(
      names.map((source) => ({ source, target: source, permissions: 'rwm' })),
      gpus,
    );
  assert.equal(of(undefined, '/dev/fuse'), null);
  const gpu = { Driver: '', Count: 0, DeviceIDs: null, Capabilities: [['gpu']], Options: {} };
  assert.deepEqual(of('all'), [{ ...gpu, Count: -1 }]);
  assert.deepEqual(of('2'), [{ ...gpu, Count: 2 }]);
  assert.deepEqual(of('"device=0,1","capabilities=utility"'), [
    { ...gpu, DeviceIDs: ['0', '1'], Capabilities: [['gpu', 'utility']] },
  ]);
  assert.deepEqual(of(undefined, 'vendor.com/x=a', '/dev/fuse'), [
    { Driver: 'cdi', Count: 0, DeviceIDs: ['vendor.com/x=a'], Capabilities: null, Options: {} },
  ]);
});
