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
  const bind = (source: string, at: string) => {
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
  };
  if (facts.mode === 'unified') {
    if (groups.into) bind(groups.into, target);
    return { parent, init };
  }
  init.push({
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
  const name = (mountPoint: string) => mountPoint.slice(mountPoint.lastIndexOf('/') + 1);
  for (const mountPoint of new Set(Object.values(facts.v1))) {
    const group = groups.joined.find((g) => g.startsWith(`${mountPoint}/`));
    if (group) bind(group, `${target}/${name(mountPoint)}`);
  }
  if (groups.into) bind(groups.into, `${target}/unified`);
  return { parent, init };
}
