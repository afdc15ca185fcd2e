import type { FsOption } from './steps.js';

/** MOUNT_ATTR_… of mount_setattr(2). */
export const ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  RELATIME: 0x0,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  ATIME_MASK: 0x70,
  NODIRATIME: 0x80,
  NOSYMFOLLOW: 0x200000,
} as const;

/** MS_… of mount(2), for propagation. */
export const MS = {
  REC: 0x4000,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;

type Effect = { set?: number; clear?: number };

/** Options that are attributes of a mount; `r…` variants change the whole tree (mount_setattr(2), AT_RECURSIVE). */
const ATTRIBUTES: Record<string, Effect> = {
  ro: { set: ATTR.RDONLY },
  rw: { clear: ATTR.RDONLY },
  nosuid: { set: ATTR.NOSUID },
  suid: { clear: ATTR.NOSUID },
  nodev: { set: ATTR.NODEV },
  dev: { clear: ATTR.NODEV },
  noexec: { set: ATTR.NOEXEC },
  exec: { clear: ATTR.NOEXEC },
  noatime: { set: ATTR.NOATIME, clear: ATTR.ATIME_MASK },
  atime: { clear: ATTR.ATIME_MASK },
  relatime: { clear: ATTR.ATIME_MASK },
  norelatime: { clear: ATTR.ATIME_MASK },
  strictatime: { set: ATTR.STRICTATIME, clear: ATTR.ATIME_MASK },
  nostrictatime: { clear: ATTR.ATIME_MASK },
  nodiratime: { set: ATTR.NODIRATIME },
  diratime: { clear: ATTR.NODIRATIME },
  nosymfollow: { set: ATTR.NOSYMFOLLOW },
  symfollow: { clear: ATTR.NOSYMFOLLOW },
};

const PROPAGATION: Record<string, number> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  slave: MS.SLAVE,
  rslave: MS.SLAVE | MS.REC,
  shared: MS.SHARED,
  rshared: MS.SHARED | MS.REC,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE | MS.REC,
};

/** Flags of the superblock that fsconfig(2) takes by name alone. */
const SUPERBLOCK_FLAGS = new Set(['sync', 'dirsync', 'lazytime', 'mand', 'silent']);
/** Words of mount(8) that mean nothing to the kernel here. */
const IGNORED = new Set([
  'defaults',
  'async',
  'nomand',
  'loud',
  'nolazytime',
  'remount',
  'iversion',
  'noiversion',
  'rro-if-possible',
]);

export interface MountOptions {
  bind: boolean;
  recursive: boolean;
  set: number;
  clear: number;
  deepSet: number;
  deepClear: number;
  /** MS_… with MS_REC; 0: as the default of its kind. */
  propagation: number;
  idmap: boolean;
  idmapRecursive: boolean;
  /** Copy what the image has at the target into the new tmpfs. */
  copyUp: boolean;
  data: FsOption[];
}

/**
 * Sorts mount options (as mount(8) and the OCI runtime spec write them) into attributes, propagation and data of the
 * filesystem.
 */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const o: MountOptions = {
    bind: false,
    recursive: false,
    set: 0,
    clear: 0,
    deepSet: 0,
    deepClear: 0,
    propagation: 0,
    idmap: false,
    idmapRecursive: false,
    copyUp: false,
    data: [],
  };
  for (const option of options) {
    const own = ATTRIBUTES[option];
    const deep = option.startsWith('r') ? ATTRIBUTES[option.slice(1)] : undefined;
    if (own) {
      o.clear |= own.clear ?? 0;
      o.set = (o.set & ~(own.clear ?? 0)) | (own.set ?? 0);
      if (own.set !== undefined && own.clear === undefined) o.clear &= ~own.set;
    } else if (deep) {
      o.deepClear |= deep.clear ?? 0;
      o.deepSet = (o.deepSet & ~(deep.clear ?? 0)) | (deep.set ?? 0);
    } else if (option in PROPAGATION) {
      o.propagation = PROPAGATION[option]!;
    } else if (option === 'bind') {
      o.bind = true;
    } else if (option === 'rbind') {
      o.bind = true;
      o.recursive = true;
    } else if (option === 'idmap') {
      o.idmap = true;
    } else if (option === 'ridmap') {
      o.idmap = true;
      o.idmapRecursive = true;
    } else if (option === 'tmpcopyup') {
      o.copyUp = true;
    } else if (SUPERBLOCK_FLAGS.has(option)) {
      o.data.push([option]);
    } else if (!IGNORED.has(option) && option !== '') {
      const at = option.indexOf('=');
      o.data.push(at === -1 ? [option] : [option.slice(0, at), option.slice(at + 1)]);
    }
  }
  return o;
}
