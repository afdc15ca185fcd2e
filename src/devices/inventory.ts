import { PCI_VENDORS, readDrmGpus } from './drm.js';
import { diskFiles, type HostFiles, rememberingFiles } from './host-files.js';
import { readNvidiaDriver } from './nvidia/driver.js';

/** A GPU of this host that containers can be given. */
export interface GpuInfo {
  vendor: 'nvidia' | 'amd' | 'intel';
  /** As `--gpus device=` counts, per vendor. */
  index: number;
  name: string;
  /** NVIDIA only, and only once something has opened the GPU. */
  uuid: string | undefined;
  /** PCI address; empty where it is hidden. */
  address: string;
  /** Version of NVIDIA's kernel module; name of the kernel driver for the others. */
  driver: string;
  /** Paths of its own nodes below /dev. */
  nodes: string[];
  /** MIG instances as `0:1`. */
  instances: string[];
}

/** Every GPU with a loaded driver, NVIDIA's first, for `info` and `doctor`. Reads /proc, /sys and /dev only. */
export function listGpus(tree: HostFiles = diskFiles()): GpuInfo[] {
  const files = rememberingFiles(tree);
  const drm = readDrmGpus(files);
  const found: GpuInfo[] = [];
  const driver = readNvidiaDriver(files);
  for (const gpu of driver?.gpus ?? []) {
    const render = drm.find((d) => d.address === gpu.pci && gpu.pci !== '');
    found.push({
      vendor: 'nvidia',
      index: gpu.index,
      name: gpu.name,
      uuid: gpu.uuid,
      address: gpu.pci,
      driver: driver?.version ?? 'nvidia',
      nodes: [`/dev/nvidia${gpu.minor}`, ...(render?.nodes ?? []).map((n) => `/dev/dri/${n}`)],
      instances: gpu.mig.map((m) => `${gpu.index}:${m.index}`),
    });
  }
  for (const vendor of ['amd', 'intel'] as const) {
    const gpus = drm.filter((d) => d.vendor === PCI_VENDORS[vendor]);
    for (const [index, gpu] of gpus.entries()) {
      found.push({
        vendor,
        index,
        name: `${vendor === 'amd' ? 'AMD' : 'Intel'} GPU ${gpu.device}`,
        uuid: undefined,
        address: gpu.address,
        driver: gpu.driver ?? '',
        nodes: gpu.nodes.map((n) => `/dev/dri/${n}`),
        instances: [],
      });
    }
  }
  return found;
}
