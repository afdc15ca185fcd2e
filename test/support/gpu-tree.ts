import type { Tree } from './device-tree.js';

/** Fake hosts with NVIDIA's driver: what the kernel module and the driver's packages leave on a disk. */

export interface GpuTreeOptions {
  gpus?: number;
  /** Of the kernel module. */
  version?: string;
  /** Of the libraries; the module's unless told. Several: installed side by side. */
  libraries?: string[];
  /** Indices of GPUs split into MIG instances: GPU instance → compute instances. */
  mig?: Record<number, Record<number, number[]>>;
  /** Names below /dev that are left out. */
  without?: string[];
  bits32?: boolean;
  /** Where libraries lie, instead of Debian's directory. */
  directory?: string;
  /** Leave the ld cache out. */
  noCache?: boolean;
  graphics?: boolean;
  hiddenUuids?: boolean;
}

const COMPUTE = [
  'libnvidia-ml',
  'libnvidia-cfg',
  'libcuda',
  'libcudadebugger',
  'libnvidia-opencl',
  'libnvidia-ptxjitcompiler',
  'libnvidia-allocator',
  'libnvidia-nvvm',
  'libnvcuvid',
  'libnvidia-encode',
];
const GRAPHICS = ['libnvidia-glcore', 'libnvidia-eglcore', 'libGLX_nvidia', 'libEGL_nvidia', 'libnvoptix'];
const OF_NUMBER_FOUR = new Set(['libnvidia-nvvm']);
const OF_NUMBER_ZERO = new Set(['libGLX_nvidia', 'libEGL_nvidia']);

export const pciOf = (index: number): string => `0000:${(0x17 + index * 0x10).toString(16)}:00.0`;
export const uuidOf = (index: number): string => `GPU-0000000${index}-1111-2222-3333-444444444444`;

export function gpuTree(options: GpuTreeOptions = {}): Tree {
  const { gpus = 1, version = '550.54.14', mig = {} } = options;
  const tree: Tree = new Map();
  const caps: [string, number][] = [];
  tree.set('/proc/devices', {
    kind: 'file',
    content:
      'Character devices:\n  1 mem\n  5 /dev/tty\n195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n235 nvidia-caps\n236 nvidia-nvswitch\n508 nvidia-uvm\n\nBlock devices:\n  8 sd\n259 blkext\n',
  });
  tree.set('/proc/driver/nvidia/version', {
    kind: 'file',
    content: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  ${version}  Thu Feb 22 01:44:30 UTC 2024\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n`,
  });
  tree.set('/proc/driver/nvidia/params', {
    kind: 'file',
    content: 'ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\n',
  });
  tree.set('/proc/driver/nvidia/registry', { kind: 'file', content: 'Binary: ""\n' });
  node(tree, 'nvidiactl', 195, 255);
  node(tree, 'nvidia-modeset', 195, 254);
  node(tree, 'nvidia-uvm', 508, 0);
  node(tree, 'nvidia-uvm-tools', 508, 1);
  for (let i = 0; i < gpus; i++) {
    node(tree, `nvidia${i}`, 195, i);
    const uuid = options.hiddenUuids ? 'GPU-????????-????-????-????-????????????' : uuidOf(i);
    tree.set(`/proc/driver/nvidia/gpus/${pciOf(i)}/information`, {
      kind: 'file',
      content: `Model: \t\t NVIDIA Test 100\nIRQ:   \t\t 120\nGPU UUID: \t ${uuid}\nVideo BIOS: \t 90.00.00.00.01\nBus Type: \t PCIe\nBus Location: \t ${pciOf(i)}\nDevice Minor: \t ${i}\nGPU Firmware: \t ${version}\nGPU Excluded:\t No\n`,
    });
    pciDevice(tree, pciOf(i), '0x10de', `card${i}`, `renderD${128 + i}`, 'nvidia', i);
    for (const [gi, cis] of Object.entries(mig[i] ?? {})) {
      const at = `/proc/driver/nvidia/capabilities/gpu${i}/mig/gi${gi}`;
      caps.push([`${at}/access`, 3 + caps.length]);
      for (const ci of cis) caps.push([`${at}/ci${ci}/access`, 3 + caps.length]);
    }
  }
  if (caps.length > 0) {
    caps.push(['/proc/driver/nvidia/capabilities/mig/config', 1]);
    caps.push(['/proc/driver/nvidia/capabilities/mig/monitor', 2]);
  }
  for (const [file, minor] of caps) {
    tree.set(file, {
      kind: 'file',
      content: `DeviceFileMinor: ${minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n`,
    });
    tree.set(`/dev/nvidia-caps/nvidia-cap${minor}`, { kind: 'char', major: 235, minor, mode: 0o444 });
  }
  addLibraries(tree, options, version);
  for (const name of ['nvidia-smi', 'nvidia-debugdump', 'nvidia-cuda-mps-control']) {
    tree.set(`/usr/bin/${name}`, { kind: 'file', content: '#!/bin/sh\nexit 0\n', mode: 0o755 });
  }
  tree.set('/etc/OpenCL/vendors/nvidia.icd', { kind: 'file', content: 'libnvidia-opencl.so.1\n' });
  tree.set(`/lib/firmware/nvidia/${version}/gsp_ga10x.bin`, { kind: 'file', content: 'firmware' });
  tree.set('/run/nvidia-persistenced/socket', { kind: 'socket' });
  for (const name of options.without ?? []) tree.delete(`/dev/${name}`);
  return tree;
}

/** A GPU of another vendor, or one whose driver isn't loaded. */
export function pciDevice(
  tree: Tree,
  pci: string,
  vendor: string,
  card: string,
  render: string,
  driver: string | undefined,
  number: number,
): void {
  const at = `/sys/devices/pci0000:00/${pci}`;
  tree.set(`${at}/vendor`, { kind: 'file', content: `${vendor}\n` });
  tree.set(`${at}/device`, { kind: 'file', content: '0x2330\n' });
  tree.set(`${at}/class`, { kind: 'file', content: '0x030200\n' });
  tree.set(`/sys/bus/pci/devices/${pci}`, { kind: 'link', target: `../../../devices/pci0000:00/${pci}` });
  if (driver === undefined) return;
  tree.set(`${at}/driver`, { kind: 'link', target: `../../../bus/pci/drivers/${driver}` });
  for (const [name, minor] of [
    [card, number],
    [render, 128 + number],
  ] as const) {
    tree.set(`${at}/drm/${name}/dev`, { kind: 'file', content: `226:${minor}\n` });
    tree.set(`${at}/drm/${name}/device`, { kind: 'link', target: '../..' });
    tree.set(`/sys/class/drm/${name}`, {
      kind: 'link',
      target: `../../devices/pci0000:00/${pci}/drm/${name}`,
    });
    tree.set(`/dev/dri/${name}`, {
      kind: 'char',
      major: 226,
      minor,
      mode: 0o660,
      gid: name.startsWith('card') ? 44 : 104,
    });
  }
}

function addLibraries(tree: Tree, options: GpuTreeOptions, version: string): void {
  const cache: [name: string, file: string, bits: 32 | 64][] = [];
  const names = [...COMPUTE, ...(options.graphics ? GRAPHICS : [])];
  for (const own of options.libraries ?? [version]) {
    for (const bits of options.bits32 ? ([64, 32] as const) : ([64] as const)) {
      const directory =
        bits === 32 ? '/usr/lib/i386-linux-gnu' : (options.directory ?? '/usr/lib/x86_64-linux-gnu');
      for (const name of names) {
        const versioned = ['libnvidia-glcore', 'libnvidia-eglcore'].includes(name);
        const number = OF_NUMBER_FOUR.has(name) ? 4 : OF_NUMBER_ZERO.has(name) ? 0 : 1;
        const soname = versioned ? `${name}.so.${own}` : `${name}.so.${number}`;
        const file = `${name}.so.${own}`;
        tree.set(`${directory}/${file}`, { kind: 'file', content: fakeElf(soname, bits) });
        if (!versioned) tree.set(`${directory}/${soname}`, { kind: 'link', target: file });
        cache.push([soname, `${directory}/${soname}`, bits]);
      }
    }
  }
  cache.push(['libc.so.6', '/usr/lib/x86_64-linux-gnu/libc.so.6', 64]);
  if (!options.noCache) tree.set('/etc/ld.so.cache', { kind: 'file', content: ldCache(cache) });
}

function node(tree: Tree, name: string, major: number, minor: number): void {
  tree.set(`/dev/${name}`, { kind: 'char', major, minor, mode: 0o666 });
}

/**
 * The smallest shared object that has a soname and that a loader takes without falling over it: headers, one load
 * segment, a dynamic section, an empty symbol table with its hash, strings.
 */
export function fakeElf(soname: string, bits: 32 | 64 = 64): Uint8Array {
  const wide = bits === 64;
  const header = wide ? 64 : 52;
  const program = wide ? 56 : 32;
  const word = wide ? 8 : 4;
  const symbol = wide ? 24 : 16;
  const dynamic = header + 2 * program;
  const tags = 7;
  const symbols = dynamic + tags * 2 * word;
  const hash = symbols + symbol;
  const strings = hash + 4 * 4;
  const total = strings + 1 + soname.length + 1;
  const b = Buffer.alloc(total);
  const put = (at: number, value: number) =>
    wide ? b.writeBigUInt64LE(BigInt(value), at) : b.writeUInt32LE(value, at);
  b.write('\x7fELF', 0, 'latin1');
  b.set([wide ? 2 : 1, 1, 1], 4);
  b.writeUInt16LE(3, 16); // ET_DYN
  b.writeUInt16LE(wide ? 62 : 3, 18);
  b.writeUInt32LE(1, 20);
  put(wide ? 32 : 28, header);
  b.writeUInt16LE(header, wide ? 52 : 40);
  b.writeUInt16LE(program, wide ? 54 : 42);
  b.writeUInt16LE(2, wide ? 56 : 44);
  const base = 0x1000;
  for (const [i, type, from, size, align] of [
    [0, 1, 0, total, 0x1000],
    [1, 2, dynamic, tags * 2 * word, word],
  ] as const) {
    const at = header + i * program;
    b.writeUInt32LE(type, at);
    b.writeUInt32LE(6, at + (wide ? 4 : 24)); // readable and writable
    put(at + (wide ? 8 : 4), from);
    put(at + (wide ? 16 : 8), base + from);
    put(at + (wide ? 32 : 16), size);
    put(at + (wide ? 40 : 20), size);
    put(at + (wide ? 48 : 28), align);
  }
  for (const [i, [tag, value]] of [
    [5, base + strings], // DT_STRTAB
    [6, base + symbols], // DT_SYMTAB
    [4, base + hash], // DT_HASH
    [10, total - strings], // DT_STRSZ
    [11, symbol], // DT_SYMENT
    [14, 1], // DT_SONAME
  ].entries()) {
    put(dynamic + i * 2 * word, tag as number);
    put(dynamic + (i * 2 + 1) * word, value as number);
  }
  b.writeUInt32LE(1, hash);
  b.writeUInt32LE(1, hash + 4);
  b.write(soname, strings + 1, 'latin1');
  return b;
}

/** An ld.so.cache in glibc's new format. */
export function ldCache(entries: readonly [name: string, file: string, bits: 32 | 64][]): Uint8Array {
  const table = 48 + entries.length * 24;
  const strings: Buffer[] = [];
  let at = table;
  const text = (s: string) => {
    const here = at;
    const bytes = Buffer.from(`${s}\0`, 'latin1');
    strings.push(bytes);
    at += bytes.length;
    return here;
  };
  const head = Buffer.alloc(table);
  head.write('glibc-ld.so.cache1.1', 0, 'latin1');
  head.writeUInt32LE(entries.length, 20);
  for (const [i, [name, file, bits]] of entries.entries()) {
    const entry = 48 + i * 24;
    head.writeUInt32LE(bits === 64 ? 0x0303 : 0x0003, entry);
    head.writeUInt32LE(text(name), entry + 4);
    head.writeUInt32LE(text(file), entry + 8);
  }
  head.writeUInt32LE(at - table, 24);
  return Buffer.concat([head, ...strings]);
}

/** The bones of an image's root filesystem: what decides about the layout. */
export function imageTree(kind: 'debian' | 'redhat' | 'arch' | 'alpine' | 'static' | 'debian32'): Tree {
  const tree: Tree = new Map();
  const file = (name: string) => tree.set(name, { kind: 'file', content: '' });
  switch (kind) {
    case 'debian':
    case 'debian32':
      tree.set('/lib', { kind: 'link', target: 'usr/lib' });
      tree.set('/lib64', { kind: 'link', target: 'usr/lib64' });
      tree.set('/sbin', { kind: 'link', target: 'usr/sbin' });
      file('/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2');
      tree.set('/usr/lib64/ld-linux-x86-64.so.2', {
        kind: 'link',
        target: '/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2',
      });
      file('/usr/sbin/ldconfig');
      if (kind === 'debian32') file('/usr/lib/i386-linux-gnu/ld-linux.so.2');
      break;
    case 'redhat':
      tree.set('/lib64', { kind: 'link', target: 'usr/lib64' });
      file('/usr/lib64/ld-linux-x86-64.so.2');
      file('/sbin/ldconfig');
      break;
    case 'arch':
      tree.set('/lib64', { kind: 'link', target: 'usr/lib' });
      tree.set('/usr/lib64', { kind: 'link', target: 'lib' });
      file('/usr/lib/ld-linux-x86-64.so.2');
      file('/usr/bin/ldconfig');
      tree.set('/sbin', { kind: 'link', target: 'usr/bin' });
      break;
    case 'alpine':
      file('/lib/ld-musl-x86_64.so.1');
      file('/sbin/ldconfig');
      break;
    default:
      file('/bin/busybox');
  }
  return tree;
}
