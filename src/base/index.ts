export * from './context.js';
export * from './errors.js';
export * from './filters.js';
export * from './ids.js';
export * from './package-root.js';
export * from './signals.js';
