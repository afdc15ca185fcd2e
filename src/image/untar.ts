import { LayerExtractor } from './layer/extract.js';
import { decompress } from './layer/index.js';
import { TarReader } from './tar/index.js';

/**
 * Unpacks a tar stream (plain, gzip or zstd) into an open directory, with ids, modes, times and attributes as in the
 * archive. `.wh.` names are just names; nothing in the archive can reach what lies outside of the directory.
 * @throws ImageError for a damaged archive, or the error of the call that failed
 */
export async function untar(source: AsyncIterable<Buffer>, rootFd: number): Promise<void> {
  using extractor = new LayerExtractor(rootFd, { whiteouts: false });
  const reader = new TarReader(extractor);
  await decompress(source, (piece) => reader.write(piece));
  reader.end();
  extractor.finish();
}
