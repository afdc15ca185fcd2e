import { InvalidError } from '../base/index.js';

/** Where containers' groups lie unless told: /nsbox/<id> of each hierarchy. */
export const DEFAULT_PARENT = '/nsbox';

/**
 * Path of a container's group below the root of every hierarchy.
 * @param parent --cgroup-parent; absent: /nsbox
 * @throws InvalidError where the parent leads out of the tree
 */
export function cgroupPathFor(id: string, parent?: string): string {
  if (!parent) return `${DEFAULT_PARENT}/${id}`;
  if (parent.includes('\0') || parent.split('/').some((part) => part === '..' || part === '.')) {
    throw new InvalidError(`--cgroup-parent ${parent}: the path may not contain "." or ".."`);
  }
  return `${normal(parent)}/${id}`.replace(/\/{2,}/g, '/');
}

/** One leading slash, none at the end. */
export function normal(path: string): string {
  return `/${path.split('/').filter(Boolean).join('/')}`.replace(/\/$/, '') || '/';
}

/** `/a/b/c` → ['/a', '/a/b']: what lies between the root and the group. */
export function ancestors(path: string): string[] {
  const parts = normal(path).split('/').filter(Boolean);
  return parts.slice(0, -1).map((_, n) => `/${parts.slice(0, n + 1).join('/')}`);
}

/** A container's unit of systemd, and where systemd puts it. */
export interface ScopeName {
  /** `nsbox-<id>.scope`. */
  unit: string;
  /** `machine.slice`. */
  slice: string;
  /** Path of the scope below the root of cgroup2: `/machine.slice/nsbox-<id>.scope`. */
  path: string;
  /** The group within the scope that is the container's; absent: the scope itself. */
  leaf?: string | undefined;
}

/** Where scopes lie unless told, as podman's and libvirt's do. */
const DEFAULT_SLICE = 'machine.slice';

/** The container's group within its scope; its monitor is in another beside it. */
const LEAF = 'container';

/**
 * Directory of a slice below the root: `a-b.slice` → `/a.slice/a-b.slice`, `-.slice` → ``. See systemd.slice(5).
 * @throws InvalidError for a name that systemd doesn't take
 */
export function slicePath(slice: string): string {
  if (slice === '-.slice') return '';
  const name = slice.replace(/\.slice$/, '');
  const parts = name.split('-');
  if (name === slice || slice.includes('/') || !/^[\w:.\\@-]+$/.test(name) || parts.some((p) => p === '')) {
    throw new InvalidError(`invalid slice name: ${slice}`, {
      hint: 'with the systemd manager a parent is a slice, such as machine.slice or system-containers.slice',
    });
  }
  return parts.map((_, n) => `/${parts.slice(0, n + 1).join('-')}.slice`).join('');
}

/**
 * Names the scope of a container of ours.
 * @param parent --cgroup-parent: a slice; absent: machine.slice
 * @throws InvalidError for a parent that isn't a slice
 */
export function scopeFor(id: string, parent?: string): ScopeName {
  const slice = parent || DEFAULT_SLICE;
  const unit = `nsbox-${id}.scope`;
  return { unit, slice, path: `${slicePath(slice)}/${unit}`, leaf: LEAF };
}

/**
 * Reads the `slice:prefix:name` form of linux.cgroupsPath that engines use with systemd.
 * @param given absent: `system.slice:nsbox:<id>`
 * @throws InvalidError in runc's words for another form
 */
export function scopeOfCgroupsPath(given: string | undefined, id: string): ScopeName {
  const [slice, prefix, name, ...rest] = given ? given.split(':') : ['', 'nsbox', id];
  if (slice === undefined || prefix === undefined || !name || rest.length > 0) {
    throw new InvalidError(
      `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "${given}" instead`,
      { code: 'INVALID_SPEC', path: 'linux.cgroupsPath' },
    );
  }
  const unit = name.endsWith('.slice') ? name : prefix ? `${prefix}-${name}.scope` : `${name}.scope`;
  if (unit.endsWith('.slice')) {
    throw new InvalidError(`linux.cgroupsPath: a container cannot be the slice ${unit} itself`, {
      code: 'INVALID_SPEC',
      path: 'linux.cgroupsPath',
      hint: 'give slice:prefix:name with a name that does not end in .slice',
    });
  }
  if (!/^[\w:.\\@-]+$/.test(unit) || unit.length > 255) {
    throw new InvalidError(`linux.cgroupsPath: ${JSON.stringify(unit)} is no name of a unit`, {
      code: 'INVALID_SPEC',
      path: 'linux.cgroupsPath',
    });
  }
  const parent = slice || 'system.slice';
  return { unit, slice: parent, path: `${slicePath(parent)}/${unit}` };
}

/** Path of the container's own group, as in plans. */
export function scopeGroup(name: ScopeName): string {
  return name.leaf ? `${name.path}/${name.leaf}` : name.path;
}

/** Group of the monitor (and the holder) in the scope: one that hands controllers down holds no process itself. */
export function supervisorOf(name: ScopeName): string {
  return `${name.path}/supervisor`;
}
