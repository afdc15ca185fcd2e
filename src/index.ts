/**
 * nsbox for programs: containers from Node, without a daemon.
 *
 *     import { run } from 'nsbox';
 *     const { stdout } = await run({ image: 'busybox', command: ['uname', '-n'] });
 */
export {
  ConflictError,
  type ErrorCode,
  ImageError,
  InvalidError,
  LaunchError,
  NotFoundError,
  NsboxError,
  UnsupportedError,
} from './base/index.js';
export * from './library/index.js';
