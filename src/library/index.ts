export { type Image, type ImageLayer, images, type StoreOptions } from './images.js';
export type { RunOptions, SandboxMount, SandboxOptions } from './options.js';
export { type RunResult, run } from './run.js';
export { create, type ExecOptions, type ExitStatus, type Process, type Sandbox } from './sandbox.js';
export type { Figures, Usage } from './usage.js';
