import { type Context, type Filters, filterBoolean, matchesLabels, NsboxError } from '../base/index.js';
import { listContainers } from './containers.js';
import { directorySize } from './disk-usage.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import { removeContainer, volumeUsers } from './remove.js';
import { parseInstant } from './time-filter.js';
import { imageUser } from './usage.js';
import { openVolumes } from './volumes.js';

export interface Pruned {
  /** Ids or names of what was removed. */
  removed: string[];
  /** Bytes given back. */
  bytes: number;
}

export const PRUNE_FILTERS = ['until', 'label'] as const;
export const IMAGE_PRUNE_FILTERS = ['until', 'label', 'dangling'] as const;
export const VOLUME_PRUNE_FILTERS = ['label', 'all'] as const;

/** Removes every container that doesn't run (made before `until`, with the labels). */
export async function pruneContainers(ctx: Context, filters: Filters = new Map()): Promise<Pruned> {
  const until = filters.get('until')?.map((text) => Number(parseInstant(text) / 1_000_000n));
  const pruned: Pruned = { removed: [], bytes: 0 };
  for (const record of listContainers(ctx)) {
    const { status } = stateOf(ctx, record);
    if (!['created', 'exited', 'dead'].includes(status)) continue;
    if (until?.some((limit) => Date.parse(record.created) >= limit)) continue;
    if (!matchesLabels(filters, record.request.labels)) continue;
    const size = directorySize(containerPaths(ctx, record.id).data, 'disk');
    try {
      await removeContainer(ctx, record);
    } catch (error) {
      // Started, or removed by another, meanwhile.
      if (error instanceof NsboxError && (error.code === 'CONFLICT' || error.code === 'NOT_FOUND')) continue;
      throw error;
    }
    pruned.removed.push(record.id);
    pruned.bytes += size;
  }
  return pruned;
}

/** Removes volumes that no container has: the anonymous ones, or with `all` the named ones too. */
export async function pruneVolumes(
  ctx: Context,
  options: { all?: boolean; filters?: Filters } = {},
): Promise<Pruned> {
  const volumes = openVolumes(ctx);
  const users = (name: string) => volumeUsers(ctx, name);
  const pruned: Pruned = { removed: [], bytes: 0 };
  for (const volume of volumes.list()) {
    if (!volume.anonymous && !options.all) continue;
    if (options.filters && !matchesLabels(options.filters, volume.labels)) continue;
    if (users(volume.name).length > 0) continue;
    const size = directorySize(volume.mountpoint, 'disk');
    try {
      await volumes.remove(volume.name, users);
    } catch (error) {
      if (error instanceof NsboxError && (error.code === 'CONFLICT' || error.code === 'NOT_FOUND')) continue;
      throw error;
    }
    pruned.removed.push(volume.name);
    pruned.bytes += size;
  }
  await volumes.sweep();
  return pruned;
}

/** Removes networks that no container is on, running or not. */
export async function pruneNetworks(ctx: Context, filters: Filters = new Map()): Promise<Pruned> {
  const { openNetworks } = await import('../network/index.js');
  const until = filters.get('until')?.map((text) => Number(parseInstant(text) / 1_000_000n));
  const used = new Set(listContainers(ctx).flatMap((c) => c.request.networks.map((n) => n.network)));
  const removed = await openNetworks(ctx).prune(
    (network) =>
      used.has(network.name) ||
      used.has(network.id) ||
      !matchesLabels(filters, network.labels) ||
      (until?.some((limit) => Date.parse(network.created) >= limit) ?? false),
  );
  return { removed, bytes: 0 };
}

/** Removes images without a name, or with `all` (or the filter dangling=false) those that no container has. */
export async function pruneImages(ctx: Context, all: boolean, filters: Filters = new Map()): Promise<Pruned> {
  const { openImageStore } = await import('../image/index.js');
  const until = filters.get('until')?.map((text) => Number(parseInstant(text) / 1_000_000n));
  const store = openImageStore(ctx);
  const { removed, reclaimed } = await store.prune({
    all: filterBoolean(filters, 'dangling') === false || all,
    inUse: imageUser(ctx),
    filter: (image) =>
      matchesLabels(filters, image.config.config?.Labels ?? {}) &&
      !(until?.some((limit) => Date.parse(image.config.created ?? image.added) >= limit) ?? false),
  });
  return {
    removed: removed.map((r) => (r.untagged ? `untagged: ${r.untagged}` : `deleted: ${r.deleted}`)),
    bytes: reclaimed,
  };
}
