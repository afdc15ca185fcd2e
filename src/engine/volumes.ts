import { closeSync, constants, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  ConflictError,
  type Context,
  fromErrno,
  InvalidError,
  isErrno,
  NotFoundError,
  newId,
  UnsupportedError,
} from '../base/index.js';
import { AT_FDCWD, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, removeTree } from '../kernel/index.js';
import {
  acquireLock,
  ensureDirectory,
  type FileLock,
  fsyncDirectory,
  readRecord,
  writeRecord,
} from '../state/index.js';
import { copyTree } from './copy-tree.js';

/**
 * Volumes: directories that outlive containers.
 *
 *   <root>/volumes/<name>/volume.json   VolumeRecord
 *   <root>/volumes/<name>/_data         what containers mount; ids are those inside the container
 *   <root>/volumes/<name>/lock          held while the volume is filled
 *   <root>/volumes/.lock                held while one is made or removed
 *
 * A volume is made under a temporary name and renamed; what a crash leaves begins with `.new-` or `.gone-` and is
 * removed by the next who holds the lock.
 */
export interface VolumeRecord {
  version: 1;
  name: string;
  created: string;
  labels: Record<string, string>;
  options: Record<string, string>;
  /** Made without a name: removed with its container by --rm and `rm -v`, and by `volume prune`. */
  anonymous: boolean;
  /** The container it was made for, and whether it goes when that one has gone, whatever ended it (--rm). */
  owner?: { container: string; remove: boolean } | undefined;
  /** A container has mounted it: what the image has at its place was copied, if it was to be. */
  used?: boolean | undefined;
}

export interface Volume extends VolumeRecord {
  /** Absolute path of the data. */
  mountpoint: string;
}

export interface VolumeRequest {
  name?: string | undefined;
  labels?: Record<string, string> | undefined;
  options?: Record<string, string> | undefined;
  /** Kept for volumes without a name. */
  owner?: { container: string; remove: boolean } | undefined;
}

/** Ids of the containers that have a volume, by its name; the engine knows them. */
export type VolumeUsers = (name: string) => string[];

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

export class Volumes {
  readonly #directory: string;

  constructor(ctx: Context) {
    this.#directory = path.join(ctx.root, 'volumes');
  }

  /**
   * Makes a volume, or returns the one that has the name.
   * @throws InvalidError for a name or option that can't be
   */
  async create(request: VolumeRequest = {}): Promise<Volume> {
    const anonymous = request.name === undefined || request.name === '';
    const name = anonymous ? newId() : request.name!;
    if (!NAME.test(name) || name.length > 255) {
      throw new InvalidError(
        `${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed`,
        { hint: 'if a directory of the host is meant, use an absolute path' },
      );
    }
    const option = Object.keys(request.options ?? {})[0];
    if (option !== undefined) {
      throw new UnsupportedError(`volume options are not supported: ${option}`, {
        hint: 'mount the filesystem on the host and use a bind mount',
      });
    }
    const known = this.find(name);
    if (known) return known;

    using _lock = await this.#lock();
    const raced = this.find(name);
    if (raced) return raced;
    const record: VolumeRecord = {
      version: 1,
      name,
      created: new Date().toISOString(),
      labels: request.labels ?? {},
      options: {},
      anonymous,
      ...(anonymous && request.owner ? { owner: request.owner } : {}),
    };
    const temporary = path.join(this.#directory, `.new-${name}`);
    try {
      mkdirSync(path.join(temporary, '_data'), { recursive: true, mode: 0o701 });
      writeRecord(path.join(temporary, 'volume.json'), record);
      renameSync(temporary, path.join(this.#directory, name));
      fsyncDirectory(this.#directory);
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw fromErrno(`create volume ${name}`, error);
    }
    return this.#volume(record);
  }

  /** All volumes, by name. */
  list(): Volume[] {
    let names: string[];
    try {
      names = readdirSync(this.#directory);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw fromErrno(`read ${this.#directory}`, error);
    }
    return names
      .filter((name) => !name.startsWith('.'))
      .sort()
      .flatMap((name) => this.find(name) ?? []);
  }

  find(name: string): Volume | undefined {
    if (!NAME.test(name)) return undefined;
    const record = readRecord<VolumeRecord>(path.join(this.#directory, name, 'volume.json'));
    return record && this.#volume(record);
  }

  /** @throws NotFoundError */
  get(name: string): Volume {
    const volume = this.find(name);
    if (!volume) throw new NotFoundError('volume', name);
    return volume;
  }

  /**
   * Removes a volume and its data.
   * @throws NotFoundError, ConflictError while a container has it
   */
  async remove(name: string, users: VolumeUsers): Promise<void> {
    {
      using _lock = await this.#lock();
      this.get(name);
      const ids = users(name);
      if (ids.length > 0) {
        throw new ConflictError(`remove ${name}: volume is in use - [${ids.join(', ')}]`, {
          hint: 'remove the containers first',
        });
      }
      // One rename, so that a crash leaves the volume whole or gone.
      renameSync(path.join(this.#directory, name), path.join(this.#directory, `.gone-${newId()}`));
    }
    await this.sweep();
  }

  /** Removes what a crash left. Data of removed volumes may be large, so the lock isn't held meanwhile. */
  async sweep(): Promise<void> {
    const gone: string[] = [];
    {
      using _lock = await this.#lock();
      for (const entry of readdirSync(this.#directory)) {
        if (entry.startsWith('.new-')) {
          const renamed = `.gone-${newId()}`;
          renameSync(path.join(this.#directory, entry), path.join(this.#directory, renamed));
          gone.push(renamed);
        } else if (entry.startsWith('.gone-')) gone.push(entry);
      }
    }
    for (const entry of gone) await removeTree(path.join(this.#directory, entry));
  }

  /**
   * Called before a container mounts a volume: copies what the image has at the mount point into it where the volume
   * is empty, with owners and modes (ids as in the image). Safe to call from several processes at once and to repeat.
   * @param source the image's root as an open directory, and the path in it; absent: nothing is copied (nocopy, --rootfs)
   */
  async prepare(name: string, source?: { rootFd: number; path: string } | undefined): Promise<Volume> {
    const volume = this.get(name);
    const directory = path.join(this.#directory, name);
    using _lock = await acquireLock(path.join(directory, 'lock'));
    if (source && readdirSync(volume.mountpoint).length === 0) await this.#fill(volume, directory, source);
    if (!volume.used) {
      const { mountpoint: _, ...record } = volume;
      writeRecord(path.join(directory, 'volume.json'), { ...record, used: true });
    }
    return { ...volume, used: true };
  }

  async #fill(volume: Volume, directory: string, source: { rootFd: number; path: string }): Promise<void> {
    let from: number;
    try {
      const flags = constants.O_RDONLY | constants.O_DIRECTORY;
      from = openat2(source.rootFd, source.path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return; // the image has nothing there
      throw fromErrno(`read ${source.path} of the image`, error, { path: source.path });
    }
    try {
      // A volume that no container has mounted yet gets its content by one rename; in another, which a running
      // container may see, the directory must stay the same.
      const fresh = path.join(directory, 'filling');
      const target = volume.used ? volume.mountpoint : fresh;
      if (!volume.used) {
        await removeTree(fresh);
        mkdirSync(fresh, { mode: 0o700 });
      }
      const to = openat2(AT_FDCWD, target, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await copyTree(from, to);
      } finally {
        closeSync(to);
      }
      if (!volume.used) renameSync(fresh, volume.mountpoint);
    } catch (error) {
      throw fromErrno(`fill volume ${volume.name} from ${source.path} of the image`, error);
    } finally {
      closeSync(from);
    }
  }

  /** A volume made for a container with the anonymous flag goes with it, unless another container has it. */
  async removeAnonymous(names: readonly string[], users: VolumeUsers): Promise<void> {
    for (const name of names) {
      const volume = this.find(name);
      if (volume?.anonymous && users(name).length === 0) await this.remove(name, users);
    }
  }

  /**
   * Removes anonymous volumes that a killed process or a monitor left: their --rm container has gone, or the container
   * they were made for never came to be.
   * @param gone whether a container, by its id, is neither there nor being made
   */
  async recover(gone: (container: string) => boolean, users: VolumeUsers): Promise<void> {
    for (const volume of this.list()) {
      const { owner } = volume;
      if (!owner || (!owner.remove && volume.used) || !gone(owner.container)) continue;
      await this.removeAnonymous([volume.name], users);
    }
  }

  #volume(record: VolumeRecord): Volume {
    return { ...record, mountpoint: path.join(this.#directory, record.name, '_data') };
  }

  async #lock(): Promise<FileLock> {
    ensureDirectory(this.#directory, 0o711);
    return acquireLock(path.join(this.#directory, '.lock'));
  }
}

/** The volumes below a context's root. */
export function openVolumes(ctx: Context): Volumes {
  return new Volumes(ctx);
}
