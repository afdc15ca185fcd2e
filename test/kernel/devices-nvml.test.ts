import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { checkGpus, diskFiles, gpuUsage, type NvmlData, resolveDevices } from '../../src/devices/index.js';
import { openNvml, readNvml } from '../../src/kernel/index.js';
import { memoryFiles } from '../support/device-tree.js';
import { gpuTree, pciOf } from '../support/gpu-tree.js';

/** The addon loads a library of the test's own, in C, that answers as NVIDIA's would. */
let dir = '';
let library = '';
before(() => {
  dir = mkdtempSync('/tmp/nsbox-test-nvml-');
  library = path.join(dir, 'libnvidia-ml.so.1');
  const source = path.join(packageRoot(), 'test/fixtures/fake-nvml.c');
  execFileSync('cc', ['-shared', '-fPIC', '-Wall', '-Werror', '-o', library, source]);
  process.env['FAKE_NVML_PID'] = '4711';
});
after(() => rmSync(dir, { recursive: true, force: true }));

async function data(): Promise<NvmlData> {
  return readNvml(await openNvml(library));
}

test('everything that the library tells', async () => {
  const { gpus, ...system } = await data();
  assert.deepEqual(system, { driver: '550.54.14', cuda: 12040 });
  assert.deepEqual(gpus[0], {
    uuid: 'GPU-0',
    name: 'NVIDIA Fake 0',
    pci: '00000000:17:00.0',
    minor: 0,
    memoryUsed: 2 ** 30,
    memoryTotal: 80 * 2 ** 30,
    gpuPercent: 50,
    memoryPercent: 20,
    migEnabled: false,
    mig: [],
    processes: [
      { pid: 4711, memory: 3 * 2 ** 20 },
      { pid: 4711, memory: 3 * 2 ** 20 },
    ],
    samples: [
      { pid: 4711, sm: 10, memory: 5 },
      { pid: 4711, sm: 42, memory: 5 },
    ],
  });
  assert.deepEqual(
    gpus[1]?.mig.map((m) => [m.gpuInstance, m.computeInstance, m.memoryUsed]),
    [
      [5, 0, 3 * 2 ** 30],
      [1, 0, 4 * 2 ** 30],
    ],
  );
});

test("a container's share, by its processes", async () => {
  const all = await data();
  assert.deepEqual(await gpuUsage(all, new Set([1, 4711])), {
    gpus: ['GPU-0'],
    memory: 3 * 2 ** 20,
    utilization: 42,
  });
  assert.equal(await gpuUsage(all, new Set([1])), undefined);
});

test('several sessions at once, in worker threads of the addon', async () => {
  const both = await Promise.all([data(), data(), data()]);
  assert.equal(both.filter((d) => d.gpus.length === 2).length, 3);
});

test('a MIG device by its UUID, and UUIDs that /proc does not show yet', async () => {
  const tree = gpuTree({ gpus: 2, hiddenUuids: true, mig: { 1: { 1: [0], 5: [0] } } });
  const memory = memoryFiles(tree);
  const at = '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.54.14';
  const files = { ...memory, onHost: (f: string) => (f === at ? library : f) };
  const nodes = async (id: string) =>
    (
      await resolveDevices(
        { devices: [], gpus: `"device=${id}",capabilities=utility` },
        { files, arch: 'x64' },
      )
    ).nodes.map((n) => n.path);
  assert.deepEqual(await nodes('MIG-12345672-aaaa-bbbb-cccc-dddddddddddd'), [
    '/dev/nvidiactl',
    '/dev/nvidia1',
    '/dev/nvidia-caps/nvidia-cap5',
    '/dev/nvidia-caps/nvidia-cap6',
  ]);
  assert.deepEqual(await nodes('GPU-0'), ['/dev/nvidiactl', '/dev/nvidia0']);
  const nvml = (await checkGpus(files)).find((c) => c.name === 'NVML');
  assert.deepEqual(nvml, { name: 'NVML', status: 'ok', found: 'driver 550.54.14, CUDA 12.4, 2 GPU(s)' });
  assert.ok((await checkGpus(files)).some((c) => c.name === 'GPU 0' && c.found.includes(pciOf(0))));
});

test('a library that is missing, is none, or refuses: the reason, and no crash', async () => {
  await assert.rejects(openNvml('/nonexistent/libnvidia-ml.so.1'), /No such file|cannot open/);
  await assert.rejects(
    openNvml('/lib/x86_64-linux-gnu/libm.so.6'),
    /is not NVIDIA's management library|cannot open/,
  );
  const script = `import('${packageRoot()}/build/js/src/kernel/index.js').then((k) => k.openNvml('${library}')).catch((e) => console.log(e.message))`;
  const refused = spawnSync(process.execPath, ['-e', script], {
    env: { ...process.env, FAKE_NVML_FAIL: '1' },
  });
  assert.equal(refused.stdout.toString(), 'Driver Not Loaded\n');
  const here = await checkGpus(diskFiles(dir));
  assert.deepEqual(
    here.map((c) => c.name),
    ['GPUs'],
  );
});
