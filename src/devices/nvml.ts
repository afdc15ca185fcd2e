import { type NvmlData, type NvmlHandle, openNvml, readNvml } from '../kernel/index.js';
import { diskFiles, type HostFiles } from './host-files.js';
import type { NvidiaDriver } from './nvidia/driver.js';
import { findLibraries } from './nvidia/libraries.js';

export type { NvmlData } from '../kernel/index.js';

/** A session with NVIDIA's management library. */
export interface Nvml {
  read(): Promise<NvmlData>;
}

/**
 * Loads the host's libnvidia-ml, from the driver's place or by its name.
 * @returns undefined, or the reason in `failed`, where there is none or it doesn't answer: everything that uses it
 * goes on without
 */
export async function openManagement(
  files: HostFiles = diskFiles(),
  version?: string,
): Promise<{ nvml?: Nvml; failed?: string }> {
  const own = findLibraries(files, version).libraries.find((l) => l.name === 'libnvidia-ml' && l.bits === 64);
  const failures: string[] = [];
  for (const path of own ? [files.onHost(own.path)] : ['libnvidia-ml.so.1']) {
    try {
      const handle: NvmlHandle = await openNvml(path);
      return { nvml: { read: () => readNvml(handle) } };
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  return { failed: failures.join('; ') };
}

/** Fills in the UUIDs and MIG devices that /proc doesn't tell. Leaves the driver's data as it is where NVML is missing. */
export async function addNvmlNames(driver: NvidiaDriver, files: HostFiles = diskFiles()): Promise<void> {
  const { nvml } = await openManagement(files, driver.version);
  if (nvml) applyNvml(driver, await nvml.read());
}

/** GPUs are matched by minor; MIG devices by their instances, and take NVML's order, which nvidia-smi shows. */
export function applyNvml(driver: NvidiaDriver, data: NvmlData): void {
  for (const gpu of driver.gpus) {
    const known = data.gpus.find((g) => g.minor === gpu.minor);
    if (!known) continue;
    gpu.uuid ??= known.uuid || undefined;
    if (known.name !== '') gpu.name = known.name;
    const order = (instance: { gpuInstance: number; computeInstance: number }) =>
      known.mig.findIndex(
        (m) => m.gpuInstance === instance.gpuInstance && m.computeInstance === instance.computeInstance,
      );
    gpu.mig.sort((a, b) => order(a) - order(b));
    for (const [index, instance] of gpu.mig.entries()) {
      instance.index = index;
      instance.uuid = known.mig[order(instance)]?.uuid || undefined;
    }
  }
}

export interface GpuUsage {
  /** Of the GPUs that the processes use. */
  gpus: string[];
  /** Bytes of GPU memory that the processes hold; undefined where the library can't tell. */
  memory: number | undefined;
  /** Percent of one GPU's time, summed over GPUs, in the last second or so; undefined as above. */
  utilization: number | undefined;
}

/**
 * A container's share of what NVML counts, by the pids of its processes (host pids, as in cgroup.procs).
 * @returns undefined where none of them uses a GPU
 */
export function usageOf(data: NvmlData, pids: ReadonlySet<number>): GpuUsage | undefined {
  const usage: GpuUsage = { gpus: [], memory: undefined, utilization: undefined };
  for (const gpu of data.gpus) {
    const own = gpu.processes.filter((p) => pids.has(p.pid));
    if (own.length === 0) continue;
    usage.gpus.push(gpu.uuid);
    // A process with both compute and graphics contexts stands in both lists, with its whole memory.
    const byPid = new Map<number, number>();
    for (const { pid, memory } of own) byPid.set(pid, Math.max(byPid.get(pid) ?? -1, memory));
    for (const memory of byPid.values()) {
      if (memory >= 0) usage.memory = (usage.memory ?? 0) + memory;
    }
    // Several samples of one process follow each other; the last is the latest.
    const share = new Map<number, number>();
    for (const { pid, sm } of gpu.samples) if (pids.has(pid)) share.set(pid, sm);
    for (const sm of share.values()) usage.utilization = (usage.utilization ?? 0) + sm;
  }
  return usage.gpus.length > 0 ? usage : undefined;
}
