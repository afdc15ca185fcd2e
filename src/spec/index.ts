export type { Healthcheck, ImageConfig, ImageExecution } from './image-config.js';
export { parseJson, stringifyJson } from './json.js';
export * from './parse.js';
export * from './request.js';
export type * from './runtime.js';
export type * from './runtime-linux.js';
