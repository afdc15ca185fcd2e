import { InvalidError } from '../base/index.js';
import type { HostFacts } from '../host/index.js';
import type { SpecMount } from '../spec/index.js';
import { ownGroupMounts } from './cgroup-binds.js';
import { ATTR, type MountOptions, MS, parseMountOptions } from './mount-options.js';
import type { Step, StepOf } from './steps.js';

export interface MountSteps {
  parent: Step[];
  init: Step[];
}

export interface MountContext {
  userNamespace: boolean;
  cgroupNamespace: boolean;
  /** The cgroup2 group that init is born in. */
  into?: string | undefined;
  /** v1 groups that init is put into; the other hierarchies stay out of sight. undefined: not known, all are shown. */
  joined?: readonly string[] | undefined;
  host: { features: HostFacts['features']; cgroup: HostFacts['cgroup'] };
  /** The container's own cgroup v1 groups: only hierarchies in which it has one are shown to it. */
  v1Groups: readonly string[];
  /** The next free slot. */
  nextSlot: () => number;
  /** Slot of the tmpfs already made for /dev. */
  devSlot?: number | undefined;
  /** Show files of bind mounts with the container's ids, where the filesystem can. */
  idmapBinds: boolean;
  /** Slot of the user namespace that holds a mount's own mapping. */
  usernsSlot?: ((mount: SpecMount) => number | undefined) | undefined;
}

/**
 * One entry of `mounts`: a bind is cloned by the monitor (with the host's rights, idmapped in a user namespace) and
 * attached by init; a filesystem that shows the container's own namespaces is made by init itself.
 */
export function mountSteps(mount: SpecMount, c: MountContext): MountSteps {
  const o = parseMountOptions(mount.options ?? []);
  if (o.bind || mount.type === 'bind') return bind(mount, o, c);
  const target = mount.destination;
  switch (mount.type ?? 'none') {
    case 'cgroup':
    case 'cgroup2':
      if (!c.cgroupNamespace && c.joined && mount.type === 'cgroup' && c.host.cgroup.mode !== 'none') {
        const groups = { into: c.into, joined: c.joined };
        return ownGroupMounts(target, o, c.host.cgroup, groups, c.nextSlot);
      }
      return { parent: [], init: cgroupMounts(target, o, c, mount.type === 'cgroup2') };
    case 'tmpfs':
      if (target === '/dev' && c.devSlot !== undefined) {
        return { parent: [], init: [attach(c.devSlot, target, o)] };
      }
      return { parent: [], init: [filesystem(mount, o, 'tmpfs')] };
    case 'proc':
    case 'sysfs':
    case 'mqueue':
    case 'devpts':
      return { parent: [], init: [filesystem(mount, o, mount.type!)] };
    case 'none':
    case '':
      throw new InvalidError(`mounts: the mount at ${target} has neither a type nor the option "bind"`, {
        code: 'INVALID_SPEC',
      });
    default: {
      // Any other filesystem (overlay, ext4, nfs …) needs the host's rights: made detached by the monitor.
      const slot = c.nextSlot();
      return {
        parent: [
          {
            op: 'fsMount',
            slot,
            fstype: mount.type!,
            source: mount.source ?? '',
            attrs: o.set | o.deepSet,
            options: o.data,
          },
        ],
        init: [attach(slot, target, o)],
      };
    }
  }
}

function attach(slot: number, target: string, o: MountOptions): StepOf<'attach'> {
  return {
    op: 'attach',
    slot,
    target,
    create: 'like-source',
    propagation: o.propagation & ~MS.REC,
    recursive: (o.propagation & MS.REC) !== 0,
  };
}

function filesystem(mount: SpecMount, o: MountOptions, fstype: string): Step {
  return {
    op: 'mountFs',
    target: mount.destination,
    propagation: o.propagation & ~MS.REC,
    fstype,
    source: mount.source ?? fstype,
    attrs: o.set | o.deepSet,
    options: fstype === 'devpts' ? o.data.filter(([k]) => k !== 'newinstance') : o.data,
  };
}

function bind(mount: SpecMount, o: MountOptions, c: MountContext): MountSteps {
  if (!mount.source) {
    throw new InvalidError(`mounts: the bind mount at ${mount.destination} has no source`, {
      code: 'INVALID_SPEC',
    });
  }
  const slot = c.nextSlot();
  const other = /^\/proc\/(\d+)\/root(\/.+)$/.exec(mount.source);
  if (other) {
    return {
      parent: [{ op: 'openTreeOf', slot, pid: Number(other[1]), path: other[2]! }],
      init: [attach(slot, mount.destination, { ...o, propagation: 0 })],
    };
  }
  const asked = o.idmap || (mount.uidMappings?.length ?? 0) > 0;
  const parent: Step = {
    op: 'openTree',
    slot,
    source: mount.source,
    recursive: o.recursive,
    set: o.set,
    // Access times are a number and no bits: the kernel wants the whole of it cleared before another is set.
    clear: o.clear & ~(o.set & ~ATTR.ATIME_MASK),
    deepSet: o.deepSet,
    deepClear: o.deepClear & ~(o.deepSet & ~ATTR.ATIME_MASK),
    // A copy of a shared mount would pass mounts back to the host: private unless asked otherwise. "shared" keeps the
    // peer group of the source.
    propagation: (o.propagation || MS.PRIVATE) & ~MS.REC & ~(o.propagation & MS.SHARED),
    ...(asked
      ? { idmap: { optional: false, recursive: o.idmapRecursive, usernsSlot: c.usernsSlot?.(mount) } }
      : c.idmapBinds && !/^\/(proc|sys|dev)(\/|$)/.test(mount.source)
        ? { idmap: { optional: true, recursive: false } }
        : {}),
  };
  return { parent: [parent], init: [{ ...attach(slot, mount.destination, o), propagation: 0 }] };
}

/**
 * The container's view of its cgroups. With a cgroup namespace it mounts the hierarchy itself and sees its own group
 * as the root; on a host with v1 hierarchies each gets a mount below a tmpfs, as such hosts have them.
 */
function cgroupMounts(target: string, o: MountOptions, c: MountContext, only2: boolean): Step[] {
  const attrs = o.set | o.deepSet;
  const { cgroup } = c.host;
  const two = (path: string): Step => ({
    op: 'mountFs',
    target: path,
    propagation: 0,
    fstype: 'cgroup2',
    source: 'cgroup',
    attrs: attrs & ~ATTR.ATIME_MASK,
    options: [],
  });
  if (cgroup.mode === 'none') return [];
  if (!c.cgroupNamespace && c.userNamespace) return []; // the kernel lets only the owner of the namespace mount it
  const own = Object.entries(cgroup.v1).filter(([, mountPoint]) =>
    c.v1Groups.some((group) => group.startsWith(`${mountPoint}/`)),
  );
  if (cgroup.mode === 'unified' || only2 || (cgroup.unified && own.length === 0)) return [two(target)];
  const steps: Step[] = [
    {
      op: 'mountFs',
      target,
      propagation: 0,
      fstype: 'tmpfs',
      source: 'tmpfs',
      attrs: attrs & ~ATTR.RDONLY & ~ATTR.ATIME_MASK,
      options: [
        ['mode', '755'],
        ['size', '64k'],
      ],
    },
  ];
  const seen = new Map<string, string[]>();
  for (const [controller, mountPoint] of own) {
    // Where init is in no group of its own, it would see the host's.
    if (c.cgroupNamespace && c.joined && !c.joined.some((group) => group.startsWith(`${mountPoint}/`)))
      continue;
    const together = seen.get(mountPoint);
    if (together) together.push(controller);
    else seen.set(mountPoint, [controller]);
  }
  for (const [mountPoint, controllers] of seen) {
    const name = mountPoint.slice(mountPoint.lastIndexOf('/') + 1);
    steps.push({
      op: 'mountFs',
      target: `${target}/${name}`,
      propagation: 0,
      fstype: 'cgroup',
      source: 'cgroup',
      attrs: attrs & ~ATTR.ATIME_MASK,
      options: controllers.map((k) =>
        k.startsWith('name=') ? (['name', k.slice(5)] as const) : ([k] as const),
      ),
    });
  }
  if (cgroup.unified) steps.push(two(`${target}/unified`));
  return steps;
}
