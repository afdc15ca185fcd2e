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
