export type { ArchiveSource } from './archive.js';
export type { CommitOptions } from './commit.js';
export type { ImportOptions } from './import.js';
export type { HistoryEntry } from './inspect.js';
export type { LoadOptions } from './load.js';
export {
  canonical,
  familiar,
  isDigest,
  parseReference,
  type Reference,
  repositoryOf,
  splitName,
} from './reference.js';
export { withRegistryFlags } from './registry/settings.js';
export type { InUse, Removed } from './remove.js';
export type { ArchiveFormat } from './save.js';
export { ImageStore, openImageStore, type PullOptions } from './store.js';
export {
  type HeaderInput,
  type PackOptions,
  packTree,
  type TarEntry,
  type TarHandler,
  TarReader,
  tarEnd,
  tarHeader,
  tarPadding,
} from './tar/index.js';
export { parsePlace } from './transfer/transport.js';
export type { Descriptor, Image, ImageLayer, Progress } from './types.js';
export { untar } from './untar.js';
export type { Damage } from './verify.js';
