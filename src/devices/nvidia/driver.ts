import { type HostFiles, stat } from '../host-files.js';

/** What this host's NVIDIA kernel driver says of itself, read at this moment. */
export interface NvidiaDriver {
  /** Of the kernel module, such as `550.54.14`. */
  version: string | undefined;
  gpus: NvidiaGpu[];
  /** Character majors by name, from /proc/devices: `nvidia`, `nvidia-uvm`, `nvidia-caps`, `nvidia-nvswitch`, … */
  majors: Map<string, number>;
  /** Minors of the MIG configuration and monitor capabilities. */
  migConfigMinor: number | undefined;
  migMonitorMinor: number | undefined;
}

export interface NvidiaGpu {
  /** As nvidia-smi counts: by PCI address. */
  index: number;
  /** Of /dev/nvidia<minor>. */
  minor: number;
  /** `GPU-…`; undefined while nobody has opened the GPU since its driver was loaded. */
  uuid: string | undefined;
  name: string;
  /** `0000:65:00.0`; empty where /proc/driver/nvidia isn't visible. */
  pci: string;
  mig: MigInstance[];
}

/** One compute instance of a partitioned GPU. */
export interface MigInstance {
  /** As nvidia-smi counts on this GPU: `0:1` is the second of GPU 0. */
  index: number;
  gpuInstance: number;
  computeInstance: number;
  /** Minors of /dev/nvidia-caps/nvidia-cap<minor>. */
  gpuInstanceMinor: number;
  computeInstanceMinor: number;
  /** `MIG-…`, which only NVML knows. */
  uuid: string | undefined;
}

/** Major of /dev/nvidia* where /proc/devices doesn't say (it is registered, and fixed). */
export const NVIDIA_MAJOR = 195;
export const CONTROL_MINOR = 255;
export const MODESET_MINOR = 254;

/** Undefined where no NVIDIA driver is loaded. */
export function readNvidiaDriver(files: HostFiles): NvidiaDriver | undefined {
  const majors = readMajors(files);
  const version = readVersion(files);
  const control = stat(files, '/dev/nvidiactl');
  if (version === undefined && !majors.has('nvidia') && control?.kind !== 'char') return undefined;
  const gpus = readGpus(files);
  const at = '/proc/driver/nvidia/capabilities/mig';
  return {
    version,
    gpus,
    majors,
    migConfigMinor: capabilityMinor(files, `${at}/config`),
    migMonitorMinor: capabilityMinor(files, `${at}/monitor`),
  };
}

function readVersion(files: HostFiles): string | undefined {
  // NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024
  // NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (…)
  const line = files.readText('/proc/driver/nvidia/version')?.match(/^NVRM version:.*$/m)?.[0];
  return (
    line?.match(/\s(\d{3,}\.\d+(?:\.\d+)?)(?:\s|$)/)?.[1] ??
    files.readText('/sys/module/nvidia/version')?.trim()
  );
}

function readMajors(files: HostFiles): Map<string, number> {
  const majors = new Map<string, number>();
  const [characters] = (files.readText('/proc/devices') ?? '').split(/^Block devices:$/m);
  for (const [, major, name] of (characters ?? '').matchAll(/^\s*(\d+)\s+(\S+)$/gm)) {
    // Until 465 the first was called nvidia-frontend.
    if (name?.startsWith('nvidia')) majors.set(name === 'nvidia-frontend' ? 'nvidia' : name, Number(major));
  }
  return majors;
}

function readGpus(files: HostFiles): NvidiaGpu[] {
  const gpus: NvidiaGpu[] = [];
  for (const pci of files.readDirectory('/proc/driver/nvidia/gpus')) {
    const text = files.readText(`/proc/driver/nvidia/gpus/${pci}/information`);
    if (text === undefined) continue;
    const field = (name: string) => text.match(new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm'))?.[1];
    // An excluded GPU (NVreg_ExcludedGpus) has no minor and can't be opened.
    if (/^yes/i.test(field('GPU Excluded') ?? '')) continue;
    const minor = Number(field('Device Minor') ?? Number.NaN);
    if (!Number.isInteger(minor)) continue;
    const uuid = field('GPU UUID');
    gpus.push({
      index: 0,
      minor,
      uuid: uuid && /^GPU-[0-9a-f-]+$/i.test(uuid) ? uuid : undefined,
      name: field('Model') || 'NVIDIA GPU',
      pci: pci.toLowerCase(),
      mig: readMig(files, minor),
    });
  }
  if (gpus.length === 0) gpus.push(...gpusByNode(files));
  gpus.sort((a, b) => (a.pci === b.pci ? a.minor - b.minor : a.pci < b.pci ? -1 : 1));
  for (const [index, gpu] of gpus.entries()) gpu.index = index;
  return gpus;
}

/** Where the driver's /proc files are hidden (nsbox inside another container), its nodes tell how many there are. */
function gpusByNode(files: HostFiles): NvidiaGpu[] {
  return files.readDirectory('/dev').flatMap((name) => {
    const minor = /^nvidia(\d+)$/.exec(name)?.[1];
    if (minor === undefined || files.lstat(`/dev/${name}`)?.kind !== 'char') return [];
    return [{ index: 0, minor: Number(minor), uuid: undefined, name: 'NVIDIA GPU', pci: '', mig: [] }];
  });
}

function readMig(files: HostFiles, gpuMinor: number): MigInstance[] {
  const base = `/proc/driver/nvidia/capabilities/gpu${gpuMinor}/mig`;
  const found: MigInstance[] = [];
  for (const [gpuInstance, gi] of numbered(files, base, 'gi')) {
    const gpuInstanceMinor = capabilityMinor(files, `${gi}/access`);
    for (const [computeInstance, ci] of numbered(files, gi, 'ci')) {
      const computeInstanceMinor = capabilityMinor(files, `${ci}/access`);
      if (gpuInstanceMinor === undefined || computeInstanceMinor === undefined) continue;
      found.push({
        index: found.length,
        gpuInstance,
        computeInstance,
        gpuInstanceMinor,
        computeInstanceMinor,
        uuid: undefined,
      });
    }
  }
  return found;
}

function numbered(files: HostFiles, directory: string, prefix: string): [number, string][] {
  return files
    .readDirectory(directory)
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name): [number, string] => [Number(name.slice(prefix.length)), `${directory}/${name}`])
    .sort(([a], [b]) => a - b);
}

function capabilityMinor(files: HostFiles, file: string): number | undefined {
  const minor = files.readText(file)?.match(/^DeviceFileMinor:\s*(\d+)/m)?.[1];
  return minor === undefined ? undefined : Number(minor);
}
