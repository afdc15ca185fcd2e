import { InvalidError } from '../../base/index.js';
import type { MigInstance, NvidiaDriver, NvidiaGpu } from './driver.js';

/** What a container gets: whole GPUs, or instances of partitioned ones. */
export interface Selection {
  gpus: { gpu: NvidiaGpu; instances: MigInstance[] }[];
  /** As NVIDIA_VISIBLE_DEVICES has it. */
  visible: string;
}

/**
 * Picks GPUs by what people write: all, a number of them, indices (`0`), UUIDs or their beginnings (`GPU-8f3e`), PCI
 * addresses, MIG instances by place (`0:1`), by `MIG-GPU-<uuid>/<gi>/<ci>` or by UUID (known only through NVML).
 * @throws InvalidError that says which GPUs there are
 */
export function selectGpus(
  driver: NvidiaDriver,
  wanted: 'all' | number | readonly string[],
  flag: string,
): Selection {
  const { gpus } = driver;
  if (wanted === 'all') {
    return { gpus: gpus.map((gpu) => ({ gpu, instances: gpu.mig })), visible: 'all' };
  }
  if (typeof wanted === 'number') {
    if (wanted > gpus.length) {
      throw new InvalidError(`--gpus ${flag}: this host has ${howMany(gpus.length)}`, { hint: listed(gpus) });
    }
    const first = gpus.slice(0, wanted);
    return {
      gpus: first.map((gpu) => ({ gpu, instances: gpu.mig })),
      visible: first.map((g) => g.index).join(','),
    };
  }
  const picked = new Map<NvidiaGpu, Set<MigInstance>>();
  for (const id of wanted) {
    const { gpu, instances } = pick(gpus, id, flag);
    const set = picked.get(gpu) ?? new Set();
    for (const instance of instances) set.add(instance);
    picked.set(gpu, set);
  }
  return {
    gpus: [...picked].map(([gpu, set]) => ({
      gpu,
      instances: [...set].sort((a, b) => a.index - b.index),
    })),
    visible: wanted.join(','),
  };
}

function pick(
  gpus: readonly NvidiaGpu[],
  id: string,
  flag: string,
): { gpu: NvidiaGpu; instances: MigInstance[] } {
  const place = /^(\d+):(\d+)$/.exec(id);
  const old = /^MIG-(GPU-[0-9a-f-]+)\/(\d+)\/(\d+)$/i.exec(id);
  for (const gpu of gpus) {
    if (isGpu(gpu, id)) return { gpu, instances: gpu.mig };
    const instance = gpu.mig.find(
      (m) =>
        (place && Number(place[1]) === gpu.index && Number(place[2]) === m.index) ||
        (old &&
          old[1]?.toLowerCase() === gpu.uuid?.toLowerCase() &&
          Number(old[2]) === m.gpuInstance &&
          Number(old[3]) === m.computeInstance) ||
        (m.uuid !== undefined && m.uuid.toLowerCase() === id.toLowerCase()),
    );
    if (instance) return { gpu, instances: [instance] };
  }
  throw new InvalidError(`--gpus ${flag}: there is no GPU "${id}"`, { hint: listed(gpus) });
}

function isGpu(gpu: NvidiaGpu, id: string): boolean {
  if (/^\d+$/.test(id)) return gpu.index === Number(id);
  const lower = id.toLowerCase();
  // nvidia-smi shows PCI addresses with a domain of eight digits.
  if (/^[0-9a-f]{4,8}:/.test(lower)) return gpu.pci === lower.replace(/^0{4}(?=[0-9a-f]{4}:)/, '');
  // As in CUDA_VISIBLE_DEVICES, the beginning of a UUID does.
  return /^gpu-[0-9a-f]/.test(lower) && (gpu.uuid?.toLowerCase().startsWith(lower) ?? false);
}

/** True where the names can only be decided with NVML: a MIG UUID, or a GPU UUID that /proc doesn't show. */
export function needsNvml(driver: NvidiaDriver, wanted: 'all' | number | readonly string[]): boolean {
  if (typeof wanted === 'string' || typeof wanted === 'number') return false;
  return wanted.some(
    (id) =>
      /^MIG-[0-9a-f]{8}-/i.test(id) ||
      (/^(MIG-)?GPU-/i.test(id) && driver.gpus.some((gpu) => gpu.uuid === undefined)),
  );
}

function howMany(count: number): string {
  return count === 0 ? 'no GPU' : count === 1 ? '1 GPU' : `${count} GPUs`;
}

function listed(gpus: readonly NvidiaGpu[]): string {
  if (gpus.length === 0) return '`nsbox doctor --gpu` says why';
  const shown = gpus.slice(0, 8).flatMap((gpu) => {
    const own = `${gpu.index} (${[gpu.name, gpu.uuid].filter(Boolean).join(', ')})`;
    return [own, ...gpu.mig.map((m) => `${gpu.index}:${m.index}${m.uuid ? ` (${m.uuid})` : ' (MIG)'}`)];
  });
  return `there ${shown.length === 1 ? 'is' : 'are'} ${shown.join('; ')}${gpus.length > 8 ? '; …' : ''}`;
}
