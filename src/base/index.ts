export * from './context.js';
export * from './errors.js';
export * from './ids.js';
export * from './package-root.js';
