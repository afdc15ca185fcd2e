import type { CgroupFacts } from '../host/index.js';
import { ATTR, type MountOptions, MS } from './mount-options.js';
import type { MountSteps } from './mounts.js';
import type { Step } from './steps.js';

/**
 * /sys/fs/cgroup of a container without a cgroup namespace: its own group of each hierarchy, bound. Programs that look
 * for their limits there (a JVM, say) find those of the container, not the host's.
 * @param groups the container's groups: cgroup2's, and v1's
 */
export function ownGroupMounts(
  target: string,
  o: MountOptions,
  facts: CgroupFacts,
  groups: { into?: string | undefined; joined: readonly string[] },
  nextSlot: () => number,
): MountSteps {
  const parent: Step[] = [];
  const init: Step[] = [];
  const attrs = (o.set | o.deepSet) & ~ATTR.ATIME_MASK;
  for (const { source, target: at } of ownGroupBinds(target, facts, groups)) {
    const slot = nextSlot();
    parent.push({
      op: 'openTree',
      slot,
      source,
      recursive: false,
      set: attrs,
      clear: 0,
      deepSet: 0,
      deepClear: 0,
      propagation: MS.PRIVATE,
    });
    init.push({ op: 'attach', slot, target: at, create: 'like-source', propagation: 0, recursive: false });
  }
  if (facts.mode === 'unified') return { parent, init };
  init.unshift({
    op: 'mountFs',
    target,
    propagation: 0,
    fstype: 'tmpfs',
    source: 'tmpfs',
    attrs: attrs & ~ATTR.RDONLY,
    options: [
      ['mode', '755'],
      ['size', '64k'],
    ],
  });
  return { parent, init };
}

/** Which of the container's groups is bound where, for a container without a cgroup namespace. */
export function ownGroupBinds(
  target: string,
  facts: CgroupFacts,
  groups: { into?: string | undefined; joined: readonly string[] },
): { source: string; target: string }[] {
  const { into } = groups;
  if (facts.mode === 'unified') return into ? [{ source: into, target }] : [];
  const out: { source: string; target: string }[] = [];
  for (const mountPoint of new Set(Object.values(facts.v1))) {
    const source = groups.joined.find((g) => g.startsWith(`${mountPoint}/`));
    const name = mountPoint.slice(mountPoint.lastIndexOf('/') + 1);
    if (source) out.push({ source, target: `${target}/${name}` });
  }
  if (into) out.push({ source: into, target: `${target}/unified` });
  return out;
}
