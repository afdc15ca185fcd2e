export * from './describe.js';
export * from './encode.js';
export * from './exec.js';
export * from './explain.js';
export * from './identity.js';
export * from './input.js';
export * from './plan.js';
export * from './steps.js';
