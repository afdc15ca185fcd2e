export * from './addon.js';
export * from './bpf.js';
export * from './fs.js';
export * from './launch.js';
export * from './locks.js';
export * from './probe.js';
export * from './seccomp.js';
export * from './wire.js';
