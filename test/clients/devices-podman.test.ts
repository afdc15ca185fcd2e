import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { applyEdits, cdiText, diskFiles, resolveDevices } from '../../src/devices/index.js';
import type { Spec } from '../../src/spec/index.js';
import { writeTree } from '../support/device-tree.js';
import { gpuTree } from '../support/gpu-tree.js';

/**
 * podman applies CDI through the reference implementation. It is run in a mount namespace of its own with an /etc that
 * holds the test's CDI files, and with a "runtime" that only keeps the config.json it is given.
 */
const podman = spawnSync('podman', ['--version']).status === 0;
const skip = !podman ? 'podman is not installed' : process.geteuid?.() !== 0 ? 'needs root' : false;

let dir = '';
before(() => {
  dir = mkdtempSync('/tmp/nsbox-test-cdi-');
  mkdirSync(`${dir}/rootfs/bin`, { recursive: true });
  cpSync('/bin/busybox', `${dir}/rootfs/bin/sh`);
  writeFileSync(
    `${dir}/runtime`,
    `#!/bin/sh\nwhile [ $# -gt 0 ]; do case "$1" in --bundle|-b) cp "$2/config.json" ${dir}/config.json; shift;; esac; shift; done\nexit 1\n`,
  );
  chmodSync(`${dir}/runtime`, 0o755);
});
after(() => rmSync(dir, { recursive: true, force: true }));

interface Run {
  spec: Spec;
  stderr: string;
}

/** The config.json that podman makes with these CDI files; undefined spec where it refuses. */
function podmanSpec(files: Record<string, string>, args: string[], setUp = ''): Run {
  rmSync(`${dir}/config.json`, { force: true });
  rmSync(`${dir}/cdi`, { recursive: true, force: true });
  for (const [file, text] of Object.entries(files)) {
    const at = path.join(dir, 'cdi', file);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, text);
  }
  const script = `set -e
    mkdir -p ${dir}/up ${dir}/wk
    mount -t overlay none -o lowerdir=/etc,upperdir=${dir}/up,workdir=${dir}/wk /etc
    rm -rf /etc/cdi; cp -r ${dir}/cdi/etc/cdi /etc/cdi
    ${setUp}
    exec podman --root ${dir}/root --runroot ${dir}/run --storage-driver vfs --cgroup-manager cgroupfs \\
      --runtime ${dir}/runtime run --rm --network none "$@" --rootfs ${dir}/rootfs /bin/sh`;
  const done = spawnSync('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...args]);
  const stderr = done.stderr.toString();
  if (!existsSync(`${dir}/config.json`)) return { spec: {} as Spec, stderr };
  return { spec: JSON.parse(readFileSync(`${dir}/config.json`, 'utf8')) as Spec, stderr };
}

/** What nsbox makes of the same files, on podman's own spec without devices. */
async function ours(base: Spec, devices: string[], root: string): Promise<Spec> {
  const edits = await resolveDevices(
    { devices: devices.map((source) => ({ source, target: source, permissions: 'rwm' })) },
    { files: { ...diskFiles(), ...cdiFiles(root) } },
  );
  return applyEdits(base, edits);
}

/** The machine's files, with the test's own /etc/cdi. */
function cdiFiles(
  root: string,
): Pick<ReturnType<typeof diskFiles>, 'lstat' | 'readText' | 'readDirectory' | 'readLink'> {
  const disk = diskFiles();
  const at = (file: string) => (file === '/etc/cdi' || file.startsWith('/etc/cdi/') ? root + file : file);
  return {
    lstat: (f) => disk.lstat(at(f)),
    readText: (f) => disk.readText(at(f)),
    readDirectory: (f) => disk.readDirectory(at(f)),
    readLink: (f) => disk.readLink(at(f)),
  };
}

/** The parts that CDI changes. Ids of 0 and bind types that podman leaves out are filled in; order within is kept. */
function parts(spec: Spec, places: Set<string>) {
  const hooks = (list: unknown) => (Array.isArray(list) && list.length > 0 ? list : undefined);
  return {
    devices: (spec.linux?.devices ?? []).map((d) => ({
      ...d,
      fileMode: d.fileMode ?? 0o666,
      uid: d.uid ?? 0,
      gid: d.gid ?? 0,
    })),
    rules: spec.linux?.resources?.devices ?? [],
    mounts: (spec.mounts ?? [])
      .filter((m) => places.has(m.destination))
      .map((m) => ({ ...m, type: m.type ?? 'bind' })),
    env: [...(spec.process?.env ?? [])].filter((e) => !/^(HOSTNAME|HOME)=/.test(e)).sort(),
    gids: spec.process?.user.additionalGids ?? [],
    create: hooks(spec.hooks?.createContainer),
    runtime: hooks(spec.hooks?.createRuntime),
    start: hooks(spec.hooks?.startContainer),
    stop: hooks(spec.hooks?.poststop),
  };
}

const VENDOR = `cdiVersion: 0.5.0
kind: vendor.com/thing
containerEdits:
  env: [COMMON=1]
  hooks:
  - {hookName: createContainer, path: /bin/true, args: ["true", x], env: [H=1], timeout: 3}
  - {hookName: poststop, path: /bin/true}
  deviceNodes:
  - {path: /dev/common, hostPath: /dev/null}
devices:
- name: a
  containerEdits:
    env: [A=1]
    deviceNodes:
    - {path: /dev/fuse2, hostPath: /dev/fuse, permissions: rw, fileMode: 0600, uid: 3, gid: 4}
    - {path: /dev/numbers, type: c, major: 7, minor: 9}
    mounts:
    - {hostPath: /usr, containerPath: /mnt/b/c, options: [ro, bind, nosuid]}
    - {hostPath: /tmp, containerPath: /mnt/b, options: [rbind]}
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/zero2, hostPath: /dev/zero, permissions: r}
    hooks:
    - {hookName: startContainer, path: /bin/true}
    - {hookName: createRuntime, path: /bin/false}
`;
// What NVIDIA's documentation shows of its toolkit's files, with what this machine has at those places.
const NVIDIA = JSON.stringify({
  cdiVersion: '0.5.0',
  kind: 'nvidia.com/gpu',
  devices: [0, 1].map((i) => ({
    name: `${i}`,
    containerEdits: { deviceNodes: [{ path: `/dev/nvidia${i}`, type: 'c', major: 195, minor: i }] },
  })),
  containerEdits: {
    env: ['NVIDIA_VISIBLE_DEVICES=void'],
    deviceNodes: [{ path: '/dev/nvidiactl', type: 'c', major: 195, minor: 255 }],
    hooks: ['create-symlinks', 'update-ldcache'].map((name) => ({
      hookName: 'createContainer',
      path: '/usr/bin/nvidia-ctk',
      args: ['nvidia-ctk', 'hook', name],
    })),
    mounts: [
      {
        hostPath: '/bin/ls',
        containerPath: '/usr/bin/nvidia-smi',
        options: ['ro', 'nosuid', 'nodev', 'bind'],
      },
    ],
  },
});

const CASES: [name: string, devices: string[], args: string[]][] = [
  ['one device', ['vendor.com/thing=a'], []],
  ['two of one spec', ['vendor.com/thing=a', 'vendor.com/thing=0'], []],
  ['two specs, as another user', ['vendor.com/thing=0', 'nvidia.com/gpu=1'], ['--user', '5:6']],
  ['all GPUs', ['nvidia.com/gpu=0', 'nvidia.com/gpu=1'], []],
];

test('CDI files resolve to the same edits as podman makes of them', { skip }, async (t) => {
  const files = { 'etc/cdi/vendor.yaml': VENDOR, 'etc/cdi/nvidia.json': NVIDIA };
  for (const [name, devices, args] of CASES) {
    await t.test(name, async () => {
      const base = podmanSpec(files, args).spec;
      const theirs = podmanSpec(files, [...args, ...devices.flatMap((d) => ['--device', d])]);
      assert.ok(theirs.spec.process, theirs.stderr);
      const spec = await ours(base, devices, `${dir}/cdi`);
      const places = new Set(['/mnt/b', '/mnt/b/c', '/usr/bin/nvidia-smi']);
      assert.deepEqual(parts(spec, places), parts(theirs.spec, places));
    });
  }
});

test('what podman refuses, nsbox refuses', { skip }, async (t) => {
  const device = (version: string, edits: string) =>
    `cdiVersion: ${version}\nkind: vendor.com/thing\ndevices:\n- name: a\n  containerEdits: ${edits}\n`;
  const bad: Record<string, Record<string, string>> = {
    unknown: { 'etc/cdi/a.yaml': device('0.5.0', '{env: [X=1]}').replace('name: a', 'name: b') },
    conflict: {
      'etc/cdi/a.yaml': device('0.5.0', '{env: [X=1]}'),
      'etc/cdi/b.yaml': device('0.5.0', '{env: [X=2]}'),
    },
    'unknown field': { 'etc/cdi/a.yaml': device('0.5.0', '{env: [X=1], colour: red}') },
    'no node on the host': { 'etc/cdi/a.yaml': device('0.5.0', '{deviceNodes: [{path: /dev/nosuch}]}') },
    'no edits': { 'etc/cdi/a.yaml': device('0.5.0', '{}') },
    'bad hook': { 'etc/cdi/a.yaml': device('0.5.0', '{hooks: [{hookName: x, path: /bin/true}]}') },
    'bad version': { 'etc/cdi/a.yaml': device('9.5.0', '{env: [X=1]}') },
  };
  for (const [name, files] of Object.entries(bad)) {
    await t.test(name, async () => {
      const theirs = podmanSpec(files, ['--device', 'vendor.com/thing=a']);
      assert.equal(theirs.spec.process, undefined, 'podman accepts it');
      await assert.rejects(ours({ ociVersion: '1.0.0' }, ['vendor.com/thing=a'], `${dir}/cdi`));
    });
  }
});

test('podman accepts what `nsbox cdi generate` writes of a fake host', { skip }, async () => {
  const host = path.join(dir, 'host');
  writeTree(gpuTree({ gpus: 2 }), host);
  for (const format of ['yaml', 'json'] as const) {
    const text = await cdiText({ format }, diskFiles(host));
    // Other nodes that podman needs; the fake host's /dev takes the place of the machine's.
    const setUp = `for n in null zero full random urandom tty ptmx; do [ -e ${host}/dev/$n ] || cp -a /dev/$n ${host}/dev/; done
      mkdir -p ${host}/dev/shm; mount --bind ${host}/dev /dev`;
    const { spec, stderr } = podmanSpec(
      { [`etc/cdi/n.${format}`]: text },
      ['--device', 'nvidia.com/gpu=1'],
      setUp,
    );
    assert.deepEqual(
      spec.linux?.devices?.map((d) => [d.path, d.major, d.minor]),
      [
        ['/dev/nvidiactl', 195, 255],
        ['/dev/nvidia-uvm', 508, 0],
        ['/dev/nvidia-uvm-tools', 508, 1],
        ['/dev/nvidia-modeset', 195, 254],
        ['/dev/nvidia1', 195, 1],
        ['/dev/dri/card1', 226, 1],
        ['/dev/dri/renderD129', 226, 129],
      ],
      stderr,
    );
    const libraries = spec.mounts?.map((m) => m.destination).filter((d) => d.includes('libcuda.so'));
    assert.deepEqual(libraries?.sort(), [
      '/usr/lib/x86_64-linux-gnu/libcuda.so',
      '/usr/lib/x86_64-linux-gnu/libcuda.so.1',
    ]);
  }
  execFileSync('rm', ['-rf', host]);
});
