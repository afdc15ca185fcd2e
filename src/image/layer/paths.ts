import { ImageError } from '../../base/index.js';

const SLASH = 0x2f;
const DOT = 0x2e;

/** A path of a layer: below its root, without `.`, `..` and empty parts. `key` has one character a byte. */
export interface LayerPath {
  /** `usr/bin/env`; empty for the root. */
  key: string;
  /** `usr/bin`; empty where the parent is the root. */
  parent: string;
  /** Last part. */
  name: Buffer;
}

/**
 * Makes an archive's name a path below the layer's root. A leading slash counts as the root, as for Docker; a name
 * that climbs out by `..` is refused.
 * @throws ImageError IMAGE_CORRUPT
 */
export function layerPath(raw: Buffer): LayerPath {
  const text = raw.toString('latin1');
  // The common case first: nothing to clean.
  const clean = needsCleaning(raw) ? cleanPath(text) : text;
  const slash = clean.lastIndexOf('/');
  return {
    key: clean,
    parent: slash < 0 ? '' : clean.slice(0, slash),
    name: Buffer.from(slash < 0 ? clean : clean.slice(slash + 1), 'latin1'),
  };
}

function needsCleaning(raw: Buffer): boolean {
  let start = true;
  for (let i = 0; i < raw.length; i++) {
    const c = raw[i]!;
    if (start && (c === SLASH || c === DOT)) {
      // `.bashrc` is fine, but rare enough to take the slow way.
      return true;
    }
    start = c === SLASH;
  }
  return start;
}

function cleanPath(text: string): string {
  const parts: string[] = [];
  for (const part of text.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) {
      throw new ImageError(
        `the layer has an entry that leads out of it: ${JSON.stringify(Buffer.from(text, 'latin1').toString())}`,
        { hint: 'the image is damaged or malicious; nothing of it was kept' },
      );
    }
  }
  return parts.join('/');
}

/** A key for people: the bytes read as UTF-8. */
export function readable(key: string): string {
  return `/${Buffer.from(key, 'latin1').toString('utf8')}`;
}
