import type { HostFiles } from './host-files.js';

export interface CachedLibrary {
  /** What programs ask for: mostly the soname. */
  name: string;
  path: string;
  bits: 32 | 64;
}

const OLD_MAGIC = 'ld.so-1.7.0';
const MAGIC = 'glibc-ld.so.cache1.1';
const HEADER = 48;
const ENTRY = 24;

/** The high byte of an entry's flags says for which ABI it is; these are the 64-bit ones we can meet. */
const ABI_64 = new Set([
  0x0300, // x86-64
  0x0a00, // aarch64
  0x0500, // ppc64
  0x1000, // riscv64, double float
]);

/**
 * The libraries of a glibc ld.so.cache whose names `wanted` accepts, in the order in which the loader would try them.
 * An unreadable or unknown cache gives none: known directories are searched besides.
 * @see the loader's sysdeps/generic/dl-cache.h for the layout (little-endian: of this machine's own kind)
 */
export function readLdCache(
  files: HostFiles,
  wanted: (name: string) => boolean,
  file = '/etc/ld.so.cache',
): CachedLibrary[] {
  const bytes = files.readBytes(file, 0, 8 * 1024 * 1024);
  if (!bytes) return [];
  const cache = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = startOfNewFormat(cache);
  if (start === undefined || cache.length < start + HEADER) return [];
  const count = cache.readUInt32LE(start + 20);
  if (start + HEADER + count * ENTRY > cache.length) return [];
  const found: CachedLibrary[] = [];
  for (let i = 0; i < count; i++) {
    const at = start + HEADER + i * ENTRY;
    const name = textAt(cache, start + cache.readUInt32LE(at + 4));
    if (!wanted(name)) continue;
    found.push({
      name,
      path: textAt(cache, start + cache.readUInt32LE(at + 8)),
      bits: ABI_64.has(cache.readUInt32LE(at) & 0xff00) ? 64 : 32,
    });
  }
  return found;
}

/** Caches made for old loaders too hold a table in the old format first. */
function startOfNewFormat(cache: Buffer): number | undefined {
  if (cache.subarray(0, MAGIC.length).toString('latin1') === MAGIC) return 0;
  if (cache.length < 16 || cache.subarray(0, OLD_MAGIC.length).toString('latin1') !== OLD_MAGIC)
    return undefined;
  const end = 16 + cache.readUInt32LE(12) * 12;
  const start = Math.ceil(end / 8) * 8;
  return cache.subarray(start, start + MAGIC.length).toString('latin1') === MAGIC ? start : undefined;
}

function textAt(cache: Buffer, at: number): string {
  const end = cache.indexOf(0, at);
  return cache.toString('latin1', at, end < 0 ? cache.length : end);
}
