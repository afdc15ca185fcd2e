import type { Context } from '../base/index.js';
import { directoriesOf, findGroups, pidsIn } from '../cgroup/index.js';
import type { GpuUsage } from '../devices/index.js';
import { readContainer } from './containers.js';
import { factsOf } from './sandbox.js';
import type { StatsSample } from './stats.js';

/** GPU figures by container id; a container that uses no GPU isn't in it. */
export type GpuSampler = (samples: readonly StatsSample[]) => Promise<Map<string, GpuUsage>>;

/**
 * Opens NVIDIA's management library for `stats`.
 * @returns undefined where this host has none, at the cost of one look at /dev
 */
export async function openGpuSampler(ctx: Context): Promise<GpuSampler | undefined> {
  const { driverFiles, gpuUsage, openGpuStats } = await import('../devices/index.js');
  const nvml = await openGpuStats(driverFiles(ctx.env['NSBOX_DRIVER_ROOT']));
  if (!nvml) return undefined;
  return async (samples) => {
    const data = await nvml.read();
    const found = new Map<string, GpuUsage>();
    for (const { id, pid } of samples) {
      const record = pid > 0 ? readContainer(ctx, id) : undefined;
      if (!record) continue;
      const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
      const usage = await gpuUsage(data, new Set(directoriesOf(groups).flatMap(pidsIn)));
      if (usage) found.set(id, usage);
    }
    return found;
  };
}
