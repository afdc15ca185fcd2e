import { closeSync, constants, readSync } from 'node:fs';
import {
  AT_FDCWD,
  type FileStat,
  lgetxattrat,
  llistxattrat,
  lstatat,
  openat2,
  RESOLVE_NO_SYMLINKS,
  readdirFd,
  readlinkat,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../kernel/index.js';
import { readable } from './paths.js';

const PIECE = 1 << 20;
const READ_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Compares a tree with what it should be: names, types, modes, owners, sizes, times, extended attributes, hard links and
 * content.
 * @param right the tree as it should be
 * @param found the tree to judge
 * @returns the first difference in words, a file before the directory that it is in; undefined where there is none
 */
export async function treeDifference(right: string, found: string): Promise<string | undefined> {
  return withBoth(
    () => openat2(AT_FDCWD, right, READ_DIRECTORY),
    () => openat2(AT_FDCWD, found, READ_DIRECTORY),
    (a, b) => new Comparison().directories(a, b, ''),
  );
}

/** Opens one on either side, and closes both however the use of them ends. */
async function withBoth<T>(
  openRight: () => number,
  openFound: () => number,
  use: (right: number, found: number) => T | Promise<T>,
): Promise<T> {
  const right = openRight();
  try {
    const found = openFound();
    try {
      return await use(right, found);
    } finally {
      closeSync(found);
    }
  } finally {
    closeSync(right);
  }
}

class Comparison {
  /** First names of files that have several, by inode, on either side. */
  readonly #right = new Map<number, string>();
  readonly #found = new Map<number, string>();
  readonly #pieces = [Buffer.allocUnsafe(PIECE), Buffer.allocUnsafe(PIECE)] as const;

  /** @param key path of both below their roots, one character a byte */
  async directories(a: number, b: number, key: string): Promise<string | undefined> {
    const rest = new Set(readdirFd(b).map((e) => e.name.toString('latin1')));
    for (const { name } of readdirFd(a).sort((x, y) => Buffer.compare(x.name, y.name))) {
      const text = name.toString('latin1');
      rest.delete(text);
      const difference = await this.#entries(a, b, name, key === '' ? text : `${key}/${text}`);
      if (difference !== undefined) return difference;
    }
    for (const text of rest) return `${readable(key === '' ? text : `${key}/${text}`)} is not in its archive`;
    // Other work of this process goes on.
    await new Promise((resolve) => setImmediate(resolve));
    return attributes(a, b, Buffer.from('.'), readable(key), lstatat(a, '.')!, lstatat(b, '.')!);
  }

  async #entries(a: number, b: number, name: Buffer, key: string): Promise<string | undefined> {
    const right = lstatat(a, name)!;
    const found = lstatat(b, name);
    const shown = readable(key);
    if (!found) return `${shown} is missing`;
    const type = right.mode & S_IFMT;
    if ((found.mode & S_IFMT) !== type) return `${shown} is of another type than in its archive`;
    if (type === S_IFDIR) {
      const open = (dir: number) => openat2(dir, name, READ_DIRECTORY);
      return withBoth(
        () => open(a),
        () => open(b),
        (x, y) => this.directories(x, y, key),
      );
    }
    if (!this.#linkedAlike(right, found, key)) return `${shown} is not the hard link that its archive has`;
    if (type === S_IFREG) {
      if (found.size !== right.size) return `${shown} has ${found.size} bytes, not ${right.size}`;
      const open = (dir: number) =>
        openat2(dir, name, constants.O_RDONLY | constants.O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
      const same = await withBoth(
        () => open(a),
        () => open(b),
        (x, y) => this.#sameContent(x, y, right.size),
      );
      if (!same) return `${shown} differs from its archive`;
    } else if (type === S_IFLNK) {
      if (!readlinkat(a, name).equals(readlinkat(b, name)))
        return `${shown} leads elsewhere than in its archive`;
    } else if (right.rdevMajor !== found.rdevMajor || right.rdevMinor !== found.rdevMinor) {
      return `${shown} is another device than in its archive`;
    } else if (type === S_IFCHR && right.rdevMajor === 0 && right.rdevMinor === 0) {
      return undefined; // a whiteout has nothing else
    }
    return attributes(a, b, name, shown, right, found);
  }

  #linkedAlike(right: FileStat, found: FileStat, key: string): boolean {
    if (right.nlink !== found.nlink) return false;
    if (right.nlink === 1) return true;
    const [x, y] = [this.#right.get(right.ino), this.#found.get(found.ino)];
    if (x === undefined) this.#right.set(right.ino, key);
    if (y === undefined) this.#found.set(found.ino, key);
    return x === y;
  }

  #sameContent(right: number, found: number, size: number): boolean {
    const [p, q] = this.#pieces;
    for (let at = 0; at < size; ) {
      const n = readSync(right, p, 0, PIECE, at);
      if (n === 0) return false;
      for (let got = 0; got < n; ) {
        const more = readSync(found, q, got, n - got, at + got);
        if (more === 0) return false;
        got += more;
      }
      if (p.compare(q, 0, n, 0, n) !== 0) return false;
      at += n;
    }
    return true;
  }
}

/** Owner, mode, extended attributes and time of modification. */
function attributes(
  a: number,
  b: number,
  name: Buffer,
  shown: string,
  right: FileStat,
  found: FileStat,
): string | undefined {
  const mode = (stat: FileStat) => (stat.mode & 0o7777).toString(8);
  if (mode(right) !== mode(found)) return `${shown} has mode ${mode(found)}, not ${mode(right)}`;
  if (right.uid !== found.uid || right.gid !== found.gid)
    return `${shown} belongs to ${found.uid}:${found.gid}, not ${right.uid}:${right.gid}`;
  const names = (dir: number) =>
    llistxattrat(dir, name)
      .map((n) => n.toString('latin1'))
      .sort();
  const [x, y] = [names(a), names(b)];
  const other = [...x, ...y].find((n) => !x.includes(n) || !y.includes(n));
  const changed =
    other ??
    x.find((n) => {
      const key = Buffer.from(n, 'latin1');
      return !lgetxattrat(a, name, key)?.equals(lgetxattrat(b, name, key) ?? Buffer.alloc(0));
    });
  if (changed !== undefined) return `${shown} has another ${changed} than in its archive`;
  if (right.mtime.sec !== found.mtime.sec || right.mtime.nsec !== found.mtime.nsec)
    return `${shown} was changed at another time than its archive says`;
  return undefined;
}
