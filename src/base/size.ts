import { InvalidError } from './errors.js';

const BINARY = 'kmgtp';

/**
 * Parses a size, units of 1024: `512`, `64m`, `64MB`, `1.5GiB`, `0`, `-1`.
 * @returns bytes, rounded down
 * @throws InvalidError
 */
export function parseBytes(text: string): number {
  const match = /^(-?\d+(?:\.\d+)?)\s?(?:([kmgtp])i?b?|b)?$/i.exec(text);
  if (!match) throw new InvalidError(`invalid size: '${text}' (expected a number and b, k, m or g)`);
  const power = match[2] ? BINARY.indexOf(match[2].toLowerCase()) + 1 : 0;
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  if (!Number.isSafeInteger(bytes)) throw new InvalidError(`invalid size: '${text}' (too large)`);
  if (bytes < -1) throw new InvalidError(`invalid size: '${text}' (must not be negative)`);
  return bytes;
}
