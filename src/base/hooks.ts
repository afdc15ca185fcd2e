import { LaunchError } from './errors.js';

/** A hook as the standard has it; the timeout is in seconds. */
interface Hook {
  path: string;
  args?: string[] | undefined;
  env?: string[] | undefined;
  timeout?: number | undefined;
}

/**
 * Runs hooks in the runtime's namespaces, one after the other, with the container's state on their stdin.
 * @param kind as the standard calls them, for messages
 * @throws LaunchError at the first that fails: not executable, an exit code other than 0, or longer than its timeout
 * @see https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#posix-platform-hooks
 */
export async function runHooks(
  kind: string,
  hooks: readonly Hook[] | undefined,
  state: object,
): Promise<void> {
  for (const [i, hook] of (hooks ?? []).entries()) await runHook(`${kind} hook #${i}`, hook, state);
}

/** @throws LaunchError */
async function runHook(name: string, hook: Hook, state: object): Promise<void> {
  const { spawn } = await import('node:child_process');
  // args[0] is what the program sees as its name.
  const [argv0, ...args] = hook.args?.length ? hook.args : [hook.path];
  const env: Record<string, string> = {};
  for (const entry of hook.env ?? []) {
    const at = entry.indexOf('=');
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  await new Promise<void>((resolve, reject) => {
    const failed = (why: string, cause?: unknown) =>
      reject(
        new LaunchError('LAUNCH_FAILED', `error running ${name} (${hook.path}): ${why}`, {
          path: hook.path,
          step: name,
          cause,
        }),
      );
    const child = spawn(hook.path, args, {
      ...(argv0 === undefined ? {} : { argv0 }),
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      if (output.length < 4096) output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    // A hook need not read its stdin.
    child.stdin.on('error', () => {});
    child.stdin.end(JSON.stringify(state));
    let late = false;
    const timer =
      hook.timeout === undefined
        ? undefined
        : setTimeout(() => {
            late = true;
            child.kill('SIGKILL');
            // What it started may hold the pipes open.
            child.stdout.destroy();
            child.stderr.destroy();
          }, hook.timeout * 1000);
    child.on('error', (error) => {
      clearTimeout(timer);
      failed(
        (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file or directory' : error.message,
        error,
      );
    });
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      if (late) failed(`still running after ${hook.timeout} s`);
      else if (code === 0) resolve();
      else {
        const said = output.trim() === '' ? '' : `, output: ${output.trim()}`;
        failed(signal ? `killed by ${signal}${said}` : `exit status ${code}${said}`);
      }
      child.stdout.destroy();
      child.stderr.destroy();
    });
  });
}
