import { UnsupportedError } from '../../base/index.js';
import { PCI_VENDORS, readDrmGpus } from '../drm.js';
import type { DeviceEdits, DeviceMount, DeviceNode } from '../edits.js';
import { CAPABILITIES, type Capability } from '../gpus-flag.js';
import { exists, type HostFiles } from '../host-files.js';
import { type NvidiaDriver, readNvidiaDriver } from '../nvidia/driver.js';
import { nvidiaEdits } from '../nvidia/edits.js';
import type { Selection } from '../nvidia/select.js';
import { drmEdits } from '../render.js';
import { minimumVersion } from './read.js';
import type { CdiEdits, CdiSpec } from './schema.js';

export type GpuVendor = 'nvidia' | 'amd' | 'intel';

/** Vendors of which this host has GPUs with a driver. */
export function gpuVendors(files: HostFiles): GpuVendor[] {
  const drm = readDrmGpus(files);
  return (['nvidia', 'amd', 'intel'] as const).filter((vendor) =>
    vendor === 'nvidia'
      ? (readNvidiaDriver(files)?.gpus.length ?? 0) > 0
      : drm.some((g) => g.vendor === PCI_VENDORS[vendor]),
  );
}

/**
 * A CDI spec of this host's GPUs of one vendor, for podman, containerd and others. It has no hooks, so that it needs
 * no program of nsbox's on the host: a library stands under each of its names instead of being linked by ldconfig.
 * Such a file goes stale with the next driver update; nsbox itself needs none.
 * @throws UnsupportedError where the host has no such GPU
 */
export function generateCdi(files: HostFiles, vendor: GpuVendor, arch: string = process.arch): CdiSpec {
  const spec = vendor === 'nvidia' ? nvidiaSpec(files, arch) : drmSpec(files, vendor);
  return { ...spec, cdiVersion: minimumVersion(spec) };
}

function nvidiaSpec(files: HostFiles, arch: string): CdiSpec {
  const driver = readNvidiaDriver(files);
  if (!driver || driver.gpus.length === 0) {
    throw new UnsupportedError(
      "this host has no NVIDIA GPU with a loaded driver, so there's nothing to describe",
      {
        hint: '`nsbox doctor --gpu` says what is missing',
      },
    );
  }
  const capabilities = new Set<Capability>(CAPABILITIES.filter((c) => c !== 'compat32'));
  const drm = readDrmGpus(files);
  const of = (selection: Selection['gpus']) =>
    nvidiaEdits(files, driver, {
      selection: { gpus: selection, visible: '' },
      capabilities,
      env: new Map(),
      drm,
      arch,
    });
  const common = of([]);
  const shared = new Set(common.nodes.map((n) => n.path));
  const own = (selection: Selection['gpus']): CdiEdits => ({
    deviceNodes: of(selection)
      .nodes.filter((n) => !shared.has(n.path))
      .map((n) => cdiNode(files, n)),
  });
  const devices: CdiSpec['devices'] = [];
  for (const gpu of driver.gpus) {
    devices.push({ name: String(gpu.index), containerEdits: own([{ gpu, instances: gpu.mig }]) });
    for (const instance of gpu.mig) {
      devices.push({
        name: `${gpu.index}:${instance.index}`,
        containerEdits: own([{ gpu, instances: [instance] }]),
      });
    }
  }
  devices.push(...byUuid(driver, own));
  devices.push({
    name: 'all',
    containerEdits: own(driver.gpus.map((gpu) => ({ gpu, instances: gpu.mig }))),
  });
  return {
    cdiVersion: '',
    kind: 'nvidia.com/gpu',
    devices,
    containerEdits: {
      // Keeps NVIDIA's own runtime hook, where there is one, from doing the same again.
      env: ['NVIDIA_VISIBLE_DEVICES=void'],
      deviceNodes: common.nodes.map((n) => cdiNode(files, n)),
      mounts: cdiMounts(common),
    },
  };
}

function byUuid(driver: NvidiaDriver, own: (selection: Selection['gpus']) => CdiEdits): CdiSpec['devices'] {
  return driver.gpus.flatMap((gpu) =>
    gpu.uuid === undefined ? [] : [{ name: gpu.uuid, containerEdits: own([{ gpu, instances: gpu.mig }]) }],
  );
}

function drmSpec(files: HostFiles, vendor: 'amd' | 'intel'): CdiSpec {
  const gpus = readDrmGpus(files).filter((g) => g.vendor === PCI_VENDORS[vendor]);
  if (gpus.length === 0) {
    throw new UnsupportedError(
      `this host has no ${vendor === 'amd' ? 'AMD' : 'Intel'} GPU with a loaded driver`,
    );
  }
  const of = (wanted: 'all' | string[]): CdiEdits => ({
    deviceNodes: drmEdits(files, vendor, gpus, { devices: wanted }, 'all').nodes.map((n) =>
      cdiNode(files, n),
    ),
  });
  return {
    cdiVersion: '',
    kind: `${vendor}.com/gpu`,
    devices: [
      ...gpus.map((_, i) => ({ name: String(i), containerEdits: of([String(i)]) })),
      { name: 'all', containerEdits: of('all') },
    ],
  };
}

/** A node that lies on the host is named by its path alone, and looked up afresh by whoever reads the file. */
function cdiNode(files: HostFiles, node: DeviceNode): NonNullable<CdiEdits['deviceNodes']>[number] {
  const { path, type, major, minor, mode } = node;
  const hostPath = files.onHost(path);
  if (exists(files, path)) return hostPath === path ? { path } : { path, hostPath };
  return { path, type, major, minor, fileMode: mode };
}

function cdiMounts(edits: DeviceEdits): NonNullable<CdiEdits['mounts']> {
  const mount = (m: DeviceMount, containerPath = m.destination) => ({
    hostPath: m.source,
    containerPath,
    options: m.options.filter((o) => o !== 'rprivate'),
  });
  const bySource = new Map(edits.mounts.map((m) => [m.destination, m]));
  return [
    ...edits.mounts.map((m) => mount(m)),
    ...edits.symlinks.flatMap((link) => {
      const directory = link.path.slice(0, link.path.lastIndexOf('/'));
      const file = bySource.get(`${directory}/${link.target}`);
      return file ? [mount(file, link.path)] : [];
    }),
  ];
}
