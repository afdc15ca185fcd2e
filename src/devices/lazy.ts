/**
 * The parts of this room that most commands never touch, behind functions that load them: a `run` without GPUs
 * shouldn't pay for their modules.
 */
import type { CdiListing } from './cdi/report.js';
import type { GpuCheck } from './doctor.js';
import type { DeviceEdits } from './edits.js';
import type { HostFiles } from './host-files.js';
import type { GpuInfo } from './inventory.js';
import type { GpuUsage, Nvml, NvmlData } from './nvml.js';

/** The edits with the hooks of NVIDIA's toolkit done natively, see cdi/hooks.ts. */
export async function withoutToolkitHooks(edits: DeviceEdits, image?: HostFiles): Promise<DeviceEdits> {
  if (Object.keys(edits.hooks).length === 0) return edits;
  return (await import('./cdi/hooks.js')).translateHooks(edits, image);
}

/** See inventory.ts. */
export async function listGpus(files?: HostFiles): Promise<GpuInfo[]> {
  return (await import('./inventory.js')).listGpus(files);
}

/** See doctor.ts. */
export async function checkGpus(files?: HostFiles, nvml?: boolean): Promise<GpuCheck[]> {
  return (await import('./doctor.js')).checkGpus(files, nvml);
}

/** See cdi/report.ts. */
export async function cdiDevices(directories?: readonly string[], files?: HostFiles): Promise<CdiListing> {
  return (await import('./cdi/report.js')).cdiDevices(directories, files);
}

/** See cdi/report.ts. */
export async function cdiText(
  options: { vendor?: 'nvidia' | 'amd' | 'intel' | undefined; format: 'yaml' | 'json' },
  files?: HostFiles,
): Promise<string> {
  return (await import('./cdi/report.js')).cdiText(options, files);
}

/** NVIDIA's management library for `stats`: undefined at once, and without a sound, where the host has none. */
export async function openGpuStats(files?: HostFiles): Promise<Nvml | undefined> {
  const { diskFiles, exists, rememberingFiles } = await import('./host-files.js');
  if (!exists(rememberingFiles(files ?? diskFiles()), '/dev/nvidiactl')) return undefined;
  return (await (await import('./nvml.js')).openManagement(files)).nvml;
}

/** A container's share of GPU memory and time, by its host pids; see nvml.ts. */
export async function gpuUsage(data: NvmlData, pids: ReadonlySet<number>): Promise<GpuUsage | undefined> {
  return (await import('./nvml.js')).usageOf(data, pids);
}
