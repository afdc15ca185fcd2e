/** One run of the bench as a file: result.json. docs/performance.md describes it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { RowResult } from './harness.js';

export interface BenchResult {
  /** Version of this format. */
  schema: 1;
  /** ISO 8601, UTC. */
  started: string;
  seconds: number;
  quick: boolean;
  machine: Machine;
  /** What was measured in which order, and how long it took, its making ready included. */
  suites: { name: string; seconds: number; failed?: string }[];
  rows: RowResult[];
  /** The steps of one start, from `nsbox run --trace`. */
  trace?: Trace;
  skipped: { name: string; why: string }[];
}

export interface Trace {
  /** Which program was started how. */
  command: string;
  /** Nanoseconds since the first step began. `list` is the process of the launch that carried the step out. */
  steps: { list: string; title: string; start: number; end: number }[];
}

export interface Machine {
  kernel: string;
  processor: string;
  processors: number;
  /** Bytes. */
  memory: number;
  distribution: string;
  node: string;
  /** Commit of the nsbox that was measured; `+` where the checkout had changes. */
  nsbox: string;
  cgroups: 'v2' | 'hybrid' | 'v1';
  filesystem: string;
  /** What the kernel does against flaws of the processor: it sets the price of a system call. */
  mitigations: Record<string, string>;
  /** Load average of the last minute at the start: figures of a busy machine are no figures. */
  load: number;
  peers: Record<string, string>;
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function said(...argv: string[]): string {
  try {
    return execFileSync(argv[0] as string, argv.slice(1), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}

/** The version of an installed package, which has no commit. */
function release(repository: string): string {
  const file = text(path.join(repository, 'package.json'));
  return file ? (JSON.parse(file) as { version: string }).version : 'unknown';
}

/** Describes this machine. `directory` is where the measured files lie. */
export function machine(directory: string, repository: string, peers: Record<string, string>): Machine {
  const commit = said('git', '-C', repository, 'rev-parse', '--short', 'HEAD');
  const flaws = '/sys/devices/system/cpu/vulnerabilities';
  const names = existsSync(flaws) ? said('ls', flaws).split('\n').filter(Boolean) : [];
  const changed = said('git', '-C', repository, 'status', '--porcelain', '--untracked-files=no') !== '';
  return {
    kernel: os.release(),
    processor: /^model name\s*:\s*(.*)$/m.exec(text('/proc/cpuinfo'))?.[1] ?? os.arch(),
    processors: os.availableParallelism(),
    memory: os.totalmem(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(text('/etc/os-release'))?.[1] ?? 'unknown',
    node: process.version,
    nsbox: commit ? commit + (changed ? '+' : '') : release(repository),
    cgroups: existsSync('/sys/fs/cgroup/cgroup.controllers')
      ? 'v2'
      : existsSync('/sys/fs/cgroup/unified')
        ? 'hybrid'
        : 'v1',
    filesystem: said('stat', '--file-system', '--format=%T', directory),
    mitigations: Object.fromEntries(names.map((n) => [n, text(`${flaws}/${n}`).trim()])),
    load: os.loadavg()[0] ?? 0,
    peers,
  };
}

/** Reads a result.json; an error names the file and what is wrong with it. */
export function readResult(file: string): BenchResult {
  let value: BenchResult;
  try {
    value = JSON.parse(readFileSync(file, 'utf8')) as BenchResult;
  } catch (error) {
    throw new Error(`can't read ${file}: ${(error as Error).message}`);
  }
  if (value.schema !== 1)
    throw new Error(`${file} is no bench result of format 1 (its schema is ${String(value.schema)})`);
  return { ...value, suites: value.suites ?? [] }; // the first results have none
}
