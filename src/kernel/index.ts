export * from './addon.js';
export * from './locks.js';
