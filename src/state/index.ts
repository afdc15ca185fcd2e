export * from './lock.js';
export * from './records.js';
export * from './sweep.js';
