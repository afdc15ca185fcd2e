export * from './capabilities.js';
export * from './cgroups.js';
export * from './collect.js';
export type * from './facts.js';
export * from './features.js';
export * from './filesystem.js';
export * from './ids.js';
export * from './mountinfo.js';
