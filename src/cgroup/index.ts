export * from './device-program.js';
export * from './launch.js';
export * from './limits.js';
export * from './path.js';
export * from './plan.js';
export * from './stats.js';
export * from './tree.js';
export * from './update.js';
