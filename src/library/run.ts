import type { Readable } from 'node:stream';
import { InvalidError, NsboxError } from '../base/index.js';
import type { RunOptions } from './options.js';
import { create, type ExitStatus, type Sandbox } from './sandbox.js';

/** What `run` gives. A program's failure is no error: look at `exitCode` and `signal`. */
export interface RunResult extends ExitStatus {
  stdout: string;
  stderr: string;
}

const DEFAULT_MAX_BUFFER = 64 * 1024 * 1024;

/**
 * Runs a program in a sandbox to its end.
 *
 *     const { exitCode, stdout } = await run({ image: 'busybox', command: ['echo', 'hello'] });
 *
 * @throws NsboxError TIMEOUT, ABORTED, and those of `create`
 */
export async function run(options: RunOptions): Promise<RunResult> {
  const { stdin, timeout, signal, maxBuffer = DEFAULT_MAX_BUFFER } = options;
  if (signal?.aborted) throw aborted(signal);
  const sandbox = await create(options);
  let failure: NsboxError | undefined;
  const end = (error: NsboxError) => {
    failure ??= error;
    sandbox.kill('SIGKILL');
  };
  const onAbort = () => end(aborted(signal!));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(
          () =>
            end(new NsboxError('TIMEOUT', `the program was killed after ${timeout} ms`, { exitCode: 124 })),
          timeout,
        );
  const tooMuch = (name: string) => () =>
    end(
      new NsboxError(
        'INVALID_ARGUMENT',
        `the program wrote more than ${maxBuffer} bytes to ${name} (maxBuffer)`,
      ),
    );
  try {
    feed(sandbox, stdin);
    const [status, stdout, stderr] = await Promise.all([
      sandbox.wait(),
      collect(sandbox.stdout, maxBuffer, tooMuch('stdout')),
      collect(sandbox.stderr, maxBuffer, tooMuch('stderr')),
    ]);
    if (failure) throw failure;
    return { ...status, stdout, stderr };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    sandbox.stdin.destroy();
  }
}

function aborted(signal: AbortSignal): NsboxError {
  return new NsboxError('ABORTED', 'the run was aborted', { cause: signal.reason });
}

function feed(sandbox: Sandbox, stdin: RunOptions['stdin']): void {
  if (stdin === undefined) sandbox.stdin.end();
  else if (typeof stdin === 'string' || stdin instanceof Uint8Array) sandbox.stdin.end(stdin);
  else if (typeof (stdin as Readable).pipe === 'function') stdin.pipe(sandbox.stdin);
  else throw new InvalidError('option stdin: expected a string, bytes or a readable stream');
}

function collect(stream: Readable, limit: number, onLimit: () => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) onLimit();
      else chunks.push(chunk);
    });
    stream.on('error', reject);
    stream.on('close', () => resolve(Buffer.concat(chunks).toString()));
  });
}
