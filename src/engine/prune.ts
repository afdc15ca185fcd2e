import { type Context, type Filters, InvalidError, matchesLabels, NsboxError } from '../base/index.js';
import { listContainers } from './containers.js';
import { directorySize } from './disk-usage.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import { removeContainer, volumeUsers } from './remove.js';
import { openVolumes } from './volumes.js';

export interface Pruned {
  /** Ids or names of what was removed. */
  removed: string[];
  /** Bytes given back. */
  bytes: number;
}

export const PRUNE_FILTERS = ['until', 'label'] as const;
export const VOLUME_PRUNE_FILTERS = ['label', 'all'] as const;

/**
 * A point in time before now as `until=` takes it: a duration (`10m`, `24h`), seconds since 1970, or a date.
 * @returns milliseconds since 1970
 */
export function parseUntil(text: string, now: number): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)];
  if (parts.length > 0 && parts.map((p) => p[0]).join('') === text) {
    const unit: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
    return now - parts.reduce((total, [, n, u]) => total + Number(n) * unit[u!]!, 0);
  }
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(text) || !text.includes('T') ? text : `${text}Z`);
  if (Number.isNaN(date)) {
    throw new InvalidError(
      `invalid time: '${text}' (expected a duration as 24h, a date, or seconds since 1970)`,
    );
  }
  return date;
}

/** Removes every container that doesn't run (made before `until`, with the labels). */
export async function pruneContainers(ctx: Context, filters: Filters = new Map()): Promise<Pruned> {
  const until = filters.get('until')?.map((text) => parseUntil(text, Date.now()));
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
