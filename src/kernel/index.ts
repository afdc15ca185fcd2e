export * from './addon.js';
export * from './fs.js';
export * from './locks.js';
export * from './wire.js';
