import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { createHash, fromErrno, isErrno } from '../base/index.js';
import { ensureDirectory } from '../state/index.js';
import type { DeviceEdits } from './edits.js';
import { type HostFiles, realPath } from './host-files.js';

export interface StagedEdits extends DeviceEdits {
  /** Directories to be the topmost read-only layers of the container's overlay, lowest first. */
  layers: string[];
}

/** One thing to be made; parents come before what is in them. */
type Entry =
  | { at: string; kind: 'directory'; mode: number; uid: number; gid: number }
  | { at: string; kind: 'file'; mode: number; content: string | Uint8Array }
  | { at: string; kind: 'link'; target: string };

/**
 * Puts on disk what the edits need there: the text of their trees, which become read-only bind mounts, and a layer that
 * goes between the image and the container's own one, with the places for mounts and the links in it. Made so, they
 * cost nothing at a start (through overlayfs each would take a tenth of a millisecond and more), and the container's
 * layer, hence `diff` and `commit`, knows nothing of them.
 *
 * The directory is named by its content, made once, whole or not at all, and shared by containers: it never changes.
 * @param cache holds such directories; anything in it may be removed while no container with devices runs
 * @param image what lies below; undefined for a root filesystem without overlay, where links stay with the edits
 */
export function stageEdits(edits: DeviceEdits, cache: string, image: HostFiles | undefined): StagedEdits {
  // A tree for /proc stands only where this kernel has that place: nothing could be mounted on it elsewhere.
  const trees = edits.trees.filter((t) => !t.destination.startsWith('/proc/') || existsSync(t.destination));
  const entries: Entry[] = [];
  for (const [i, tree] of trees.entries()) {
    const directory = directories(entries, `/${i}`);
    for (const { path: name, content, mode } of tree.files) {
      directory(path.posix.dirname(`/${name}`));
      entries.push({ at: `/${i}/${name}`, kind: 'file', content, mode });
    }
  }
  const layered = image !== undefined && edits.mounts.length + edits.symlinks.length > 0;
  const symlinks = layered ? addLayer(entries, edits, image) : edits.symlinks;
  if (entries.length === 0) return { ...edits, trees: [], layers: [] };
  const directory = make(cache, entries);
  return {
    ...edits,
    trees: [],
    symlinks,
    mounts: [
      ...edits.mounts,
      ...trees.map((tree, i) => ({
        source: `${directory}/${i}`,
        destination: tree.destination,
        options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'rprivate'],
      })),
    ],
    layers: layered ? [`${directory}/layer`] : [],
  };
}

/** @returns the links that can't be in a layer, because something is mounted where they go */
function addLayer(entries: Entry[], edits: DeviceEdits, image: HostFiles): DeviceEdits['symlinks'] {
  const directory = directories(entries, '/layer', image);
  directory('/');
  const taken = new Set<string>();
  /** Where in the layer a path of the container goes; undefined where the image, or this layer, has something. */
  const free = (destination: string): string | undefined => {
    const place = path.posix.resolve('/', destination);
    const parent = knownPath(image, path.posix.dirname(place));
    const real = path.posix.join(parent, path.posix.basename(place));
    if (taken.has(real) || image.lstat(real)) return undefined;
    taken.add(real);
    directory(parent);
    return real;
  };
  for (const mount of edits.mounts) {
    if (isMounted(mount.destination) || (mount.type ?? 'bind') !== 'bind') continue;
    const source = statSync(mount.source, { throwIfNoEntry: false });
    const at = source && free(mount.destination);
    if (at === undefined) continue;
    if (source?.isDirectory()) directory(at);
    else entries.push({ at: `/layer${at}`, kind: 'file', content: '', mode: 0o644 });
  }
  const elsewhere: DeviceEdits['symlinks'] = [];
  for (const link of edits.symlinks) {
    const at = isMounted(link.path) ? undefined : free(link.path);
    if (isMounted(link.path)) elsewhere.push(link);
    else if (at !== undefined) entries.push({ at: `/layer${at}`, kind: 'link', target: link.target });
  }
  return elsewhere;
}

/**
 * Adds a directory below `root` to the entries, with those above it, once each. One that is in several layers shows the
 * topmost one's owner and mode: the image's, then.
 */
function directories(entries: Entry[], root: string, image?: HostFiles): (place: string) => void {
  const made = new Set<string>();
  const add = (place: string) => {
    if (made.has(place)) return;
    if (place !== '/') add(path.posix.dirname(place));
    made.add(place);
    const own = image?.lstat(place);
    const { mode, uid, gid } = own?.kind === 'directory' ? own : { mode: 0o755, uid: 0, gid: 0 };
    entries.push({ at: place === '/' ? root : root + place, kind: 'directory', mode, uid, gid });
  };
  return add;
}

/** Every container has filesystems of its own there. */
function isMounted(place: string): boolean {
  return /^\/(dev|proc|sys)(\/|$)/.test(path.posix.resolve('/', place));
}

/** The path with the links of the image followed, as far as it is there; the rest as it is. */
function knownPath(image: HostFiles, place: string): string {
  if (place === '/') return '/';
  return (
    realPath(image, place) ??
    path.posix.join(knownPath(image, path.posix.dirname(place)), path.posix.basename(place))
  );
}

/**
 * The ld cache of an image with what was staged for it, as a layer of its own: the image's ldconfig gives the same for
 * the same layers and libraries, so it runs once for them.
 * @param layers of the image, which never change
 * @param run runs that ldconfig, its cache put into a directory; absent: only a layer that is there already is given
 * @returns undefined where there is none, and each container's start has to run ldconfig itself
 */
export async function ldCacheLayer(
  staged: StagedEdits,
  cache: string,
  layers: readonly string[],
  image: HostFiles,
  run: ((directory: string) => Promise<Uint8Array | undefined>) | undefined,
): Promise<string | undefined> {
  const name = nameOf(['ld.so.cache', staged.ldconfig, layers, staged.layers, staged.mounts]);
  const made = path.join(cache, name, 'layer');
  if (existsSync(made)) return made;
  if (!run) return undefined;
  const temporary = mkdtempSync(path.join(cache, `${UNFINISHED}${process.pid}-`));
  try {
    const content = await run(temporary);
    if (content === undefined) return undefined;
    const entries: Entry[] = [];
    const directory = directories(entries, '/layer', image);
    const etc = knownPath(image, '/etc');
    directory(etc);
    entries.push({ at: `/layer${etc}/ld.so.cache`, kind: 'file', mode: 0o644, content });
    make(cache, entries, name);
    return made;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const UNFINISHED = '.tmp-';

function nameOf(what: unknown): string {
  return createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 32);
}

function make(cache: string, entries: readonly Entry[], name = nameOf(entries)): string {
  const directory = path.join(cache, name);
  if (existsSync(directory)) return directory;
  const temporary = path.join(cache, `${UNFINISHED}${process.pid}-${name}`);
  try {
    ensureDirectory(cache);
    removeUnfinished(cache);
    mkdirSync(temporary, { mode: 0o755 });
    for (const entry of entries) makeEntry(temporary, entry);
    renameSync(temporary, directory);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    // Another start was quicker with the same content.
    if (isErrno(error, 'EEXIST', 'ENOTEMPTY') && existsSync(directory)) return directory;
    throw fromErrno(`write the device files below ${cache}`, error, { path: cache });
  }
  return directory;
}

function makeEntry(root: string, entry: Entry): void {
  const at = root + entry.at;
  switch (entry.kind) {
    case 'directory':
      mkdirSync(at, { mode: 0o755 });
      chmodSync(at, entry.mode);
      if (entry.uid !== 0 || entry.gid !== 0) lchownSync(at, entry.uid, entry.gid);
      break;
    case 'link':
      symlinkSync(entry.target, at);
      break;
    case 'file': {
      const fd = openSync(at, 'wx', entry.mode);
      try {
        if (entry.content !== '') {
          writeSync(fd, typeof entry.content === 'string' ? Buffer.from(entry.content) : entry.content);
          fsyncSync(fd);
        }
      } finally {
        closeSync(fd);
      }
    }
  }
}

/** What a process left that was killed while it wrote. */
function removeUnfinished(cache: string): void {
  for (const name of readdirSync(cache)) {
    const pid = name.startsWith(UNFINISHED) ? Number.parseInt(name.slice(UNFINISHED.length), 10) : undefined;
    if (pid !== undefined && pid !== process.pid && !existsSync(`/proc/${pid}`)) {
      rmSync(path.join(cache, name), { recursive: true, force: true });
    }
  }
}
