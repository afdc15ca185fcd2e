import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';
import { TestRoot } from './rootfs.js';

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export const NSBOX = path.join(packageRoot(), 'bin/nsbox');

/** The real command line on a root of its own; what it leaves running is removed with the scope. */
export class CliRig implements AsyncDisposable {
  readonly box: TestRoot;
  readonly env: Record<string, string | undefined>;

  constructor(name: string) {
    this.box = new TestRoot(name);
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
    this.env = { ...env, NSBOX_ROOT: this.box.root, NSBOX_STATE: this.box.state };
  }

  /** Starts nsbox; its streams are pipes unless told. */
  spawn(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn(NSBOX, args, { env: this.env, cwd: this.box.directory, ...options });
  }

  /** Runs nsbox to its end. */
  nsbox(
    args: readonly string[],
    options: { input?: string | Buffer; timeoutMs?: number } = {},
  ): Promise<CliResult> {
    return collect(this.spawn(args), options);
  }

  /** Runs nsbox, which must succeed, and gives its standard output without the last newline. */
  async ok(...args: string[]): Promise<string> {
    const r = await this.nsbox(args);
    if (r.code !== 0) throw new Error(`nsbox ${args.join(' ')}: exit code ${r.code}\n${r.stderr}${r.stdout}`);
    return r.stdout.replace(/\n$/, '');
  }

  /** `run` in the test's own root, without a network. */
  run(flags: readonly string[], ...command: string[]): Promise<CliResult> {
    return this.nsbox(['run', '--network', 'none', ...flags, '--rootfs', this.box.rootfs, ...command]);
  }

  /** `run -d`; gives the id. */
  start(flags: readonly string[], ...command: string[]): Promise<string> {
    return this.ok('run', '-d', '--network', 'none', ...flags, '--rootfs', this.box.rootfs, ...command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ids = (await this.nsbox(['ps', '-aq'])).stdout.split('\n').filter(Boolean);
    if (ids.length > 0) await this.nsbox(['rm', '-f', '-v', ...ids]);
    this.box[Symbol.dispose]();
  }
}

/** Collects a child's output until it has ended. */
export function collect(
  child: ChildProcess,
  options: { input?: string | Buffer; timeoutMs?: number } = {},
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new Error(
          `no end within ${options.timeoutMs ?? 90_000} ms\n${Buffer.concat(out)}${Buffer.concat(err)}`,
        ),
      );
    }, options.timeoutMs ?? 90_000);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({
        code,
        signal,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}
