import path from 'node:path';
import { NsboxError } from '../../base/index.js';
import type { DrmGpu } from '../drm.js';
import { addNode, type DeviceEdits, type DeviceNode, emptyEdits } from '../edits.js';
import type { Capability } from '../gpus-flag.js';
import { exists, type HostFiles, realPath, stat } from '../host-files.js';
import { type ImageLayout, multiarchLayout } from '../image-layout.js';
import { addDrmNode } from '../render.js';
import { forwardCompat } from './compat.js';
import { CONTROL_MINOR, MODESET_MINOR, NVIDIA_MAJOR, type NvidiaDriver } from './driver.js';
import { type DriverLibrary, findLibraries } from './libraries.js';
import { procTree } from './proc.js';
import type { Selection } from './select.js';
import {
  BINARIES,
  COMPAT_LIBRARIES,
  DATA_FILES,
  EXTRA_LINKS,
  LIBRARIES,
  OPTIONAL_NODES,
  SOCKETS,
} from './table.js';

export interface NvidiaWish {
  selection: Selection;
  capabilities: ReadonlySet<Capability>;
  /** The image's and the request's variables. */
  env: ReadonlyMap<string, string>;
  drm: readonly DrmGpu[];
  /** Absent: Debian's layout, no image to look into. */
  layout?: ImageLayout | undefined;
  /** As Node names it. */
  arch: string;
  /** Files of the image, for CUDA's forward-compatibility libraries. */
  image?: HostFiles | undefined;
}

const READ_ONLY = ['bind', 'ro', 'nosuid', 'nodev', 'rprivate'];

/** Everything that a selection of GPUs changes in a container. */
export function nvidiaEdits(files: HostFiles, driver: NvidiaDriver, wish: NvidiaWish): DeviceEdits {
  const edits = emptyEdits();
  const has = (needed: readonly Capability[]) => needed.some((c) => wish.capabilities.has(c));
  addNodes(edits, files, driver, wish);
  const { libraries, otherVersions } = findLibraries(files, driver.version, wish.arch, (name) =>
    has(LIBRARIES[name] ?? []),
  );
  const wanted = libraries.filter((l) => l.bits === 64 || wish.capabilities.has('compat32'));
  checkLibraries(driver, libraries, otherVersions, wish.capabilities);
  addLibraries(edits, files, driver, wanted, wish);
  for (const [name, needed] of Object.entries(BINARIES)) {
    if (has(needed)) addBinary(edits, files, name);
  }
  for (const { paths, capabilities } of DATA_FILES) {
    const from = has(capabilities) ? paths.find((p) => exists(files, p)) : undefined;
    if (from)
      addMount(
        edits,
        files,
        from,
        paths.includes(from) && inStandardPlace(from) ? from : (paths[0] as string),
      );
  }
  for (const { paths, capabilities } of SOCKETS) {
    const from = has(capabilities) ? paths.find((p) => exists(files, p)) : undefined;
    // A client writes to a socket, and MPS makes its pipes in its directory.
    if (from) addMount(edits, files, from, from, ['bind', 'nosuid', 'nodev', 'noexec', 'rprivate']);
  }
  if (has(['compute', 'graphics'])) addFirmware(edits, files, driver);
  const tree = procTree(files, wish.selection);
  if (tree) edits.trees.push(tree);
  return edits;
}

function addNodes(edits: DeviceEdits, files: HostFiles, driver: NvidiaDriver, wish: NvidiaWish): void {
  const has = (...needed: Capability[]) => needed.some((c) => wish.capabilities.has(c));
  const major = driver.majors.get('nvidia') ?? NVIDIA_MAJOR;
  const node = (name: string, numbers?: { major: number; minor: number }) => {
    const found = hostNode(files, `/dev/${name}`) ?? (numbers && madeNode(`/dev/${name}`, numbers));
    if (found) addNode(edits, found);
    return found !== undefined;
  };
  node('nvidiactl', { major, minor: CONTROL_MINOR });
  for (const { gpu } of wish.selection.gpus) node(`nvidia${gpu.minor}`, { major, minor: gpu.minor });
  if (has('compute')) {
    const uvm = driver.majors.get('nvidia-uvm');
    const at = (minor: number) => (uvm === undefined ? undefined : { major: uvm, minor });
    if (!node('nvidia-uvm', at(0))) {
      edits.warnings.push(
        "CUDA won't work: the kernel module nvidia-uvm isn't loaded; `modprobe nvidia-uvm` on the host loads it",
      );
    }
    node('nvidia-uvm-tools', at(1));
  }
  if (has('graphics', 'display')) node('nvidia-modeset', { major, minor: MODESET_MINOR });
  addMigNodes(edits, files, driver, wish);
  if (has('graphics', 'display')) addDrmNodes(edits, files, wish);
  for (const [variable, places] of Object.entries(OPTIONAL_NODES)) {
    if (wish.env.get(variable) !== 'enabled') continue;
    for (const { directory, names } of places) {
      for (const name of files.readDirectory(directory)) {
        if (names.test(name)) node(path.posix.relative('/dev', `${directory}/${name}`));
      }
    }
  }
  for (const channel of imexChannels(files, wish.env.get('NVIDIA_IMEX_CHANNELS'))) {
    node(`nvidia-caps-imex-channels/${channel}`);
  }
}

function addMigNodes(edits: DeviceEdits, files: HostFiles, driver: NvidiaDriver, wish: NvidiaWish): void {
  const major = driver.majors.get('nvidia-caps');
  const capability = (minor: number) => {
    const name = `/dev/nvidia-caps/nvidia-cap${minor}`;
    const found =
      hostNode(files, name) ?? (major === undefined ? undefined : madeNode(name, { major, minor }, 0o444));
    if (found) addNode(edits, found);
  };
  for (const { instances } of wish.selection.gpus) {
    for (const instance of instances) {
      capability(instance.gpuInstanceMinor);
      capability(instance.computeInstanceMinor);
    }
  }
  if (wish.env.get('NVIDIA_MIG_CONFIG_DEVICES') === 'all' && driver.migConfigMinor !== undefined) {
    capability(driver.migConfigMinor);
  }
  if (wish.env.get('NVIDIA_MIG_MONITOR_DEVICES') === 'all' && driver.migMonitorMinor !== undefined) {
    capability(driver.migMonitorMinor);
  }
}

function addDrmNodes(edits: DeviceEdits, files: HostFiles, wish: NvidiaWish): void {
  for (const { gpu } of wish.selection.gpus) {
    for (const name of wish.drm.find((d) => d.address === gpu.pci)?.nodes ?? []) {
      if (!addDrmNode(edits, files, `/dev/dri/${name}`)) continue;
      const kind = name.startsWith('card') ? 'card' : 'render';
      edits.symlinks.push({ path: `/dev/dri/by-path/pci-${gpu.pci}-${kind}`, target: `../${name}` });
    }
  }
}

function imexChannels(files: HostFiles, wanted: string | undefined): string[] {
  if (!wanted) return [];
  const there = files.readDirectory('/dev/nvidia-caps-imex-channels');
  return wanted === 'all'
    ? there
    : wanted
        .split(',')
        .map((n) => `channel${n.trim()}`)
        .filter((n) => there.includes(n));
}

/** The host's own node, with its numbers, mode and owner. */
function hostNode(files: HostFiles, file: string): DeviceNode | undefined {
  const found = stat(files, file);
  if (found?.kind !== 'char') return undefined;
  return {
    ...madeNode(file, found, found.mode),
    hostPath: files.onHost(file),
    uid: found.uid,
    gid: found.gid,
  };
}

/** A node that the host lacks (nobody ran nvidia-modprobe yet) and whose numbers the driver tells. */
function madeNode(file: string, numbers: { major: number; minor: number }, mode = 0o666): DeviceNode {
  const { major, minor } = numbers;
  return { path: file, hostPath: file, type: 'c', major, minor, mode, uid: 0, gid: 0, permissions: 'rw' };
}

function checkLibraries(
  driver: NvidiaDriver,
  libraries: readonly DriverLibrary[],
  otherVersions: readonly string[],
  capabilities: ReadonlySet<Capability>,
): void {
  const needed = capabilities.has('compute')
    ? 'libcuda'
    : capabilities.has('utility')
      ? 'libnvidia-ml'
      : undefined;
  if (!needed || libraries.some((l) => l.name === needed && l.bits === 64)) return;
  if (otherVersions.length > 0) {
    throw new NsboxError(
      'UNSUPPORTED',
      `NVIDIA's kernel driver is ${driver.version} and its libraries are ${otherVersions.join(' and ')}: they must be the same version`,
      { hint: 'after an update of the driver, reboot or reload its kernel modules' },
    );
  }
  throw new NsboxError(
    'UNSUPPORTED',
    `NVIDIA's kernel driver ${driver.version ?? ''} is loaded, but its library ${needed}.so.1 is not on this host`.replace(
      '  ',
      ' ',
    ),
    {
      hint: `install the user-space part of the driver in the same version (Debian: libcuda1 and nvidia-smi; or the driver's .run file); \`nsbox doctor --gpu\` shows what is there`,
    },
  );
}

function addLibraries(
  edits: DeviceEdits,
  files: HostFiles,
  driver: NvidiaDriver,
  libraries: readonly DriverLibrary[],
  wish: NvidiaWish,
): void {
  const compat = wish.image ? forwardCompat(wish.image, driver.version) : undefined;
  for (const library of libraries) {
    const directory = libraryDirectory(library, wish.layout, wish.arch);
    if (directory === undefined) continue;
    const replaced = compat !== undefined && library.bits === 64 && COMPAT_LIBRARIES.includes(library.name);
    const newer = replaced ? compat.get(library.soname) : undefined;
    // Under its soname, so that what a start leaves in the container's layer fits the next driver version too.
    if (newer === undefined) addMount(edits, files, library.path, `${directory}/${library.soname}`);
    else edits.symlinks.push({ path: `${directory}/${library.soname}`, target: newer });
    for (const name of EXTRA_LINKS[library.name] ?? []) {
      edits.symlinks.push({ path: `${directory}/${name}`, target: library.soname });
    }
  }
  if (wish.layout?.ldconfig && libraries.length > 0) {
    edits.ldconfig = { program: wish.layout.ldconfig, args: ['ldconfig'] };
  }
}

/** In the image's layout; without an image, where the host has it, if that is a place that loaders search. */
function libraryDirectory(
  library: DriverLibrary,
  layout: ImageLayout | undefined,
  arch: string,
): string | undefined {
  if (layout) return library.bits === 64 ? layout.lib64 : layout.lib32;
  const own = path.posix.dirname(library.path);
  if (/^\/usr\/lib(64|32)?(\/[a-z0-9_]+-linux-gnu\w*)?$/.test(own)) return own;
  const standard = multiarchLayout(arch);
  return library.bits === 64 ? standard.lib64 : standard.lib32;
}

function addBinary(edits: DeviceEdits, files: HostFiles, name: string): void {
  for (const directory of [
    '/usr/bin',
    '/usr/sbin',
    '/usr/local/bin',
    '/usr/local/nvidia/bin',
    '/opt/bin',
    '/home/kubernetes/bin/nvidia/bin',
    '/run/current-system/sw/bin',
    '/usr/lib/wsl/lib',
  ]) {
    if (exists(files, `${directory}/${name}`)) {
      addMount(edits, files, `${directory}/${name}`, `/usr/bin/${name}`);
      return;
    }
  }
}

/** GSP firmware, which the driver's libraries name by the host's path. */
function addFirmware(edits: DeviceEdits, files: HostFiles, driver: NvidiaDriver): void {
  if (driver.version === undefined) return;
  const directory = `/lib/firmware/nvidia/${driver.version}`;
  for (const name of files.readDirectory(realPath(files, directory) ?? directory)) {
    if (/^gsp.*\.bin$/.test(name)) addMount(edits, files, `${directory}/${name}`, `${directory}/${name}`);
  }
}

function inStandardPlace(file: string): boolean {
  return !file.startsWith('/usr/local/');
}

function addMount(edits: DeviceEdits, files: HostFiles, from: string, to: string, options = READ_ONLY): void {
  const real = realPath(files, from) ?? from;
  edits.mounts.push({ source: files.onHost(real), destination: to, options: [...options] });
}
