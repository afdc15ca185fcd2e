export * from './lock.js';
export * from './records.js';
