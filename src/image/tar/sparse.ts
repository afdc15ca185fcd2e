import type { SparsePart } from './entry.js';
import { malformed, readDecimal, readNumber } from './numbers.js';

/** How many parts a sparse file may have: what a map of 1 MiB can hold. */
const PARTS_LIMIT = 1 << 16;

/**
 * Reads the sparse entries of an old GNU header (four in the header itself, 21 in each block after it).
 * @param flagAt where the byte lies that says whether another block of entries follows
 * @returns whether one does
 */
export function readOldSparse(
  block: Buffer,
  start: number,
  count: number,
  flagAt: number,
  into: SparsePart[],
): boolean {
  for (let i = 0; i < count; i++) {
    const at = start + i * 24;
    if (block[at] === 0) break;
    const offset = readNumber(block, at, 12, 'a sparse offset');
    const length = readNumber(block, at + 12, 12, 'a sparse length');
    if (offset < 0 || length < 0) throw malformed('a sparse map has negative numbers');
    into.push({ offset, length });
  }
  if (into.length > PARTS_LIMIT) throw malformed('a sparse map has too many parts');
  return block[flagAt] !== 0;
}

/**
 * Reads the map of GNU's sparse format 1.0, which leads the data: decimal numbers, one a line, the first of them the
 * number of parts; padded to whole blocks.
 */
export class SparseMapReader {
  readonly parts: SparsePart[] = [];
  #text = '';
  #numbers: number[] = [];
  #expected = -1;

  /** Takes the next block; true when the map is complete with it. */
  block(block: Buffer): boolean {
    this.#text += block.toString('latin1');
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const number = readDecimal(this.#text.slice(0, end), 'a sparse map');
      this.#text = this.#text.slice(end + 1);
      if (this.#expected < 0) {
        if (number > PARTS_LIMIT) throw malformed('a sparse map has too many parts');
        this.#expected = number * 2;
      } else {
        this.#numbers.push(number);
      }
      if (this.#numbers.length === this.#expected) return this.#finish();
    }
    if (this.#text.length > BLOCK_TEXT) throw malformed('a sparse map is not made of numbers');
    return false;
  }

  #finish(): true {
    for (let i = 0; i < this.#numbers.length; i += 2) {
      this.parts.push({ offset: this.#numbers[i]!, length: this.#numbers[i + 1]! });
    }
    return true;
  }
}

const BLOCK_TEXT = 1024;
