/** Programs of the bench in C, and the helper that times commands (timer.c). */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { packageRoot } from '../src/base/index.js';

export const REPOSITORY = packageRoot();

/** Where scripts/build.mjs puts the bench for installations without the sources. */
const BUNDLE = path.join(REPOSITORY, 'dist/bench');

/** Whether this is that bench: it uses nothing of the sources. */
export const BUNDLED = import.meta.dirname === BUNDLE;

const PROGRAMS = ['timer', 'floor', 'work', 'net', 'true'] as const;

/** Path of a static program of bench/, compiled when it is missing or older than its source. */
export function program(name: (typeof PROGRAMS)[number]): string {
  if (BUNDLED) return path.join(BUNDLE, name);
  const source = path.join(REPOSITORY, 'bench', `${name}.c`);
  const out = path.join(REPOSITORY, 'build/bench', name);
  if (existsSync(out) && statSync(out).mtimeMs > statSync(source).mtimeMs) return out;
  mkdirSync(path.dirname(out), { recursive: true });
  const partial = `${out}.${process.pid}`;
  execFileSync('gcc', ['-O2', '-static', '-pthread', '-s', '-o', partial, source]);
  renameSync(partial, out);
  return out;
}

/** A C file of some size, for whoever measures a compiler. */
export const C_SOURCE = BUNDLED ? path.join(BUNDLE, 'work.c') : path.join(REPOSITORY, 'bench/work.c');

/** The program of `npm run test:gpu`, which talks to the GPU driver's library alone. */
export function cudaCheck(): string {
  if (BUNDLED) return path.join(BUNDLE, 'cuda-check');
  const out = path.join(REPOSITORY, 'build/gpu/cuda-check');
  if (existsSync(out)) return out;
  mkdirSync(path.dirname(out), { recursive: true });
  execFileSync('gcc', ['-O2', '-o', out, path.join(REPOSITORY, 'test/gpu/cuda-check.c'), '-ldl']);
  return out;
}

export interface Timed {
  /** Nanoseconds from before the fork to after the wait. */
  wall: number;
  /** Microseconds of processor time of the command and what it waited for. */
  user: number;
  system: number;
  /** Most memory that the command, or one that it waited for, had: bytes. */
  peak: number;
  status: number;
  /** The last line that it wrote. */
  last: string;
}

/**
 * A helper process that runs commands and times them. One per place to run them in: the host as it is, a view of it
 * with pure cgroup v2, a chroot with newer peers.
 */
export class Timer {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  #ended = false;

  /** @param wrapper - a command that ends by executing what follows it, such as `unshare -m` */
  constructor(wrapper: readonly string[] = [], timer: string = program('timer')) {
    const argv = [...wrapper, timer];
    this.#child = spawn(argv[0] as string, argv.slice(1), { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
    this.#child.on('error', () => {});
    this.#child.stdin?.on('error', () => {});
    this.#lines.on('close', () => {
      this.#ended = true;
      for (const w of this.#waiting.splice(0)) w(undefined);
    });
  }

  /** Runs a command once. A status other than `expected` is an error: it would be the time of something else. */
  async run(argv: readonly string[], expected = 0): Promise<Timed> {
    const bytes = Buffer.from(argv.map((a) => `${a}\0`).join(''));
    const size = Buffer.alloc(4);
    size.writeUInt32LE(bytes.length);
    const line = await new Promise<string | undefined>((resolve) => {
      if (this.#ended) return resolve(undefined);
      this.#waiting.push(resolve);
      this.#child.stdin?.write(Buffer.concat([size, bytes]));
    });
    if (line === undefined) throw new Error(`the timer for ${argv[0]} ended`);
    const [wall = 0, user = 0, system = 0, peak = 0, status = 0] = line.split(' ', 5).map(Number);
    const last = line.split(' ').slice(5).join(' ');
    if (status !== expected) throw new Error(`${argv[0]} ended with exit status ${status}: ${last}`);
    return { wall, user, system, peak: peak * 1024, status, last };
  }

  /** Runs a command and gives the last line that it wrote. */
  async output(argv: readonly string[]): Promise<string> {
    return (await this.run(argv)).last;
  }

  close(): void {
    this.#child.stdin?.end();
    this.#lines.close();
  }
}

/** What a command wrote; rejects with its last words when it fails. */
export function outputs(argv: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const options = { encoding: 'utf8', maxBuffer: 64 << 20 } as const;
    execFile(argv[0] as string, argv.slice(1), options, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr.trim().split('\n')[0] || error.message));
      else resolve({ stdout, stderr });
    });
  });
}

/** Output of a command; rejects with its last words when it fails. */
export async function output(argv: readonly string[]): Promise<string> {
  return (await outputs(argv)).stdout;
}
