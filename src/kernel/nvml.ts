import { addon } from './addon.js';

declare const handle: unique symbol;
/** A loaded management library; it is shut down when this is collected. */
export type NvmlHandle = { [handle]: true };

/** What NVIDIA's management library says at one moment. Numbers are -1 where it can't tell. */
export interface NvmlData {
  /** Such as `550.54.14`. */
  driver: string;
  /** 1000 × major + 10 × minor, as 12040; 0 where unknown. */
  cuda: number;
  gpus: NvmlGpu[];
}

export interface NvmlGpu {
  uuid: string;
  name: string;
  /** `00000000:65:00.0` */
  pci: string;
  minor: number;
  /** Bytes. */
  memoryUsed: number;
  memoryTotal: number;
  /** Percent of the last sampling period (1/6 s to 1 s) in which a kernel ran, or memory was accessed. */
  gpuPercent: number;
  memoryPercent: number;
  migEnabled: boolean;
  mig: {
    uuid: string;
    gpuInstance: number;
    computeInstance: number;
    memoryUsed: number;
    memoryTotal: number;
  }[];
  /** Host pids; `memory` in bytes. */
  processes: { pid: number; memory: number }[];
  /** Recent shares of the GPU by process, in percent. */
  samples: { pid: number; sm: number; memory: number }[];
}

declare module './addon.js' {
  interface NativeAddon {
    nvmlOpen(path: string): Promise<NvmlHandle>;
    nvmlRead(nvml: NvmlHandle): Promise<NvmlData>;
  }
}

/**
 * Loads libnvidia-ml from a path (or by its name, through the loader's own search) in a worker thread.
 * @throws Error with the loader's or the library's own reason
 */
export function openNvml(path: string): Promise<NvmlHandle> {
  return addon().nvmlOpen(path);
}

/** Reads everything once, in a worker thread: a few milliseconds while GPUs are awake. */
export function readNvml(nvml: NvmlHandle): Promise<NvmlData> {
  return addon().nvmlRead(nvml);
}
