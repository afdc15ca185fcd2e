export * from './device-program.js';
export * from './limits.js';
export * from './path.js';
export * from './plan.js';
