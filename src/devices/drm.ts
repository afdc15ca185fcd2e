import path from 'node:path';
import type { HostFiles } from './host-files.js';

/** A graphics device of the kernel's DRM, found by its PCI address. */
export interface DrmGpu {
  /** `0000:65:00.0`; a platform device's name where there is no PCI. */
  address: string;
  /** PCI vendor id, lower case with 0x: `0x10de` NVIDIA, `0x1002` AMD, `0x8086` Intel. */
  vendor: string;
  /** PCI device id. */
  device: string;
  /** Names below /dev/dri, such as `card0` and `renderD128`. */
  nodes: string[];
  /** Kernel driver, such as `amdgpu`, `i915`, `nvidia`. */
  driver: string | undefined;
}

export const PCI_VENDORS = { nvidia: '0x10de', amd: '0x1002', intel: '0x8086' } as const;

/** Every GPU with nodes in /dev/dri, in the order of addresses. */
export function readDrmGpus(files: HostFiles): DrmGpu[] {
  const found = new Map<string, DrmGpu>();
  for (const name of files.readDirectory('/sys/class/drm')) {
    if (!/^(card|renderD)\d+$/.test(name)) continue;
    // The class directory's entries lead to …/<address>/drm/<name>.
    const link = files.readLink(`/sys/class/drm/${name}`);
    const address = link === undefined ? undefined : path.basename(path.resolve('/', link, '../..'));
    if (address === undefined || address === '') continue;
    let gpu = found.get(address);
    if (!gpu) {
      const at = `/sys/class/drm/${name}/device`;
      const driver = files.readLink(`${at}/driver`);
      gpu = {
        address,
        vendor: files.readText(`${at}/vendor`)?.trim() ?? '',
        device: files.readText(`${at}/device`)?.trim() ?? '',
        nodes: [],
        driver: driver === undefined ? undefined : path.basename(driver),
      };
      found.set(address, gpu);
    }
    gpu.nodes.push(name);
  }
  return [...found.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** PCI addresses of a vendor's display controllers and accelerators, whether a driver has them or not. */
export function readPciGpus(files: HostFiles, vendor: string): string[] {
  return files.readDirectory('/sys/bus/pci/devices').filter((address) => {
    const at = `/sys/bus/pci/devices/${address}`;
    if (files.readText(`${at}/vendor`)?.trim() !== vendor) return false;
    // 0x03xxxx: display controllers; 0x12xxxx: processing accelerators.
    return /^0x(03|12)/.test(files.readText(`${at}/class`)?.trim() ?? '');
  });
}
