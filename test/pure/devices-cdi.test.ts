import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DeviceEdits,
  emptyEdits,
  resolveDevices,
  withoutToolkitHooks,
} from '../../src/devices/index.js';
import { memoryFiles, type Tree, type TreeEntry } from '../support/device-tree.js';
import { imageTree } from '../support/gpu-tree.js';

function host(
  specs: Record<string, string>,
  more: [string, TreeEntry][] = [],
): ReturnType<typeof memoryFiles> {
  const tree: Tree = new Map(more);
  for (const [file, content] of Object.entries(specs)) tree.set(file, { kind: 'file', content });
  return memoryFiles(tree);
}

function resolve(files: ReturnType<typeof memoryFiles>, ...names: string[]): Promise<DeviceEdits> {
  const devices = names.map((source) => ({ source, target: source, permissions: 'rwm' }));
  return resolveDevices({ devices }, { files });
}

const one = (version: string, device: string, top = '') =>
  `cdiVersion: "${version}"\nkind: vendor.com/thing\n${top}devices:\n- name: a\n${device}`;

// The shape of what NVIDIA documents for its toolkit, with other numbers.
const GPU = `
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes:
    - path: /dev/nvidiactl
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-ctk
      args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
  mounts:
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, nosuid, nodev, bind]
devices:
  - name: 0
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
          fileMode: 0666
          permissions: rw
  - name: "1"
    containerEdits:
      deviceNodes:
        - {path: /dev/gpu1, hostPath: /dev/nvidia1}
  - name: all
    containerEdits:
      deviceNodes: [{path: /dev/nvidia0}, {path: /dev/nvidia1}]
`;
const nodes: [string, TreeEntry][] = [
  ['/dev/nvidiactl', { kind: 'char', major: 195, minor: 255 }],
  ['/dev/nvidia0', { kind: 'char', major: 195, minor: 0 }],
  ['/dev/nvidia1', { kind: 'char', major: 195, minor: 1 }],
];

test("a spec's own edits come once, then each device's", async () => {
  const files = host({ '/etc/cdi/nvidia.yaml': GPU }, nodes);
  const edits = await resolve(files, 'nvidia.com/gpu=0', 'nvidia.com/gpu=1');
  assert.deepEqual(
    edits.nodes.map((n) => [n.path, n.hostPath, n.major, n.minor, n.mode, n.permissions]),
    [
      ['/dev/nvidiactl', '/dev/nvidiactl', 195, 255, 0o666, 'rwm'],
      ['/dev/nvidia0', '/dev/nvidia0', 195, 0, 0o666, 'rw'],
      ['/dev/gpu1', '/dev/nvidia1', 195, 1, 0o666, 'rwm'],
    ],
  );
  assert.deepEqual(edits.env, ['NVIDIA_VISIBLE_DEVICES=void']);
  assert.deepEqual(edits.mounts, [
    {
      source: '/usr/bin/nvidia-smi',
      destination: '/usr/bin/nvidia-smi',
      options: ['ro', 'nosuid', 'nodev', 'bind'],
    },
  ]);
  assert.deepEqual(edits.hooks, {
    createContainer: [
      {
        path: '/usr/bin/nvidia-ctk',
        args: ['nvidia-ctk', 'hook', 'update-ldcache', '--folder', '/usr/lib/x86_64-linux-gnu'],
      },
    ],
  });
});

test('JSON, annotations, groups, RDT, network devices', async () => {
  const spec = {
    cdiVersion: '1.1.0',
    kind: 'vendor.com/net.card',
    annotations: { 'vendor.com/a': 'spec', 'vendor.com/b': 'spec' },
    devices: [
      {
        name: 'eth:0.1',
        annotations: { 'vendor.com/b': 'device' },
        containerEdits: {
          additionalGids: [0, 44, 104],
          intelRdt: { closID: 'guaranteed', l3CacheSchema: 'L3:0=f', enableCMT: true },
          netDevices: [{ hostInterfaceName: 'ib0', name: 'net1' }],
          deviceNodes: [
            { path: '/dev/pipe', type: 'p' },
            { path: '/dev/u', type: 'u', major: 7, minor: 3 },
          ],
          mounts: [{ hostPath: 'tmpfs', containerPath: '/scratch', type: 'tmpfs', options: ['size=1m'] }],
        },
      },
    ],
  };
  const edits = await resolve(
    host({ '/var/run/cdi/n.json': JSON.stringify(spec) }),
    'vendor.com/net.card=eth:0.1',
  );
  assert.deepEqual(edits.annotations, { 'vendor.com/a': 'spec', 'vendor.com/b': 'device' });
  assert.deepEqual(edits.additionalGids, [44, 104]);
  assert.deepEqual(edits.intelRdt, { closID: 'guaranteed', l3CacheSchema: 'L3:0=f', enableMonitoring: true });
  assert.deepEqual(edits.netDevices, [{ hostName: 'ib0', name: 'net1' }]);
  assert.deepEqual(
    edits.nodes.map((n) => [n.path, n.type, n.major, n.minor]),
    [
      ['/dev/pipe', 'p', 0, 0],
      ['/dev/u', 'c', 7, 3],
    ],
  );
  assert.deepEqual(edits.cgroupRules, [{ allow: true, type: 'c', major: 7, minor: 3, access: 'rwm' }]);
  assert.deepEqual(edits.mounts, [
    { source: 'tmpfs', destination: '/scratch', type: 'tmpfs', options: ['size=1m'] },
  ]);
});

test('a later directory wins; two files of one directory are a conflict', async () => {
  const device = (env: string) => one('0.3.0', `  containerEdits: {env: [${env}]}\n`);
  const files = host({
    '/etc/cdi/a.yaml': device('FROM=etc'),
    '/var/run/cdi/a.yaml': device('FROM=run'),
  });
  assert.deepEqual((await resolve(files, 'vendor.com/thing=a')).env, ['FROM=run']);
  const two = host({ '/etc/cdi/a.yaml': device('X=1'), '/etc/cdi/b.json': device('X=2') });
  await assert.rejects(
    resolve(two, 'vendor.com/thing=a'),
    /vendor\.com\/thing=a is defined more than once: \/etc\/cdi\/a\.yaml, \/etc\/cdi\/b\.json/,
  );
});

test('files of other names and of subdirectories are no specs; a bad one spoils only itself', async () => {
  const good = one('0.3.0', '  containerEdits: {env: [X=1]}\n');
  const files = host({
    '/etc/cdi/good.yaml': good,
    '/etc/cdi/bad.yaml': 'cdiVersion: [',
    '/etc/cdi/note.txt': good,
    '/etc/cdi/sub/good.yaml': good,
    '/etc/cdi/other.yml': good,
  });
  assert.deepEqual((await resolve(files, 'vendor.com/thing=a')).env, ['X=1']);
  await assert.rejects(resolve(files, 'vendor.com/thing=b'), (error: Error & { hint?: string }) => {
    assert.match(error.message, /no CDI device vendor\.com\/thing=b/);
    assert.match(error.hint ?? '', /vendor\.com\/thing has a/);
    return true;
  });
  await assert.rejects(resolve(files, 'else.com/thing=b'), (error: Error & { hint?: string }) => {
    assert.match(error.hint ?? '', /bad\.yaml: not valid YAML or JSON at line/);
    return true;
  });
  await assert.rejects(resolve(host({}), 'else.com/thing=b'), (error: Error & { hint?: string }) => {
    assert.match(error.hint ?? '', /no CDI files in \/etc\/cdi and \/var\/run\/cdi/);
    return true;
  });
});

test('what the standard forbids is named with its place', async () => {
  const ok = '  containerEdits: {env: [X=1]}\n';
  const bad: [spec: string, message: RegExp][] = [
    [one('0.3.0', '  containerEdits: {}\n'), /devices\[0\]\.containerEdits: the device "a" changes nothing/],
    [one('0.3.0', '  containerEdits: {env: [X]}\n'), /containerEdits\.env\[0\]: expected KEY=value/],
    [one('0.3.0', '  containerEdits: {env: [=X]}\n'), /expected KEY=value/],
    [one('0.3.0', '  containerEdit: {env: [X=1]}\n'), /containerEdits/],
    [one('0.3.0', ok, 'colour: red\n'), /unknown field colour/],
    [one('0.2.9', ok), /cdiVersion: expected one of 0\.1\.0 to 1\.1\.0, received "0\.2\.9"/],
    [
      one('0.3.0', '  containerEdits: {deviceNodes: [{path: /a, hostPath: /b}]}\n'),
      /hostPath needs at least 0\.5\.0/,
    ],
    [
      one('0.3.0', '  containerEdits: {mounts: [{hostPath: /a, containerPath: /b, type: x}]}\n'),
      /type needs at least 0\.4\.0/,
    ],
    [one('0.5.0', ok, 'annotations: {a: b}\n'), /annotations needs at least 0\.6\.0/],
    [one('0.6.0', '  containerEdits: {additionalGids: [1]}\n'), /additionalGids needs at least 0\.7\.0/],
    [one('0.6.0', '  containerEdits: {intelRdt: {closID: x}}\n'), /intelRdt needs at least 0\.7\.0/],
    [one('0.7.0', '  containerEdits: {intelRdt: {closID: ../x}}\n'), /closID: expected a name without/],
    [
      one('1.0.0', '  containerEdits: {netDevices: [{hostInterfaceName: a, name: b}]}\n'),
      /netDevices needs at least 1\.1\.0/,
    ],
    [one('0.5.0', ok).replace('thing', 'my.thing'), /a dot in the class needs at least 0\.6\.0/],
    [one('0.5.0', ok).replace('vendor.com/thing', 'vendor.com'), /kind: expected vendor\/class/],
    [one('0.5.0', ok).replace('name: a', 'name: "-a"'), /"-a" can't be a device name/],
    [one('0.4.0', ok).replace('name: a', 'name: 1a'), /starts with a digit needs at least 0\.5\.0/],
    [`${one('0.5.0', ok)}- name: a\n${ok}`, /"a" is there twice/],
    [
      one('0.5.0', '  containerEdits: {hooks: [{hookName: never, path: /x}]}\n'),
      /hookName: expected one of "prestart"/,
    ],
    [
      one('0.5.0', '  containerEdits: {hooks: [{hookName: poststop, path: x}]}\n'),
      /expected an absolute path/,
    ],
    [
      one('0.5.0', '  containerEdits: {deviceNodes: [{path: /dev/a, permissions: rx}]}\n'),
      /expected a selection/,
    ],
    [
      one('0.5.0', '  containerEdits: {deviceNodes: [{path: /dev/a, type: z}]}\n'),
      /type: expected one of "b", "c", "u", "p"/,
    ],
    ['cdiVersion: 0.5.0\nkind: vendor.com/thing\ndevices: []\n', /devices: expected at least 1 element/],
    ['just text', /expected a mapping/],
  ];
  for (const [spec, message] of bad) {
    const files = host({ '/etc/cdi/x.yaml': spec });
    await assert.rejects(resolve(files, 'vendor.com/none=none'), (error: Error & { hint?: string }) => {
      assert.match(error.hint ?? '', message, spec);
      return true;
    });
  }
});

test('nodes are looked up on the host, and must be what the file says', async () => {
  const spec = (n: string) => one('0.5.0', `  containerEdits: {deviceNodes: [${n}]}\n`);
  const files = (n: string) =>
    host({ '/etc/cdi/x.yaml': spec(n) }, [...nodes, ['/dev/f', { kind: 'file', content: '' }]]);
  await assert.rejects(
    resolve(files('{path: /dev/none}'), 'vendor.com/thing=a'),
    /needs \/dev\/none, which is not there/,
  );
  await assert.rejects(
    resolve(files('{path: /dev/f}'), 'vendor.com/thing=a'),
    /\/dev\/f, which is not a device node/,
  );
  await assert.rejects(
    resolve(files('{path: /dev/nvidia0, type: b}'), 'vendor.com/thing=a'),
    /says that \/dev\/nvidia0 is of type "b", and it is "c"/,
  );
});

test("the hooks of NVIDIA's toolkit are done without it; others stay, or are named", async () => {
  const image = imageTree('debian');
  image.set('/usr/local/cuda/compat/libcuda.so.570.1.1', { kind: 'file', content: '' });
  image.set('/usr/local/cuda/compat/libcuda.so.1', { kind: 'link', target: 'libcuda.so.570.1.1' });
  const hook = (program: string, ...args: string[]) => ({
    path: `/usr/bin/${program}`,
    args: [program, ...args],
  });
  const edits = emptyEdits();
  edits.hooks = {
    createContainer: [
      hook(
        'nvidia-ctk',
        'hook',
        'create-symlinks',
        '--link',
        'libcuda.so.1::/usr/lib/libcuda.so',
        '--link=../a::/b/c',
      ),
      hook('nvidia-cdi-hook', 'update-ldcache', '--folder', '/usr/lib/x', '--folder=/usr/lib/y'),
      hook('nvidia-cdi-hook', 'enable-cuda-compat', '--host-driver-version=550.54.14'),
      hook('nvidia-cdi-hook', 'chmod', '--mode', '755', '--path', '/dev/dri'),
      hook('other', 'create-symlinks'),
      hook('nvidia-cdi-hook', 'something-new'),
    ],
    poststop: [hook('cleanup')],
  };
  const done = await withoutToolkitHooks(edits, memoryFiles(image));
  assert.deepEqual(done.symlinks, [
    { path: '/usr/lib/libcuda.so', target: 'libcuda.so.1' },
    { path: '/b/c', target: '../a' },
  ]);
  assert.deepEqual(done.ldconfig, {
    program: '/sbin/ldconfig',
    args: ['ldconfig', '/usr/local/cuda/compat', '/usr/lib/x', '/usr/lib/y'],
  });
  assert.deepEqual(done.hooks, {
    createContainer: [hook('other', 'create-symlinks'), hook('nvidia-cdi-hook', 'something-new')],
    poststop: [hook('cleanup')],
  });
  assert.equal(edits.symlinks.length, 0);
});
