import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Context, InvalidError, isErrno, parseBytes, UnsupportedError } from '../base/index.js';
import type { HostFacts } from '../host/index.js';
import { limitProject, projectQuota, setProject } from '../kernel/index.js';
import type { ContainerRequest } from '../spec/index.js';

/**
 * `--storage-opt size=`: the writable layer is a project of its filesystem with a quota. The kernel counts what is
 * written there, also by the container's root (overlayfs drops the right to exceed quotas), and `df` in the container
 * shows the limit.
 */

/**
 * The size that a container's writable layer may have, in bytes; undefined: as much as there is.
 * @throws InvalidError for an option that isn't known, and for a size that is none
 */
function sizeOf(request: ContainerRequest): number | undefined {
  let size: number | undefined;
  for (const [name, value] of Object.entries(request.storageOpt)) {
    if (name !== 'size') {
      throw new InvalidError(`unknown storage option ${name}=${value}`, { hint: 'there is one: size=BYTES' });
    }
    size = parseBytes(value);
    if (size <= 0)
      throw new InvalidError(`invalid storage option size=${value}: expected a size such as 10g`);
  }
  return size;
}

/**
 * Refuses `--storage-opt` before anything is made: a size that is not enforced would be worse than none.
 * @throws InvalidError for an option that isn't known; UnsupportedError where the filesystem can't
 */
export function checkStorageOptions(request: ContainerRequest, host: HostFacts): void {
  const size = sizeOf(request);
  if (size === undefined) return;
  if (request.rootfs !== undefined) {
    throw new InvalidError('--storage-opt size= limits the writable layer of an image; --rootfs has none', {
      hint: 'put the directory on a filesystem of that size',
    });
  }
  try {
    projectQuota(nearest(host.root.path), FIRST);
  } catch (error) {
    throw noQuota(error, request.storageOpt['size'] ?? '', host.root);
  }
}

/** The root may be about to be made. */
function nearest(directory: string): string {
  return existsSync(directory) ? directory : nearest(path.dirname(directory));
}

function noQuota(error: unknown, size: string, root: HostFacts['root']): UnsupportedError {
  const able = ['ext4', 'xfs', 'f2fs'].includes(root.filesystem);
  const text = `cannot limit the container's writable layer to ${size}: `;
  const instead =
    'or put what grows on a tmpfs with a size (--tmpfs /data:size=64m), or keep --root on a filesystem of its own';
  if (!able) {
    return new UnsupportedError(`${text}${root.path} is on ${root.filesystem}, which has no project quotas`, {
      cause: error,
      path: root.path,
      hint: `put --root on xfs or ext4 with project quotas (mount -o prjquota), ${instead}`,
    });
  }
  if (!isErrno(error, 'ESRCH', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP')) {
    return new UnsupportedError(`${text}${(error as Error).message}`, { cause: error, path: root.path });
  }
  const first = root.filesystem === 'ext4' ? 'tune2fs -O quota,project on the unmounted device, then ' : '';
  return new UnsupportedError(
    `${text}project quotas are not switched on for the ${root.filesystem} filesystem of ${root.path}`,
    { cause: error, path: root.path, hint: `${first}mount it with -o prjquota; ${instead}` },
  );
}

/** Ids of ours begin here, out of the way of those that people number by hand. */
const FIRST = 0x10000000;
const COUNT = 0x60000000;

/**
 * Makes the writable layer of a container a project of the size asked for.
 * @param directories upper and work: files are renamed from one to the other, which the kernel does within a project
 * @param id of the container; the project's number is made of it, and so needs no register
 * @returns the project; undefined without a size
 */
export function limitLayer(
  request: ContainerRequest,
  id: string,
  directories: readonly string[],
): number | undefined {
  const size = sizeOf(request);
  const [upper] = directories;
  if (size === undefined || upper === undefined) return undefined;
  const project = freeProject(upper, id);
  limitProject(upper, project, size);
  for (const directory of directories) setProject(directory, project);
  return project;
}

/** A limit may be left of a container that has gone (--rm); a project with files has an owner. */
function freeProject(directory: string, id: string): number {
  for (let at = 0; at + 8 <= id.length; at += 8) {
    const project = FIRST + (Number.parseInt(id.slice(at, at + 8), 16) % COUNT);
    if (projectQuota(directory, project).inodes === 0) return project;
  }
  throw new UnsupportedError(`no free project number for a quota in ${directory}`, { path: directory });
}

/** The work directory is made anew for each start. */
export function keepProject(directory: string, project: number | undefined): void {
  if (project !== undefined) setProject(directory, project);
}

/** Takes the limit away once the layer is gone. A filesystem that has been mounted without quotas has forgotten it. */
export function releaseProject(ctx: Context, project: number | undefined): void {
  if (project === undefined) return;
  try {
    limitProject(path.join(ctx.root, 'containers'), project, 0);
  } catch (error) {
    if (!isErrno(error, 'ESRCH', 'ENOSYS', 'ENOENT', 'EOPNOTSUPP')) throw error;
  }
}
