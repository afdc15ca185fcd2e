import { ImageError } from '../../base/index.js';

/**
 * A numeric header field: octal text, or base-256 where the first bit is set (GNU's extension for large and negative
 * numbers).
 */
export function readNumber(block: Buffer, at: number, length: number, what: string): number {
  if (block[at]! & 0x80) return readBase256(block, at, length, what);
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  for (; i < end; i++) {
    const c = block[i]!;
    if (c === 0x20 || c === 0) break;
    if (c < 0x30 || c > 0x37) throw malformed(`${what} is not an octal number`);
    value = value * 8 + (c - 0x30);
  }
  return value;
}

function readBase256(block: Buffer, at: number, length: number, what: string): number {
  const negative = (block[at]! & 0x40) !== 0;
  let value = BigInt(block[at]! & 0x7f);
  for (let i = at + 1; i < at + length; i++) value = (value << 8n) | BigInt(block[i]!);
  if (negative) value -= 1n << BigInt(length * 8 - 1);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed(`${what} is out of range`);
  return number;
}

/** A decimal number of a PAX record that is a size, an offset or an id. */
export function readDecimal(text: string, what: string): number {
  if (!/^\d{1,16}$/.test(text))
    throw malformed(`${what} is not a number: ${JSON.stringify(text.slice(0, 40))}`);
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw malformed(`${what} is out of range`);
  return value;
}

/** A PAX time: seconds, maybe negative, with any number of decimals, of which nine are kept (rounded down). */
export function readTime(text: string): { sec: number; nsec: number } {
  const m = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!m) throw malformed(`a time is not a number: ${JSON.stringify(text.slice(0, 40))}`);
  let sec = Number(m[2]);
  let nsec = Number((m[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (m[1]) {
    sec = -sec;
    if (nsec > 0) {
      sec -= 1;
      nsec = 1_000_000_000 - nsec;
    }
  }
  return { sec, nsec };
}

export function malformed(why: string): ImageError {
  return new ImageError(`malformed tar archive: ${why}`);
}
