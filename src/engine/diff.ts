import { closeSync, constants } from 'node:fs';
import type { Context } from '../base/index.js';
import {
  AT_FDCWD,
  type FileStat,
  lgetxattrat,
  lstatat,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  readdirFd,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
} from '../kernel/index.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { layerDirectories } from './rootfs-view.js';

/** A change of a container's filesystem against its image: added, changed, deleted. */
export interface Change {
  kind: 'A' | 'C' | 'D';
  path: string;
}

/**
 * Where every container mounts files and filesystems of its own. Where the image has nothing at such a place, an empty
 * mount point is made in the writable layer: that is no change of the container's, and Docker doesn't list it either.
 */
const MOUNT_POINTS = new Set(['/dev', '/proc', '/sys', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf']);

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * What a container changed, read from its writable layer alone: parents before children, in the order of names.
 * Directories that only hold changes are listed as changed, as Docker does.
 */
export function diffContainer(ctx: Context, record: ContainerRecord): Change[] {
  if (!record.image) return []; // a plain directory has nothing to compare with
  const changes: Change[] = [];
  const upper = openat2(AT_FDCWD, containerPaths(ctx, record.id).upper, DIRECTORY);
  const lowers: number[] = [];
  try {
    for (const directory of layerDirectories(ctx, record).reverse()) {
      lowers.push(openat2(AT_FDCWD, directory, DIRECTORY));
    }
    walk(upper, '', lowers, changes, record.idRange?.start ?? 0);
  } finally {
    for (const fd of [upper, ...lowers]) closeSync(fd);
  }
  return changes;
}

/**
 * @param lowers directories that show through at this place, topmost first, opened at their root
 * @param shift what the ids of the writable layer are above those of the image
 * @returns whether a mount point was left out
 */
function walk(fd: number, prefix: string, lowers: readonly number[], out: Change[], shift: number): boolean {
  let leftOut = false;
  const names = readdirFd(fd)
    .map((e) => e.name)
    .sort(Buffer.compare);
  for (const name of names) {
    const stat = lstatat(fd, name);
    if (!stat) continue;
    const file = `${prefix}/${name.toString()}`;
    const before = lookUp(lowers, file);
    const kind = stat.mode & S_IFMT;
    if (kind === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0) {
      if (before) out.push({ kind: 'D', path: file });
      continue;
    }
    if (!before && MOUNT_POINTS.has(file) && isEmpty(fd, name, stat)) {
      leftOut = true;
      continue;
    }
    out.push({ kind: before ? 'C' : 'A', path: file });
    if (kind !== S_IFDIR) continue;
    const listed = out.length;
    const child = openat2(fd, name, DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
    try {
      const opaque = lgetxattrat(fd, name, 'trusted.overlay.opaque')?.toString() === 'y';
      if (opaque) deletions(child, file, lowers, out);
      const only = walk(child, file, opaque ? [] : lowers, out, shift) && out.length === listed;
      // A directory that is here for a mount point's sake alone.
      if (only && (!before || sameOwnerAndMode(stat, before, shift))) {
        out.pop();
        leftOut = true;
      }
    } finally {
      closeSync(child);
    }
  }
  return leftOut;
}

function isEmpty(fd: number, name: Buffer, stat: FileStat): boolean {
  if ((stat.mode & S_IFMT) !== S_IFDIR) return stat.size === 0;
  const child = openat2(fd, name, DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  try {
    return readdirFd(child).length === 0;
  } finally {
    closeSync(child);
  }
}

function sameOwnerAndMode(upper: FileStat, lower: FileStat, shift: number): boolean {
  return upper.mode === lower.mode && upper.uid === lower.uid + shift && upper.gid === lower.gid + shift;
}

/** What an opaque directory hides and doesn't replace. */
function deletions(fd: number, prefix: string, lowers: readonly number[], out: Change[]): void {
  const seen = new Set<string>();
  for (const lower of lowers) {
    let directory: number;
    try {
      directory = openat2(
        lower,
        prefix,
        DIRECTORY,
        0,
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
      );
    } catch {
      continue;
    }
    try {
      for (const { name } of readdirFd(directory)) {
        const file = `${prefix}/${name.toString()}`;
        if (seen.has(file)) continue;
        seen.add(file);
        if (lookUp(lowers, file) && !lstatat(fd, name)) out.push({ kind: 'D', path: file });
      }
    } finally {
      closeSync(directory);
    }
  }
}

/** The file that the layers show at a path; undefined where there is none or a whiteout hides it. */
function lookUp(lowers: readonly number[], file: string): FileStat | undefined {
  const parts = file.slice(1).split('/');
  for (const lower of lowers) {
    // A parent that this layer deletes or replaces hides the layers below.
    for (let i = 1; i <= parts.length; i++) {
      const stat = lstatat(lower, parts.slice(0, i).join('/'));
      if (!stat) break;
      if ((stat.mode & S_IFMT) === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0) return undefined;
      if (i === parts.length) return stat;
      if ((stat.mode & S_IFMT) !== S_IFDIR) return undefined;
      const opaque =
        lgetxattrat(lower, parts.slice(0, i).join('/'), 'trusted.overlay.opaque')?.toString() === 'y';
      if (opaque && !lstatat(lower, file.slice(1))) return undefined;
    }
  }
  return undefined;
}
