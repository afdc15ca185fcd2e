/**
 * Every failure of nsbox is an NsboxError, whole from the kernel call up to the terminal:
 * `{ code, step, syscall, errno, path, hint, cause }`.
 */

/** Stable machine-readable codes. Callers may compare with these; texts may change. */
export type ErrorCode =
  | 'INVALID_ARGUMENT' // a flag, option or field is wrong
  | 'INVALID_SPEC' // a config.json or image config is wrong
  | 'NOT_FOUND' // no such container, image, network, volume
  | 'CONFLICT' // name in use, wrong state, in use by others
  | 'UNSUPPORTED' // this host, kernel or version can't
  | 'PERMISSION' // needs rights we lack
  | 'LAUNCH_FAILED' // a step of a plan failed in the kernel
  | 'COMMAND_NOT_FOUND' // the program isn't in the container (exit code 127)
  | 'COMMAND_NOT_EXECUTABLE' // it is there and can't be run (exit code 126)
  | 'IMAGE_CORRUPT' // digest mismatch, malformed archive, path escape
  | 'REGISTRY' // a registry answered with an error
  | 'NETWORK' // wiring, addresses, ports
  | 'NO_SPACE' // disk full
  | 'TIMEOUT'
  | 'ABORTED'
  | 'SYSCALL' // any other refused system call
  | 'INTERNAL'; // a bug of ours

export interface ErrorDetails {
  /** The plan step that failed, as `--explain` names it. */
  step?: string | undefined;
  syscall?: string | undefined;
  /** Name of the errno, such as `EPERM`. */
  errno?: string | undefined;
  path?: string | undefined;
  /** What the person can do about it: one sentence. */
  hint?: string | undefined;
  cause?: unknown;
  /** Exit code of the command line for this failure; 125 unless told. */
  exitCode?: number | undefined;
}

/** Characters of a message: what an archive or registry says may be of any length. */
const MESSAGE_LIMIT = 1000;

export class NsboxError extends Error {
  override readonly name: string = 'NsboxError';
  readonly code: ErrorCode;
  readonly step: string | undefined;
  readonly syscall: string | undefined;
  readonly errno: string | undefined;
  readonly path: string | undefined;
  readonly hint: string | undefined;
  readonly exitCode: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const short = message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT)}…` : message;
    super(short, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.step = details.step;
    this.syscall = details.syscall;
    this.errno = details.errno;
    this.path = details.path;
    this.hint = details.hint;
    this.exitCode = details.exitCode ?? defaultExitCode(code);
  }
}

/** A flag, option, request or spec that can't be accepted. */
export class InvalidError extends NsboxError {
  override readonly name = 'InvalidError';
  constructor(message: string, details: ErrorDetails & { code?: 'INVALID_ARGUMENT' | 'INVALID_SPEC' } = {}) {
    super(details.code ?? 'INVALID_ARGUMENT', message, details);
  }
}

/** The thing named doesn't exist. The message follows Docker's: `No such container: x`. */
export class NotFoundError extends NsboxError {
  override readonly name = 'NotFoundError';
  readonly kind: string;
  constructor(
    kind: 'container' | 'image' | 'network' | 'volume' | 'exec' | 'path',
    id: string,
    details: ErrorDetails = {},
  ) {
    super(
      'NOT_FOUND',
      kind === 'path' ? `no such file or directory: ${id}` : `No such ${kind}: ${id}`,
      details,
    );
    this.kind = kind;
  }
}

/** Refused because of the state something is in: a name in use, a container that runs. */
export class ConflictError extends NsboxError {
  override readonly name = 'ConflictError';
  constructor(message: string, details: ErrorDetails = {}) {
    super('CONFLICT', message, details);
  }
}

/** This host or this version of nsbox can't do what was asked. */
export class UnsupportedError extends NsboxError {
  override readonly name = 'UnsupportedError';
  constructor(message: string, details: ErrorDetails = {}) {
    super('UNSUPPORTED', message, details);
  }
}

/** A step of a launch was refused by the kernel, or the program could not be executed. */
export class LaunchError extends NsboxError {
  override readonly name = 'LaunchError';
  constructor(
    code: 'LAUNCH_FAILED' | 'COMMAND_NOT_FOUND' | 'COMMAND_NOT_EXECUTABLE',
    message: string,
    details: ErrorDetails = {},
  ) {
    super(code, message, details);
  }
}

/** An image, layer or archive is malformed, or doesn't match its digest. */
export class ImageError extends NsboxError {
  override readonly name = 'ImageError';
  constructor(
    message: string,
    details: ErrorDetails & { code?: 'IMAGE_CORRUPT' | 'REGISTRY' | 'NO_SPACE' } = {},
  ) {
    super(details.code ?? 'IMAGE_CORRUPT', message, details);
  }
}

function defaultExitCode(code: ErrorCode): number {
  switch (code) {
    case 'COMMAND_NOT_FOUND':
      return 127;
    case 'COMMAND_NOT_EXECUTABLE':
      return 126;
    default:
      return 125;
  }
}

/** The shape of what the addon throws: a plain Error with these fields. */
export interface NativeErrorShape {
  code: string; // errno name
  syscall: string;
  path?: string;
}

/**
 * Turns an error thrown by the addon or by node:fs into an NsboxError.
 * @param what what was attempted, as "create the cgroup /x": the message reads `cannot ${what}: …`
 */
export function fromErrno(what: string, error: unknown, details: ErrorDetails = {}): NsboxError {
  if (error instanceof NsboxError) return error;
  const e = error as Partial<NativeErrorShape> & { message?: string };
  const errno = typeof e.code === 'string' && /^E[A-Z0-9]+$/.test(e.code) ? e.code : undefined;
  const code: ErrorCode =
    errno === 'ENOSPC' || errno === 'EDQUOT'
      ? 'NO_SPACE'
      : errno === 'EPERM' || errno === 'EACCES'
        ? 'PERMISSION'
        : 'SYSCALL';
  const reason = errno ? errnoText(errno) : (e.message ?? String(error));
  return new NsboxError(code, `cannot ${what}: ${reason}`, {
    syscall: e.syscall,
    errno,
    path: e.path,
    cause: error,
    ...details,
  });
}

/** The text of an errno as strerror(3) prints it, in lower case. */
export function errnoText(errno: string): string {
  return ERRNO_TEXT[errno] ?? errno;
}

/** True when the error (ours, node's or the addon's) carries one of these errnos. */
export function isErrno(error: unknown, ...errnos: string[]): boolean {
  const e = error as { errno?: unknown; code?: unknown } | undefined;
  return (
    (typeof e?.errno === 'string' && errnos.includes(e.errno)) ||
    (typeof e?.code === 'string' && errnos.includes(e.code))
  );
}

const ERRNO_TEXT: Record<string, string> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ESRCH: 'no such process',
  EINTR: 'interrupted system call',
  EIO: 'input/output error',
  ENXIO: 'no such device or address',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EBADF: 'bad file descriptor',
  ECHILD: 'no child processes',
  EAGAIN: 'resource temporarily unavailable',
  ENOMEM: 'cannot allocate memory',
  EACCES: 'permission denied',
  EFAULT: 'bad address',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'invalid cross-device link',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  ENFILE: 'too many open files in system',
  EMFILE: 'too many open files',
  ENOTTY: 'inappropriate ioctl for device',
  ETXTBSY: 'text file busy',
  EFBIG: 'file too large',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EMLINK: 'too many links',
  EPIPE: 'broken pipe',
  ERANGE: 'numerical result out of range',
  ENAMETOOLONG: 'file name too long',
  ENOSYS: 'function not implemented',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  ENODATA: 'no data available',
  EOVERFLOW: 'value too large for defined data type',
  EUSERS: 'too many users',
  EOPNOTSUPP: 'operation not supported',
  ENOTSUP: 'operation not supported',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  ENETUNREACH: 'network is unreachable',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'no route to host',
  ESTALE: 'stale file handle',
  EDQUOT: 'disk quota exceeded',
};
