export { treeDifference } from './compare.js';
export { type ExtractOptions, LayerExtractor, type Unsettled } from './extract.js';
export {
  chainIdOf,
  discardLayer,
  isLanded,
  type LayerJob,
  type LayerRecord,
  landLayers,
  landUnknown,
  layerFs,
  layerRecord,
  makeDurable,
  sweepLayers,
  unpackBeside,
} from './land.js';
export { settleLayer } from './settle.js';
export { type Compression, compressionOf, decompress, PlainMeter } from './stream.js';
