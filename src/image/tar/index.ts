export type { SparsePart, TarEntry, TarHandler } from './entry.js';
export { type PackOptions, packTree } from './pack.js';
export { TarReader } from './reader.js';
export { fileHeader, type HeaderInput, tarEnd, tarHeader, tarPadding } from './writer.js';
