import path from 'node:path';
import { InvalidError } from '../base/index.js';
import type { SpecMount } from './runtime.js';

/** A mount that the engine has resolved: volumes to host paths, the container's own files to where they lie. */
export interface ResolvedMount {
  type: 'bind' | 'tmpfs';
  /** Absolute host path of a bind. */
  source?: string | undefined;
  /** Absolute path in the container. */
  target: string;
  readonly?: boolean | undefined;
  propagation?: 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave' | undefined;
  nonRecursive?: boolean | undefined;
  tmpfs?:
    | { size?: number | undefined; mode?: number | undefined; options?: string[] | undefined }
    | undefined;
  /** Further options, such as a bind's `nosuid`. */
  options?: string[] | undefined;
}

export interface DefaultMountOptions {
  /** Bytes of /dev/shm. */
  shmSize: number;
  ipc: 'private' | 'none' | 'host' | { shm: string };
  /** The container has an own network namespace: a fresh sysfs shows its interfaces. */
  ownNetwork: boolean;
  ownPid: boolean;
  userNamespace: boolean;
  /** Writable /sys and cgroups: --privileged. */
  writableSys: boolean;
  writableCgroup: boolean;
}

/** Bytes; as Docker. */
export const DEFAULT_SHM_SIZE = 64 * 1024 * 1024;

/** The filesystems that every container has, in the order they are mounted. */
export function defaultMounts(o: DefaultMountOptions): SpecMount[] {
  const mounts: SpecMount[] = [];
  // The kernel lets only the owner of a namespace mount the filesystem that shows it; where the namespace is
  // somebody else's, the mount that the host has is bound instead.
  if (o.ownPid || !o.userNamespace) {
    mounts.push({
      destination: '/proc',
      type: 'proc',
      source: 'proc',
      options: ['nosuid', 'noexec', 'nodev'],
    });
  } else {
    mounts.push({
      destination: '/proc',
      type: 'bind',
      source: '/proc',
      options: ['rbind', 'nosuid', 'noexec', 'nodev'],
    });
  }
  mounts.push({
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  });
  mounts.push({
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  });
  const sys = o.writableSys ? 'rw' : 'ro';
  if (o.ownNetwork || !o.userNamespace) {
    mounts.push({
      destination: '/sys',
      type: 'sysfs',
      source: 'sysfs',
      options: ['nosuid', 'noexec', 'nodev', sys],
    });
  } else {
    mounts.push({
      destination: '/sys',
      type: 'bind',
      source: '/sys',
      options: ['rbind', 'nosuid', 'noexec', 'nodev', sys === 'ro' ? 'rro' : 'rw'],
    });
  }
  mounts.push({
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', o.writableCgroup ? 'rw' : 'ro'],
  });
  const quiet = ['nosuid', 'noexec', 'nodev'];
  if (o.ipc === 'host') {
    // A new mount of mqueue shows the queues of the IPC namespace one is in: the host need not have it mounted.
    mounts.push({ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet });
    mounts.push({ destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['bind', ...quiet] });
  } else {
    mounts.push({ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet });
    if (o.ipc === 'private') {
      mounts.push({
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: [...quiet, 'mode=1777', `size=${o.shmSize}`],
      });
    } else if (o.ipc !== 'none') {
      mounts.push({ destination: '/dev/shm', type: 'bind', source: o.ipc.shm, options: ['bind', ...quiet] });
    }
  }
  return mounts;
}

/**
 * The container's own mounts after the defaults. One at the same place replaces a default, one at /dev all those
 * below it; parents come before what lies in them.
 * @param recursiveReadonly the kernel can make a whole tree of mounts read-only (mount_setattr, 5.12)
 * @throws InvalidError for a target that isn't absolute, is `/`, or is given twice
 */
export function mergeMounts(
  defaults: readonly SpecMount[],
  own: readonly ResolvedMount[],
  recursiveReadonly: boolean,
): SpecMount[] {
  const converted = new Map<string, SpecMount>();
  for (const mount of own) {
    const target = cleanTarget(mount.target);
    if (converted.has(target)) {
      throw new InvalidError(`Duplicate mount point: ${target}`, {
        hint: 'give each mount a target of its own',
      });
    }
    converted.set(target, toSpecMount(mount, target, recursiveReadonly));
  }
  const overDev = converted.has('/dev');
  const kept = defaults.filter(
    (m) => !converted.has(m.destination) && !(overDev && m.destination.startsWith('/dev/')),
  );
  const depth = (m: SpecMount) => m.destination.split('/').length;
  return [...kept, ...[...converted.values()].sort((a, b) => depth(a) - depth(b))];
}

function cleanTarget(target: string): string {
  if (!target.startsWith('/')) {
    throw new InvalidError(`invalid mount path: '${target}' mount path must be absolute`);
  }
  const clean = path.posix.normalize(target);
  const bare = clean.length > 1 && clean.endsWith('/') ? clean.slice(0, -1) : clean;
  if (bare === '/') {
    throw new InvalidError(`invalid mount path: '${target}' would cover the root filesystem`, {
      hint: 'give a directory below /',
    });
  }
  return bare;
}

function toSpecMount(m: ResolvedMount, target: string, recursiveReadonly: boolean): SpecMount {
  if (m.type === 'tmpfs') {
    const given = m.tmpfs?.options ?? [];
    // What was given wins over its opposite among the defaults.
    const opposite: Record<string, string> = { exec: 'noexec', suid: 'nosuid', dev: 'nodev' };
    const defaults = ['noexec', 'nosuid', 'nodev'].filter(
      (d) => !given.some((g) => opposite[g] === d || g === d),
    );
    const options = [...defaults, ...given.filter((g) => g !== 'rw' && g !== 'ro')];
    if (m.tmpfs?.size !== undefined) options.push(`size=${m.tmpfs.size}`);
    if (m.tmpfs?.mode !== undefined) options.push(`mode=${m.tmpfs.mode.toString(8)}`);
    options.push(m.readonly || given.includes('ro') ? 'ro' : 'rw');
    return { destination: target, type: 'tmpfs', source: 'tmpfs', options };
  }
  return {
    destination: target,
    type: 'bind',
    source: m.source ?? '',
    options: [
      m.nonRecursive ? 'bind' : 'rbind',
      ...(m.options ?? []),
      ...(m.readonly ? [recursiveReadonly && !m.nonRecursive ? 'rro' : 'ro'] : []),
      m.propagation ?? 'rprivate',
    ],
  };
}

/** What the root mount's propagation must be for these mounts to propagate at all. */
export function rootPropagation(own: readonly ResolvedMount[]): 'shared' | 'slave' | undefined {
  if (own.some((m) => m.propagation === 'shared' || m.propagation === 'rshared')) return 'shared';
  if (own.some((m) => m.propagation === 'slave' || m.propagation === 'rslave')) return 'slave';
  return undefined;
}
