import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { applyEdits, resolveDevices } from '../../src/devices/index.js';
import { type LaunchPlan, plan, type Step } from '../../src/plan/index.js';
import { buildSpec, emptyRequest } from '../../src/spec/index.js';
import { memoryFiles } from '../support/device-tree.js';
import { type GpuTreeOptions, gpuTree, imageTree } from '../support/gpu-tree.js';
import { modernHost, UNIFIED } from '../support/hosts.js';

interface Host extends GpuTreeOptions {
  image?: Parameters<typeof imageTree>[0];
  env?: string[];
  /** Nodes of NVSwitch devices, with their minors; a fabric manager runs. */
  switches?: Record<string, number>;
}

/** The plan of a container that does nothing, with and without GPUs. */
async function launch(gpus: string | undefined, host: Host = {}): Promise<LaunchPlan> {
  const tree = gpuTree(host);
  for (const [at, minor] of Object.entries(host.switches ?? {}))
    tree.set(at, { kind: 'char', major: 236, minor, mode: 0o666 });
  if (host.switches) tree.set('/run/nvidia-fabricmanager/socket', { kind: 'socket' });
  const id = 'c0ffee'.padEnd(64, '0');
  const spec = buildSpec({
    request: { ...emptyRequest(), command: ['true'] },
    rootfs: '/c/upper',
    id,
    hostname: 'box',
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    idRange: { start: 100_000, size: 65_536 },
    cgroupsPath: `/nsbox/${id}`,
    mounts: [],
    host: modernHost(),
  });
  const edits = await resolveDevices(
    { devices: [], gpus, imageEnv: host.env },
    { files: memoryFiles(tree), image: memoryFiles(imageTree(host.image ?? 'debian')), arch: 'x64' },
  );
  return plan({
    id,
    spec: applyEdits(spec, edits),
    links: edits.symlinks,
    host: modernHost({ cgroup: UNIFIED }),
    rootfs: { kind: 'overlay', layers: ['/l/1'], upper: '/c/upper', work: '/c/work', idmap: true },
    stdio: 'pipes',
    idmapBinds: true,
  });
}

const LISTS = ['prepare', 'parent', 'init'] as const;

/** One line a step: what devices decide about it, and not the slots, which move with everything added before. */
function lines(steps: LaunchPlan): string[] {
  return LISTS.flatMap((list) => steps[list].map((step) => `${list} ${describe(step)}`));
}

function describe(step: Step): string {
  switch (step.op) {
    case 'node':
      return `node ${step.path} ${step.type} ${step.major}:${step.minor} ${step.mode.toString(8)} ${step.uid}:${step.gid}`;
    case 'mkdirIn':
      return `mkdirIn ${step.path} ${step.mode.toString(8)}`;
    case 'symlinkIn':
      return `symlinkIn ${step.path} -> ${step.target}`;
    case 'openTree':
      return `openTree ${step.source} set ${step.set}`;
    case 'attach':
      return `attach ${step.target}`;
    case 'mountFs':
      return `mountFs ${step.target}`;
    case 'hook':
      return `hook ${step.kind} ${step.path} ${step.args.join(' ')}`;
    case 'exec':
      return `exec ${step.argv.join(' ')} with ${step.env.join(' ')}`;
    default:
      return step.op;
  }
}

for (const [name, gpus, options] of [
  ['one-gpu', 'all', {}],
  ['two-gpus-second', 'device=1', { gpus: 2 }],
  ['eight-gpus', 'all', { gpus: 8 }],
  ['mig-instance', 'device=0:1', { mig: { 0: { 1: [0], 5: [0] } } }],
  ['graphics', 'all,capabilities=graphics,display', { graphics: true }],
  ['missing-nodes', 'all', { without: ['nvidia0', 'nvidiactl', 'nvidia-uvm', 'nvidia-uvm-tools'] }],
  ['mixed-versions', 'all', { libraries: ['535.104.05', '550.54.14'] }],
  ['32-bit', 'all,capabilities=compute,utility,compat32', { bits32: true, image: 'debian32' }],
  ['redhat', 'all', { image: 'redhat' }],
  ['without-ldconfig', 'all', { image: 'static' }],
  [
    'nvswitch',
    'all',
    {
      gpus: 2,
      env: ['NVIDIA_NVSWITCH=enabled'],
      switches: { '/dev/nvidia-nvswitchctl': 255, '/dev/nvidia-nvswitch0': 0, '/dev/nvidia-nvswitch1': 1 },
    },
  ],
] as [string, string, Host][]) {
  test(`exactly these steps are added to a plan: ${name}`, async () => {
    const before = lines(await launch(undefined));
    const after = lines(await launch(gpus, options));
    const added = [...after];
    // What was there stays, each line once; the environment of the program is the one that changes.
    for (const line of before.filter((l) => !l.startsWith('init exec '))) {
      const at = added.indexOf(line);
      assert.ok(at >= 0, `gone: ${line}`);
      added.splice(at, 1);
    }
    const file = path.join(packageRoot(), 'test/golden/devices', `plan-${name}.txt`);
    const text = `${added.join('\n')}\n`;
    if (process.env['UPDATE_GOLDEN']) {
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    assert.equal(text, readFileSync(file, 'utf8'));
  });
}

test('no plan for an image with musl: one line says why', async () => {
  await assert.rejects(launch('all', { image: 'alpine' }), /musl C library.*need glibc/);
});
