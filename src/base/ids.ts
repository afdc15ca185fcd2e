import { randomBytes } from './random.js';

/** A new container, exec or network id: 64 lower-case hexadecimal digits, as Docker's. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** The twelve digits that tables show. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
