import type { SparsePart, TarEntry, TarHandler } from './entry.js';
import { malformed, readDecimal, readNumber, readTime } from './numbers.js';
import { type PaxRecords, parsePax, paxXattrs } from './pax.js';
import { readOldSparse, SparseMapReader } from './sparse.js';

const BLOCK = 512;
/** What a long name, a PAX header or a sparse map may take: as much as Go's reader admits. */
const META_LIMIT = 1 << 20;
const EMPTY = Buffer.alloc(0);

type State = 'header' | 'meta' | 'oldSparse' | 'sparseMap' | 'data' | 'padding' | 'over';

/**
 * Reads a tar stream (v7, ustar, GNU, PAX, star; sparse files of all four kinds) as it arrives: `write` chunks of any
 * size, then `end`. Everything happens synchronously inside `write`, so memory stays at one chunk and one header.
 *
 * Why not a library: names and xattr values must stay bytes (tar-stream and node-tar decode both as UTF-8, which
 * corrupts `security.capability`), and sparse files must be understood.
 */
export class TarReader {
  readonly #handler: TarHandler;
  #state: State = 'header';
  readonly #block = Buffer.alloc(BLOCK);
  #filled = 0;
  #global: PaxRecords = new Map();
  #local: PaxRecords | undefined;
  #repeated: [string, Buffer][] = [];
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;
  #metaType = '';
  #meta: Buffer = EMPTY;
  #metaFilled = 0;
  #entry: TarEntry | undefined;
  /** Bytes of the archive that belong to the entry and are still to come. */
  #left = 0;
  #padding = 0;
  /** Some of the padding came and some didn't: no writer leaves it so. */
  #cutPadding = false;
  #parts: SparsePart[] = [];
  #part = 0;
  #inPart = 0;
  #map: SparseMapReader | undefined;
  #members = 0;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  /** True once the end-of-archive blocks were read. What follows them is ignored. */
  get over(): boolean {
    return this.#state === 'over';
  }

  /** @throws ImageError IMAGE_CORRUPT, or what the handler throws */
  write(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      switch (this.#state) {
        case 'over':
          return;
        case 'data':
          at += this.#takeData(chunk, at);
          break;
        case 'meta':
          at += this.#takeMeta(chunk, at);
          break;
        case 'padding': {
          const n = Math.min(this.#padding, chunk.length - at);
          this.#padding -= n;
          at += n;
          this.#cutPadding = this.#padding > 0;
          if (this.#padding === 0) this.#state = 'header';
          break;
        }
        default: {
          at += this.#passPlain(chunk, at);
          // Whole blocks: straight from the chunk where one lies in it, else gathered.
          if (this.#filled === 0 && chunk.length - at >= BLOCK) {
            this.#takeBlock(chunk.subarray(at, at + BLOCK));
            at += BLOCK;
            break;
          }
          const n = Math.min(BLOCK - this.#filled, chunk.length - at);
          chunk.copy(this.#block, this.#filled, at, at + n);
          this.#filled += n;
          at += n;
          if (this.#filled === BLOCK) {
            this.#filled = 0;
            this.#takeBlock(this.#block);
          }
        }
      }
    }
  }

  /** Lets the handler take whole members, where no header before them says anything about them. */
  #passPlain(chunk: Buffer, at: number): number {
    if (this.#state !== 'header' || this.#filled > 0 || this.#local || this.#global.size > 0) return 0;
    if (this.#longName || this.#longLink) return 0;
    const n = this.#handler.plain?.(chunk, at) ?? 0;
    if (n > 0) this.#members++;
    return n;
  }

  /**
   * Says that the stream ended. An archive without its closing blocks is accepted where it ends between two members,
   * as other readers do, and where only the padding of the last one is missing: `umoci insert` (0.4) writes such layers.
   * @throws ImageError where it ends within one
   */
  end(): void {
    if (this.#state === 'over') return;
    const between = this.#state === 'header' || (this.#state === 'padding' && !this.#cutPadding);
    if (!between || this.#filled > 0 || this.#local || this.#longName || this.#longLink) {
      throw malformed(this.#members === 0 ? 'this is no tar archive' : 'it ends in the middle of a member');
    }
  }

  /**
   * Leaves out what is left of the current member's data, for a source that can seek.
   * @returns how many bytes (padding counted in) the caller must not write
   */
  fastForward(): number {
    if (this.#state !== 'data') return 0;
    const skipped = this.#left + this.#padding;
    this.#left = 0;
    this.#padding = 0;
    this.#next();
    return skipped;
  }

  #takeBlock(block: Buffer): void {
    if (this.#state === 'oldSparse') {
      const more = readOldSparse(block, 0, 21, 504, this.#parts);
      if (!more) this.#beginData();
    } else if (this.#state === 'sparseMap') {
      this.#left -= BLOCK;
      if (this.#left < 0) throw malformed('a sparse map is longer than its file');
      if (this.#map!.block(block)) {
        this.#parts = this.#map!.parts;
        this.#map = undefined;
        this.#beginData();
      }
    } else {
      this.#header(block);
    }
  }

  #header(block: Buffer): void {
    if (isZero(block)) {
      if (this.#local || this.#longName) throw malformed('it ends in the middle of a member');
      this.#state = 'over';
      return;
    }
    checkSum(block, this.#members === 0);
    this.#members++;
    const type = String.fromCharCode(block[156]!);
    const size = readNumber(block, 124, 12, 'a size');
    if (size < 0) throw malformed('a size is negative');
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K' || type === 'X') {
      if (size > META_LIMIT) throw malformed(`a header of ${size} bytes`);
      this.#metaType = type;
      this.#meta = Buffer.alloc(size);
      this.#metaFilled = 0;
      this.#left = size;
      this.#padding = padding(size);
      this.#state = 'meta';
      if (size === 0) this.#endMeta();
      return;
    }
    this.#member(block, type, size);
  }

  #takeMeta(chunk: Buffer, at: number): number {
    const n = Math.min(this.#left, chunk.length - at);
    chunk.copy(this.#meta, this.#metaFilled, at, at + n);
    this.#metaFilled += n;
    this.#left -= n;
    if (this.#left === 0) this.#endMeta();
    return n;
  }

  #endMeta(): void {
    const body = this.#meta;
    this.#meta = EMPTY;
    switch (this.#metaType) {
      case 'g':
        parsePax(body, this.#global);
        break;
      case 'L':
        this.#longName = untilNul(body);
        break;
      case 'K':
        this.#longLink = untilNul(body);
        break;
      default:
        this.#local ??= new Map();
        parsePax(body, this.#local, this.#repeated);
    }
    this.#state = this.#padding > 0 ? 'padding' : 'header';
  }

  /** A header block that stands for a member, with what the headers before it said. */
  #member(block: Buffer, typeFlag: string, headerSize: number): void {
    const pax = mergePax(this.#global, this.#local);
    const repeated = this.#repeated;
    const text = (key: string) => pax?.get(key)?.toString('utf8') || undefined;
    const bytes = (key: string) => {
      const value = pax?.get(key);
      return value && value.length > 0 ? value : undefined;
    };
    const paxSize = text('size');
    const size = paxSize === undefined ? headerSize : readDecimal(paxSize, 'a size');
    const sparseName = bytes('GNU.sparse.name');
    const path = sparseName ?? bytes('path') ?? this.#longName ?? headerName(block);
    const linkPath = bytes('linkpath') ?? this.#longLink ?? untilNul(block.subarray(157, 257));
    const uid = text('uid');
    const gid = text('gid');
    const mtime = text('mtime');
    this.#local = undefined;
    this.#repeated = [];
    this.#longName = undefined;
    this.#longLink = undefined;

    const type = entryType(typeFlag, path);
    if (path.includes(0) || linkPath.includes(0)) throw malformed('a name holds a NUL byte');
    this.#left = type === undefined || type === 'file' ? size : 0;
    this.#padding = padding(this.#left);
    this.#part = 0;
    this.#inPart = 0;
    if (type === undefined) {
      // A label, a multi-volume mark, a vendor's own kind: nothing to unpack.
      this.#entry = undefined;
      this.#parts = [{ offset: 0, length: size }];
      this.#next();
      return;
    }
    if (path.length === 0) throw malformed('a member has no name');
    const ustar = block.toString('latin1', 257, 262) === 'ustar';
    const device = type === 'char' || type === 'block';
    const entry: TarEntry = {
      type,
      path,
      linkPath,
      mode: readNumber(block, 100, 8, 'a mode') & 0o7777,
      uid: uid === undefined ? readNumber(block, 108, 8, 'a uid') : readDecimal(uid, 'a uid'),
      gid: gid === undefined ? readNumber(block, 116, 8, 'a gid') : readDecimal(gid, 'a gid'),
      size: this.#left,
      mtime: mtime === undefined ? { sec: readNumber(block, 136, 12, 'a time'), nsec: 0 } : readTime(mtime),
      devMajor: device && ustar ? readNumber(block, 329, 8, 'a device number') : 0,
      devMinor: device && ustar ? readNumber(block, 337, 8, 'a device number') : 0,
      xattrs: pax ? paxXattrs(pax) : undefined,
      sparse: undefined,
    };
    this.#entry = entry;
    this.#parts = [{ offset: 0, length: this.#left }];
    if (type === 'file' && typeFlag === 'S') {
      this.#parts = [];
      entry.sparse = this.#parts;
      entry.size = readNumber(block, 483, 12, 'a size');
      if (readOldSparse(block, 386, 4, 482, this.#parts)) {
        this.#state = 'oldSparse';
        return;
      }
    } else if (type === 'file' && pax && this.#paxSparse(entry, text, repeated)) {
      return;
    }
    this.#beginData();
  }

  /** GNU's sparse formats 0.0, 0.1 and 1.0 in PAX records. True when the map itself is still to be read. */
  #paxSparse(
    entry: TarEntry,
    text: (key: string) => string | undefined,
    repeated: [string, Buffer][],
  ): boolean {
    const major = text('GNU.sparse.major');
    const realSize = text('GNU.sparse.realsize') ?? text('GNU.sparse.size');
    if (realSize === undefined) return false;
    entry.size = readDecimal(realSize, 'a size');
    if (major === '1') {
      this.#map = new SparseMapReader();
      this.#parts = this.#map.parts;
      entry.sparse = this.#parts;
      this.#state = 'sparseMap';
      return true;
    }
    const numbers =
      text('GNU.sparse.map')?.split(',') ?? repeated.map(([, value]) => value.toString('latin1'));
    if (numbers.length % 2 !== 0) throw malformed('a sparse map has an odd number of entries');
    this.#parts = [];
    for (let i = 0; i < numbers.length; i += 2) {
      const offset = readDecimal(numbers[i]!, 'a sparse offset');
      this.#parts.push({ offset, length: readDecimal(numbers[i + 1]!, 'a sparse length') });
    }
    entry.sparse = this.#parts;
    return false;
  }

  #beginData(): void {
    const entry = this.#entry!;
    if (entry.sparse) checkSparse(entry.sparse, this.#left, entry.size);
    this.#handler.entry(entry);
    this.#next();
  }

  #next(): void {
    if (this.#left > 0) {
      this.#state = 'data';
      return;
    }
    if (this.#entry) this.#handler.end();
    this.#entry = undefined;
    this.#state = this.#padding > 0 ? 'padding' : 'header';
  }

  #takeData(chunk: Buffer, start: number): number {
    const n = Math.min(this.#left, chunk.length - start);
    if (this.#entry) {
      for (let at = start; at < start + n; ) {
        const part = this.#parts[this.#part]!;
        const m = Math.min(part.length - this.#inPart, start + n - at);
        if (m > 0) this.#handler.data(chunk.subarray(at, at + m), part.offset + this.#inPart);
        at += m;
        this.#inPart += m;
        if (this.#inPart === part.length) {
          this.#part++;
          this.#inPart = 0;
        }
      }
    }
    this.#left -= n;
    if (this.#left === 0) this.#next();
    return n;
  }
}

function mergePax(global: PaxRecords, local: PaxRecords | undefined): PaxRecords | undefined {
  if (global.size === 0) return local;
  return new Map([...global, ...(local ?? [])]);
}

function entryType(flag: string, path: Buffer): TarEntry['type'] | undefined {
  switch (flag) {
    case '0':
    case '\0':
      // v7 has no type for directories but a slash at the end.
      return path[path.length - 1] === 0x2f ? 'directory' : 'file';
    case '7':
    case 'S':
      return 'file';
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '3':
      return 'char';
    case '4':
      return 'block';
    case '5':
    case 'D':
      return 'directory';
    case '6':
      return 'fifo';
    case 'M':
      throw malformed('it is one volume of several');
    default:
      return undefined;
  }
}

function headerName(block: Buffer): Buffer {
  const name = untilNul(block.subarray(0, 100));
  // GNU's old format keeps other things where ustar has the prefix ("ustar  " against "ustar\0").
  if (block.toString('latin1', 257, 263) !== 'ustar\0') return name;
  const star = block.toString('latin1', 508, 512) === 'tar\0';
  const prefix = untilNul(block.subarray(345, star ? 476 : 500));
  return prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name;
}

/** A copy: the block it lies in is reused. */
function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end));
}

function padding(size: number): number {
  const over = size % BLOCK;
  return over === 0 ? 0 : BLOCK - over;
}

function isZero(block: Buffer): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

function checkSum(block: Buffer, first: boolean): void {
  const expected = readChecksum(block);
  let unsigned = 8 * 0x20;
  let signed = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i]!;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  if (expected === unsigned || expected === signed) return;
  throw malformed(first ? 'this is no tar archive' : 'a header does not match its checksum');
}

function readChecksum(block: Buffer): number {
  try {
    return readNumber(block, 148, 8, 'a checksum');
  } catch {
    return -1;
  }
}

function checkSparse(parts: SparsePart[], stored: number, size: number): void {
  let total = 0;
  let end = 0;
  for (const part of parts) {
    if (part.offset < end) throw malformed('a sparse map is out of order');
    end = part.offset + part.length;
    total += part.length;
  }
  if (end > size || total !== stored) throw malformed("a sparse map doesn't fit its file");
}
