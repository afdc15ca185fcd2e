export { applyEdits, stageEdits } from './apply.js';
export { isQualifiedName } from './cdi/names.js';
export * from './edits.js';
export { diskFiles, type FileStat, type HostFiles } from './host-files.js';
export { imageFiles } from './image-files.js';
export * from './resolve.js';
export { parseDeviceRule } from './rules.js';
