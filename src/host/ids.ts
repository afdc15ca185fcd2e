import type { HostFacts } from './facts.js';

/**
 * Where container id ranges lie: above what subuid files usually hand out, and below 2^31, since some filesystems
 * and programs take larger ids for negative numbers. The ids of one container are `start + n * 65536 …`.
 */
const FIRST = 0x40000000;
const END = 0x80000000;
const SIZE = 65536;

/** Decides the ranges from /proc/self/uid_map and gid_map (our own may be narrow) and the subuid files. */
export function idFacts(sources: {
  uidMap: string;
  gidMap: string;
  subuid: string;
  subgid: string;
}): HostFacts['ids'] {
  const usable = [sources.uidMap, sources.gidMap].map((map) => mappedEnd(map));
  const end = Math.min(END, ...usable);
  // In a namespace of our own with few ids, use what lies above the first 65,536, which images use.
  const start = end > FIRST ? FIRST : SIZE;
  const taken = new Map<string, { start: number; size: number; by: string }>();
  for (const file of [sources.subuid, sources.subgid]) {
    for (const line of file.split('\n')) {
      const [by, from, size] = line.split(':');
      const entry = { start: Number(from), size: Number(size), by: by ?? '' };
      if (!entry.by || !(entry.size > 0)) continue;
      if (entry.start < end && entry.start + entry.size > start) taken.set(line, entry);
    }
  }
  return {
    ranges: { start, size: SIZE, count: Math.max(0, Math.floor((end - start) / SIZE)) },
    taken: [...taken.values()],
  };
}

/** First id beyond those that a map gives to this namespace, counted from 0 without a gap. */
function mappedEnd(map: string): number {
  let end = 0;
  const extents = map
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
  for (const [inside, , count] of extents) {
    if (inside === undefined || count === undefined || inside > end) continue;
    end = Math.max(end, inside + count);
  }
  return end;
}
