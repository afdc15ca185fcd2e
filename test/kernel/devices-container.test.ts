import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { after, before, test } from 'node:test';
import { type Context, makeContext } from '../../src/base/index.js';
import { pruneDeviceFiles } from '../../src/engine/devices.js';
import { startSandbox } from '../../src/engine/sandbox.js';
import {
  type ContainerRequest,
  emptyRequest,
  type ImageConfig,
  type ResolvedMount,
} from '../../src/spec/index.js';
import { type Tree, writeTree } from '../support/device-tree.js';
import { gpuTree, imageTree } from '../support/gpu-tree.js';

/**
 * Real containers on a fake driver. Its nodes have the numbers of devices that this machine has (GPU 0 is /dev/zero,
 * GPU 1 /dev/full, the control node /dev/null), so that opening them shows what is allowed.
 */
const skip =
  process.geteuid?.() !== 0
    ? 'needs root'
    : process.arch !== 'x64'
      ? 'the fake driver is one for x86-64'
      : false;
let dir = '';
let warnings: string[] = [];

before(() => {
  dir = mkdtempSync('/tmp/nsbox-test-devices-');
  const busybox = `${dir}/busybox`;
  mkdirSync(`${busybox}/bin`, { recursive: true });
  cpSync('/bin/busybox', `${busybox}/bin/busybox`);
  for (const name of ['sh', 'ls', 'cat', 'head', 'readlink', 'wc', 'dd', 'id', 'mknod', 'grep', 'touch']) {
    symlinkSync('busybox', `${busybox}/bin/${name}`);
  }
  for (const name of ['debian', 'redhat', 'alpine'] as const) {
    cpSync(busybox, `${dir}/${name}`, { recursive: true, verbatimSymlinks: true });
    const tree = imageTree(name);
    // An ldconfig that leaves a trace of where it ran.
    for (const [file, entry] of tree) {
      if (file.endsWith('/ldconfig')) {
        tree.set(file, {
          kind: 'file',
          content: '#!/bin/sh\nreadlink /proc/self/ns/mnt >/etc-cache\ncat >/etc-state\n',
          mode: 0o755,
        });
      } else if (entry.kind === 'link' && entry.target === 'usr/lib64')
        mkdirSync(`${dir}/${name}/usr/lib64`, { recursive: true });
    }
    writeTree(tree, `${dir}/${name}`);
  }
  const driver = real(gpuTree({ gpus: 2, graphics: true }));
  driver.set('/dev/group', { kind: 'char', major: 1, minor: 5, mode: 0o660, gid: 44 });
  driver.set('/dev/closed/random', { kind: 'char', major: 1, minor: 8, mode: 0o600 });
  writeTree(driver, `${dir}/driver`);
});
after(() => rmSync(dir, { recursive: true, force: true }));

/** The tree with nodes that work on any Linux. */
function real(tree: Tree): Tree {
  const numbers: Record<string, number> = { nvidiactl: 3, nvidia0: 5, nvidia1: 7, 'nvidia-uvm': 9 };
  for (const [file, entry] of tree) {
    if (entry.kind !== 'char') continue;
    const minor = numbers[file.slice('/dev/'.length)];
    if (minor !== undefined) tree.set(file, { ...entry, major: 1, minor });
  }
  return tree;
}

interface Result {
  code: number;
  out: string;
}

async function run(
  change: Partial<ContainerRequest>,
  script: string,
  image = 'debian',
  env: Record<string, string> = { NSBOX_DRIVER_ROOT: `${dir}/driver` },
  mounts: ResolvedMount[] = [],
  config?: ImageConfig,
): Promise<Result> {
  warnings = [];
  const ctx: Context = makeContext({
    root: `${dir}/root`,
    state: `${dir}/state`,
    env,
    warn: (message) => warnings.push(message),
  });
  const output = `${dir}/output`;
  const fd = openSync(output, 'w');
  try {
    const sandbox = await startSandbox(ctx, {
      request: {
        ...emptyRequest(),
        command: ['sh', '-c', script],
        networks: [{ network: 'none' }],
        ...change,
      },
      root: { layers: [`${dir}/${image}`], config },
      mounts,
      stdio: [-1, fd, fd],
    });
    const end = await sandbox.exit;
    return { code: end?.code ?? -1, out: readFileSync(output, 'utf8') };
  } finally {
    closeSync(fd);
  }
}

const device = (text: string) => {
  const [source, target, permissions] = text.split(':') as [string, string?, string?];
  return { devices: [{ source, target: target ?? source, permissions: permissions ?? 'rwm' }] };
};

test('--gpus: exactly the nodes of that GPU, and they open', { skip }, async () => {
  const { out, code } = await run(
    { gpus: 'device=0' },
    'ls /dev | grep nvidia; head -c 3 /dev/nvidia0 | wc -c; echo x >/dev/nvidiactl && echo wrote; id -u',
  );
  assert.equal(out, 'nvidia-uvm\nnvidia-uvm-tools\nnvidia0\nnvidiactl\n3\nwrote\n0\n');
  assert.equal(code, 0);
  const second = await run({ gpus: 'device=1' }, 'ls /dev | grep "nvidia[0-9]"; echo x >/dev/nvidia1');
  assert.match(second.out, /^nvidia1\n.*No space left on device\n$/);
});

test('without --gpus there is no GPU, and none can be made', { skip }, async () => {
  const { out } = await run(
    {},
    'ls /dev | grep -c nvidia; mknod /dev/nvidia0 c 1 5 2>&1; mknod /tmp-node c 195 0 2>&1; ls /dev | grep -c nvidia',
  );
  assert.match(out, /^0\nmknod: .*Operation not permitted\nmknod: .*Operation not permitted\n0\n$/);
});

test('libraries lie where the image looks, under the names that programs ask for', { skip }, async () => {
  const look =
    'cd $D; readlink libcuda.so; head -c 4 libcuda.so.1; head -c 4 libcuda.so; echo; (echo x >libcuda.so.1) 2>&1';
  for (const [image, directory] of [
    ['debian', '/usr/lib/x86_64-linux-gnu'],
    ['redhat', '/usr/lib64'],
    ['busybox', '/usr/lib64'],
  ] as const) {
    const { out } = await run({ gpus: 'all', env: [`D=${directory}`] }, look, image);
    assert.match(out, /^libcuda\.so\.1\n\x7fELF\x7fELF\n.*Read-only file system\n$/, `${image}: ${out}`);
  }
});

test("the image's own ldconfig has run in the container's mount namespace, never in the host's", {
  skip,
}, async () => {
  const { out } = await run({ gpus: 'all' }, 'cat /etc-cache; readlink /proc/self/ns/mnt');
  const [hook, own] = out.trim().split('\n');
  assert.equal(hook, own);
  const state = JSON.parse((await run({ gpus: 'all' }, 'cat /etc-state')).out) as {
    status: string;
    id: string;
  };
  assert.equal(state.status, 'created');
  assert.match(state.id, /^[0-9a-f]{64}$/);
  assert.notEqual(own, execFileSync('readlink', ['/proc/self/ns/mnt']).toString().trim());
  const readonly = await run({ gpus: 'all', readonlyRootfs: true }, 'ls /etc-cache 2>&1; ls /dev/nvidia0');
  assert.match(readonly.out, /No such file[^\n]*\n\/dev\/nvidia0\n$/);
});

test('a program of the image loads the driver, and ldconfig of the image knows it', { skip }, async () => {
  // An image with this machine's own C library and ldconfig; a driver library that answers; a program that asks it.
  const image = `${dir}/libc`;
  cpSync(`${dir}/busybox`, image, { recursive: true, verbatimSymlinks: true });
  const lib = `${image}/usr/lib/x86_64-linux-gnu`;
  mkdirSync(lib, { recursive: true });
  mkdirSync(`${image}/lib64`);
  mkdirSync(`${image}/etc`);
  mkdirSync(`${image}/sbin`);
  for (const name of ['libc.so.6', 'ld-linux-x86-64.so.2']) {
    cpSync(`/lib/x86_64-linux-gnu/${name}`, `${lib}/${name}`, { dereference: true });
  }
  symlinkSync('../usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2', `${image}/lib64/ld-linux-x86-64.so.2`);
  cpSync('/sbin/ldconfig', `${image}/sbin/ldconfig`, { dereference: true });
  const compile = (source: string, args: string[]) =>
    execFileSync('cc', ['-x', 'c', '-', ...args], { input: source });
  compile('int cuInit(unsigned flags) { return 42 + flags; }', [
    '-shared',
    '-fPIC',
    '-Wl,-soname,libcuda.so.1',
    '-o',
    `${dir}/driver/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14`,
  ]);
  compile(
    `#include <dlfcn.h>
     #include <stdio.h>
     int main(int n, char** v) {
       void* l = dlopen(v[1], RTLD_NOW);
       if (!l) return puts(dlerror()), 1;
       return printf("%d\\n", ((int (*)(unsigned))dlsym(l, "cuInit"))(1)), 0;
     }`,
    ['-o', `${image}/bin/ask`],
  );
  const script = 'ask libcuda.so.1; ask libcuda.so; /sbin/ldconfig -p | grep "libcuda.so.1 "';
  const { out } = await run({ gpus: 'all' }, script, 'libc');
  assert.match(
    out,
    /^43\n43\n\tlibcuda\.so\.1 \(libc6,x86-64\) => \/usr\/lib\/x86_64-linux-gnu\/libcuda\.so\.1\n$/,
  );
  const readonly = await run({ gpus: 'all', readonlyRootfs: true }, 'ask libcuda.so.1', 'libc');
  assert.equal(readonly.out, '43\n');
});

test("an image's ldconfig runs once for its layers and the driver, and its cache is there from then on", {
  skip,
}, async () => {
  const config = {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [] },
  } as ImageConfig;
  const of = (change: Partial<ContainerRequest>, script: string, image = 'libc') =>
    run({ gpus: 'all', ...change }, script, image, undefined, [], config);
  const known = '/sbin/ldconfig -p | grep -c "libcuda.so.1 "';
  const made = () => execFileSync('ls', ['-A', `${dir}/root/devices`]).toString();
  assert.equal((await of({}, `ask libcuda.so.1; ${known}`)).out, '43\n1\n');
  const before = made();
  // Nothing could have been written there.
  assert.equal((await of({ readonlyRootfs: true }, known)).out, '1\n');
  // The container's own programs may still make it anew.
  assert.equal((await of({}, `/sbin/ldconfig; ${known}`)).out, '1\n');
  assert.equal(made(), before, 'and nothing was left or made a second time');
  // One that makes no cache is run by each start, as without an image.
  assert.match((await of({}, 'cat /etc-cache', 'debian')).out, /^mnt:/);
});

test('variables, binaries, sockets and groups', { skip }, async () => {
  const { out } = await run(
    { gpus: 'all', env: ['NVIDIA_DRIVER_CAPABILITIES=all'] },
    'echo $NVIDIA_VISIBLE_DEVICES; ls /usr/bin/nvidia-smi /etc/OpenCL/vendors/nvidia.icd; ls /dev/dri /dev/dri/by-path; ls /run/nvidia-persistenced',
  );
  assert.match(out, /^all\n\/etc\/OpenCL\/vendors\/nvidia\.icd\n\/usr\/bin\/nvidia-smi\n/);
  assert.match(out, /card0\ncard1\nrenderD128\nrenderD129\n/);
  assert.match(out, /pci-0000:17:00\.0-card\npci-0000:17:00\.0-render\n/);
  assert.match(out, /socket\n$/);
});

test('nothing of it goes into the layer of the container, and the layer in between is made once', {
  skip,
}, async () => {
  const cached = () => execFileSync('ls', ['-A', `${dir}/root/devices`]).toString();
  await run({ gpus: 'device=0' }, 'true');
  const first = cached();
  const { out } = await run(
    { gpus: 'device=0' },
    'touch /usr/mine; ls /usr/lib/x86_64-linux-gnu/libcuda.so.1; ls -ld /usr/lib/x86_64-linux-gnu',
  );
  assert.match(out, /^\/usr\/lib\/x86_64-linux-gnu\/libcuda\.so\.1\ndrwxr-xr-x\s+\d+ 0\s+0 /);
  assert.equal(cached(), first);
});

test('--device: names, permissions, owners, directories', { skip }, async () => {
  const group = await run(device('/dev/group:/dev/mine'), 'ls -ln /dev/mine; head -c 2 /dev/mine | wc -c');
  assert.match(group.out, /^crw-rw----\s+1\s+0\s+44\s+1,\s+5 .*\/dev\/mine\n2\n$/);
  const user = await run({ ...device('/dev/group'), user: '7' }, 'cat /dev/group 2>&1');
  assert.match(user.out, /Permission denied/);
  const directory = await run(
    device('/dev/closed:/dev/open'),
    'ls /dev/open; head -c 1 /dev/open/random | wc -c',
  );
  assert.equal(directory.out, 'random\n1\n');
});

test('a node opens as far as its permissions say, and one without a rule not at all', { skip }, async (t) => {
  // Not one of the devices that every container may use.
  const minor = /^\s*(\d+) (tun|fuse|loop-control|userfaultfd)$/m.exec(
    readFileSync('/proc/misc', 'utf8'),
  )?.[1];
  if (minor === undefined) return t.skip('this kernel has none of tun, fuse, loop-control, userfaultfd');
  writeTree(new Map([['/dev/misc', { kind: 'char', major: 10, minor: Number(minor) }]]), `${dir}/driver`);
  const open = '(: </dev/z) 2>&1 && echo read; (: >/dev/z) 2>&1 && echo written';
  assert.equal((await run(device('/dev/misc:/dev/z'), open)).out, 'read\nwritten\n');
  assert.match((await run(device('/dev/misc:/dev/z:r'), open)).out, /^read\n.*Operation not permitted\n$/);
  assert.match((await run(device('/dev/misc:/dev/z:w'), open)).out, /^.*Operation not permitted\nwritten\n$/);
  // A node that comes with a bind mount, which no rule speaks of.
  const bind: ResolvedMount = {
    type: 'bind',
    source: `${dir}/driver/dev`,
    target: '/d',
    propagation: 'rprivate',
  };
  const bound = await run(device('/dev/nvidia0'), '(: </d/misc) 2>&1', 'debian', undefined, [bind]);
  assert.match(bound.out, /Operation not permitted\n$/);
});

test('a place in /proc can be covered, as that of the driver is', { skip }, async (t) => {
  if (!existsSync('/proc/driver')) return t.skip('this kernel has no /proc/driver');
  writeTree(new Map([['/proc/nvidia/version', { kind: 'file', content: 'filtered\n' }]]), dir);
  const bind: ResolvedMount = {
    type: 'bind',
    source: `${dir}/proc`,
    target: '/proc/driver',
    readonly: true,
    propagation: 'rprivate',
  };
  const { out } = await run({}, 'cat /proc/driver/nvidia/version', 'debian', undefined, [bind]);
  assert.equal(out, 'filtered\n');
});

test('failures name the cause and leave nothing behind', { skip }, async () => {
  const left = () =>
    execFileSync('sh', ['-c', `ls -A ${dir}/root/sandboxes; ls ${dir}/root/ids 2>/dev/null`]).toString();
  await assert.rejects(run({ gpus: '9' }, 'true'), /--gpus 9: this host has 2 GPUs/);
  await assert.rejects(run({ gpus: 'device=GPU-none' }, 'true'), /there is no GPU "GPU-none"/);
  await assert.rejects(run({ gpus: 'all' }, 'true', 'alpine'), /musl C library/);
  await assert.rejects(
    run({ gpus: 'all' }, 'true', 'debian', {}),
    /this host has no GPU with a loaded driver/,
  );
  await assert.rejects(run(device('/dev/none'), 'true'), /cannot add the device \/dev\/none: no such file/);
  // The monitors of earlier containers may still be removing theirs.
  for (let i = 0; i < 100 && left() !== ''; i++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(left(), '');
  const ctx = makeContext({ root: `${dir}/root`, state: `${dir}/state`, env: {} });
  assert.ok(existsSync(`${dir}/root/devices`));
  pruneDeviceFiles(ctx);
  assert.ok(!existsSync(`${dir}/root/devices`));
});
