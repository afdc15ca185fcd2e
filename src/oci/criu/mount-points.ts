import { closeSync, constants, openSync, statSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, isErrno } from '../../base/index.js';
import {
  mkdirat,
  openat2,
  openDirectoryInRoot,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
} from '../../kernel/index.js';
import { parseMountOptions } from '../../plan/index.js';
import type { Spec, SpecMount } from '../../spec/index.js';

const O_PATH = 0o10000000;
const INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/**
 * Makes the missing mount points of a spec in its root filesystem, as `create` would: criu mounts on what is there.
 * What lies in a tmpfs comes back with its content, what lies in a bind is made in the bind's source.
 * @throws NsboxError with the path that can't be made
 */
export function makeMountPoints(spec: Spec, rootfs: string): void {
  const mounts = spec.mounts ?? [];
  for (const [i, mount] of mounts.entries()) {
    // The last mount that covers a place is the one that has the mount point in it.
    const above = mounts
      .slice(0, i)
      .findLast((m) => mount.destination.startsWith(`${m.destination.replace(/\/+$/, '')}/`));
    if (above && !isBind(above)) continue;
    const root = above ? above.source! : rootfs;
    const inside = above
      ? mount.destination.slice(above.destination.replace(/\/+$/, '').length)
      : mount.destination;
    const directory = !isBind(mount) || isDirectory(mount.source!);
    try {
      make(root, inside, directory);
    } catch (error) {
      throw fromErrno(`make the mount point ${mount.destination}`, error, { path: mount.destination });
    }
  }
}

function isBind(mount: SpecMount): boolean {
  return mount.type === 'bind' || parseMountOptions(mount.options ?? []).bind;
}

function isDirectory(source: string): boolean {
  try {
    return statSync(source).isDirectory();
  } catch (error) {
    throw fromErrno(`look at the source of a mount, ${source}`, error, { path: source });
  }
}

/** Each name is resolved with the root as "/", so that no symlink of an image leads out. */
function make(root: string, inside: string, directory: boolean): void {
  const top = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  const there = (name: string) => {
    try {
      closeSync(openat2(top, name, O_PATH, 0, INSIDE));
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  };
  try {
    const names = path.posix.normalize(`/${inside}`).split('/').filter(Boolean);
    for (const [i] of names.entries()) {
      const at = names.slice(0, i + 1).join('/');
      if (there(at)) continue;
      const parent = openDirectoryInRoot(top, names.slice(0, i).join('/') || '.');
      try {
        if (i < names.length - 1 || directory) mkdirat(parent, names[i]!, 0o755);
        else {
          const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
          closeSync(openat2(parent, names[i]!, flags, 0o755, 0));
        }
      } finally {
        closeSync(parent);
      }
    }
  } finally {
    closeSync(top);
  }
}
