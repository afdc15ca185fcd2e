import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import { isErrno } from '../base/index.js';

const BLOCK = 65536;
const NEWLINE = 10;

/** One of a container's log files, held open: what happens to its name (rotation) doesn't matter any more. */
export class LogFile implements Disposable {
  readonly inode: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
  #fd: number;
  #position = 0;
  #rest: Buffer[] = [];

  private constructor(fd: number) {
    this.#fd = fd;
    const stat = fstatSync(fd);
    this.inode = stat.ino;
    this.modified = stat.mtimeMs;
  }

  /** Undefined where there is no such file. */
  static open(file: string): LogFile | undefined {
    try {
      return new LogFile(openSync(file, 'r'));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Lines from here to the current end; one that isn't finished is kept for the next call. */
  *lines(): Generator<string> {
    const block = Buffer.allocUnsafe(BLOCK);
    for (;;) {
      const n = readSync(this.#fd, block, 0, BLOCK, this.#position);
      if (n === 0) return;
      this.#position += n;
      let start = 0;
      for (;;) {
        const end = block.subarray(0, n).indexOf(NEWLINE, start);
        if (end < 0) break;
        const piece = block.toString('utf8', start, end);
        if (this.#rest.length > 0) {
          yield Buffer.concat([...this.#rest.splice(0), block.subarray(start, end)]).toString('utf8');
        } else yield piece;
        start = end + 1;
      }
      if (start < n) this.#rest.push(Buffer.from(block.subarray(start, n)));
    }
  }

  /**
   * Goes to the beginning of the last `count` lines, reading backwards.
   * @returns how many of them are missing here: the file has fewer
   */
  seekTail(count: number): number {
    if (count <= 0) {
      this.#position = fstatSync(this.#fd).size;
      return 0;
    }
    const block = Buffer.allocUnsafe(BLOCK);
    let end = fstatSync(this.#fd).size;
    const size = end;
    let found = 0;
    while (end > 0) {
      const start = Math.max(0, end - BLOCK);
      const n = readSync(this.#fd, block, 0, end - start, start);
      for (let i = n - 1; i >= 0; i--) {
        if (block[i] !== NEWLINE || start + i === size - 1) continue;
        if (++found === count) {
          this.#position = start + i + 1;
          return 0;
        }
      }
      end = start;
    }
    this.#position = 0;
    return size === 0 ? count : count - found - 1;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Numbers of the rotated files `<name>.N` in a directory, oldest (largest) first. */
function rotated(directory: string, name: string): number[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []; // removed meanwhile
    throw error;
  }
  return names
    .filter((n) => n.startsWith(`${name}.`))
    .map((n) => Number(n.slice(name.length + 1)))
    .filter((n) => Number.isInteger(n) && n > 0)
    .sort((a, b) => b - a);
}

/** How often names are read while renames come in between; once more is nearly always enough. */
const ATTEMPTS = 100;

/**
 * Opens `<name>.N … <name>.1, <name>`, oldest first. Where a rotation came in between, which shows in names that have
 * become others' meanwhile, the opening is done again, so that none is missed or had twice.
 */
export function openLogFiles(directory: string, name: string): LogFile[] {
  const list = (): string[] => [...rotated(directory, name).map((n) => `${name}.${n}`), name];
  for (let attempt = 1; ; attempt++) {
    const names = list();
    const files = names.map((n) => LogFile.open(path.join(directory, n)));
    const opened = files.filter((f) => f !== undefined);
    // All are open: their inodes cannot be others' by now. A rotation renames the oldest first, so the oldest is asked last:
    // what still has its name then has seen no rotation begin since it was opened.
    const still =
      list().join() === names.join() &&
      names.reduceRight((same, n, i) => same && inodeOf(path.join(directory, n)) === files[i]?.inode, true);
    if (still || attempt === ATTEMPTS) return opened;
    for (const f of opened) f[Symbol.dispose]();
  }
}

function inodeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.ino;
}

/** Files written after the one with `inode`, oldest first, the caller's to close; empty where it is the newest. */
export function openLaterFiles(directory: string, name: string, inode: number): LogFile[] {
  const newest = inodeOf(path.join(directory, name));
  // Not there: between rename and the new file.
  if (newest === undefined || newest === inode) return [];
  const files = openLogFiles(directory, name);
  const at = files.findIndex((f) => f.inode === inode);
  // Rotated away entirely: all there is comes later.
  for (const f of files.slice(0, at + 1)) f[Symbol.dispose]();
  return files.slice(at + 1);
}
