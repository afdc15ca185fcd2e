import { chownSync, closeSync, constants, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno, isErrno } from '../base/index.js';
import { hostFacts } from '../host/index.js';
import { openOverlay } from '../kernel/index.js';
import { lockContainer } from './container-lock.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';

/** A container's filesystem as an open directory, whether it runs or not. */
export interface RootfsView extends Disposable {
  readonly fd: number;
  /** It holds the container's lock. */
  readonly locked: boolean;
  /** Ids in it lie this far above those inside the container. */
  readonly shift: number;
  /** Where `path` (absolute, inside the container) is to be looked up: a volume or bind mount has its own directory. */
  place(file: string): { fd: number; path: string; shift: number };
}

/** Directories of a container's layers, lowest first. */
export function layerDirectories(ctx: Context, record: ContainerRecord): string[] {
  return (record.image?.chain ?? []).map((chain) =>
    path.join(ctx.root, 'layers', chain.replace(/^sha256:/, ''), 'fs'),
  );
}

/**
 * Opens a container's filesystem. Running: as its processes see it, through /proc/PID/root, mounts and all. Stopped: its
 * layers merged, attached to no mount table, with volumes and bind mounts in their places.
 * @param write whether files will be changed
 * @throws NsboxError where a layer is gone or the kernel refuses the overlay
 */
export async function openRootfs(ctx: Context, record: ContainerRecord, write: boolean): Promise<RootfsView> {
  const live = openLive(ctx, record, write);
  if (live) return live;
  // One overlay at a time may have the writable layer: no start comes in between as long as the view is open.
  const lock = await lockContainer(ctx, record.id);
  try {
    const view = openLive(ctx, record, write) ?? openStopped(ctx, record, write, lock);
    if (!view.locked) lock[Symbol.dispose]();
    return view;
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** The filesystem as the container's processes see it; undefined where there are none. */
function openLive(ctx: Context, record: ContainerRecord, write: boolean): RootfsView | undefined {
  const { status, running } = stateOf(ctx, record);
  if (status === 'restarting') {
    throw new ConflictError(`container ${record.name} is restarting`, {
      hint: 'wait until it runs, or stop it',
    });
  }
  if ((status !== 'running' && status !== 'paused') || !running) return undefined;
  try {
    const fd = openSync(`/proc/${running.pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
    const directory = record.image ? undefined : record.request.rootfs;
    return view(fd, record.idRange?.start ?? 0, record.mounts, write, { directory });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return undefined; // it ended meanwhile
    throw fromErrno(`open the root of container ${record.name}`, error);
  }
}

function openStopped(ctx: Context, record: ContainerRecord, write: boolean, lock: Disposable): RootfsView {
  const shift = record.idRange?.start ?? 0;
  const mounts = record.mounts.filter((m) => m.type !== 'tmpfs');
  const paths = containerPaths(ctx, record.id);
  try {
    if (!record.image) {
      const directory = record.request.rootfs ?? '';
      return view(openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY), 0, mounts, write, {
        lock,
      });
    }
    // What a volatile overlay leaves in its work directory makes the kernel refuse the next one.
    rmSync(paths.work, { recursive: true, force: true });
    mkdirSync(paths.work, 0o700);
    if (record.idRange) chownSync(paths.work, record.idRange.start, record.idRange.start);
    const fd = openOverlay({
      lowers: layerDirectories(ctx, record),
      // Read-only views have it writable too: with one layer alone, overlay needs an upper directory.
      upper: { directory: paths.upper, work: paths.work },
      idRange: record.idRange,
      attached: record.idRange !== undefined && !hostFacts(ctx).features.idmappedLower.have,
    });
    return view(fd, shift, mounts, write, { lock });
  } catch (error) {
    throw fromErrno(`open the filesystem of container ${record.name}`, error, {
      hint: write ? 'is it being started?' : undefined,
    });
  }
}

/**
 * Ids in volumes, bind mounts and a plain directory used as root are those inside the container: they are idmapped when
 * mounted. Nobody outside can make files through such a mount (EOVERFLOW), so their own directories are used.
 */
function view(
  fd: number,
  shift: number,
  mounts: ContainerRecord['mounts'],
  write: boolean,
  more: { lock?: Disposable; directory?: string | undefined },
): RootfsView {
  const opened: number[] = [fd];
  const openPlace = (directory: string, file: string) => {
    const place = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    opened.push(place);
    return { fd: place, path: file, shift: 0 };
  };
  return {
    fd,
    locked: more.lock !== undefined,
    shift,
    place(file) {
      const clean = path.posix.resolve('/', file);
      const mount = mounts
        .filter((m) => clean === m.destination || clean.startsWith(`${m.destination}/`))
        .sort((a, b) => b.destination.length - a.destination.length)[0];
      if (!mount) return more.directory ? openPlace(more.directory, clean) : { fd, path: clean, shift };
      if (write && !mount.rw) throw new ConflictError(`${mount.destination} is mounted read-only`);
      if (mount.type === 'tmpfs') return { fd, path: clean, shift };
      if (!statSync(mount.source).isDirectory()) {
        return openPlace(path.dirname(mount.source), `/${path.basename(mount.source)}`);
      }
      return openPlace(mount.source, clean.slice(mount.destination.length) || '/');
    },
    [Symbol.dispose]() {
      for (const open of opened.splice(0)) closeSync(open);
      more.lock?.[Symbol.dispose]();
    },
  };
}
