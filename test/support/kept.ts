import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { type Context, makeContext } from '../../src/base/index.js';
import {
  type Attachment,
  type AttachOptions,
  attachSocket,
  type ContainerPaths,
  containerPaths,
  type ExitRecord,
  eventsFile,
  type Launched,
  launch,
  type RunningRecord,
} from '../../src/engine/index.js';
import { encodeKeepConfig, type KeepConfig } from '../../src/kernel/index.js';
import type { LaunchPlan, Step } from '../../src/plan/index.js';

export interface KeptOptions {
  keep?: Partial<KeepConfig>;
  tty?: boolean;
  stdin?: boolean;
  /** Attached before the program starts. */
  attach?: Partial<AttachOptions>;
  /** Let go of the monitor at once, as a detached start does. */
  detach?: boolean;
}

/** A program in a pid namespace of its own under the real monitor, without the rest of a container. */
export class Kept implements AsyncDisposable {
  readonly id = Array.from({ length: 64 }, () => '0123456789abcdef'[Math.floor(Math.random() * 16)]).join('');
  readonly directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-keep-'));
  readonly ctx: Context = makeContext({ root: `${this.directory}/root`, state: `${this.directory}/state` });
  readonly paths: ContainerPaths = containerPaths(this.ctx, this.id);
  launched: Launched | undefined;
  attachment: Attachment | undefined;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();

  constructor() {
    mkdirSync(this.paths.data, { recursive: true });
    mkdirSync(this.paths.state, { recursive: true });
  }

  async start(script: string, options: KeptOptions = {}): Promise<this> {
    try {
      return await this.#start(script, options);
    } catch (error) {
      await this[Symbol.asyncDispose](); // nobody has it in a scope yet
      throw error;
    }
  }

  async #start(script: string, options: KeptOptions): Promise<this> {
    const tty = options.tty ?? false;
    const init: Step[] = [
      { op: 'setsid' },
      ...(tty
        ? [
            {
              op: 'console',
              uid: 0,
              gid: 0,
              rows: options.attach?.size?.rows ?? 0,
              columns: options.attach?.size?.columns ?? 0,
              bindConsole: false,
              socketSlot: 0,
            } as const,
          ]
        : []),
      { op: 'sync', point: 'attach', firstRunOnly: true },
      { op: 'deathSignal', signal: 9 },
      { op: 'fds', slots: [] },
      { op: 'exec', path: '/bin', argv: ['/bin/sh', '-c', script], env: ['PATH=/usr/bin:/bin'] },
    ];
    const plan: LaunchPlan = {
      id: this.id,
      stdio: tty ? 'terminal' : 'pipes',
      stdinOpen: options.stdin ?? false,
      leaveAfterStart: false,
      dieWithRuntime: options.keep?.dieWithRuntime ?? false,
      passed: [],
      prepare: [],
      clone: { op: 'clone', namespaces: ['pid'], join: [], keepNamespaces: false },
      parent: [],
      init,
      exit: [],
      finish: options.keep?.autoRemove
        ? [
            { op: 'removeTree', path: this.paths.state },
            { op: 'removeTree', path: this.paths.data },
          ]
        : [],
    };
    const config: KeepConfig = {
      id: this.id,
      stateDir: this.paths.state,
      dataDir: this.paths.data,
      eventsFile: eventsFile(this.ctx),
      event: { from: 'test', attributes: { image: 'test', name: 'kept' } },
      log: { driver: 'json-file', maxSize: 0, maxFiles: 3 },
      tty,
      openStdin: options.stdin ?? false,
      stdinOnce: options.stdin ?? false,
      restart: { name: 'no', maximumRetryCount: 0 },
      stopSignal: 15,
      stopTimeoutMs: 10_000,
      dieWithRuntime: false,
      autoRemove: false,
      oomFiles: [],
      ...options.keep,
    };
    this.launched = await launch(plan, {
      keep: encodeKeepConfig(config),
      newSession: true,
      sync: {
        attach: async () => {
          if (!options.attach) return;
          this.attachment = await attachSocket(this.paths.socket, {
            stdout: this.stdout,
            stderr: this.stderr,
            tty,
            ...options.attach,
          });
        },
      },
    });
    if (options.detach) this.launched.monitor.close();
    return this;
  }

  get running(): RunningRecord | undefined {
    return read(this.paths.running);
  }
  get exit(): ExitRecord | undefined {
    return read(this.paths.exit);
  }
  /** The log's lines as objects, across rotated files. */
  get log(): { log: string; stream: string; time: string; attrs?: Record<string, string> }[] {
    return [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
      .map((n) => (n ? `${this.paths.log}.${n}` : this.paths.log))
      .filter((f) => existsSync(f))
      .flatMap((f) => readFileSync(f, 'utf8').split('\n').slice(0, -1)) // the last may not be complete yet
      .map((l) => JSON.parse(l));
  }
  get events(): { Action: string; Actor: { Attributes: Record<string, string> } }[] {
    const file = eventsFile(this.ctx);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((l) => JSON.parse(l));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.running;
    for (const pid of [running?.monitorPid, running?.pid]) {
      // Only where they are still ours: the monitor carries the container's id on its command line.
      if (!pid || !commandLine(running!.monitorPid).includes(this.id)) continue;
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has just ended
      }
    }
    this.launched?.monitor.close();
    await new Promise((resolve) => setTimeout(resolve, 5));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Reads until a condition holds. @throws after forty seconds */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 40_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited 40 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** All that a stream has given so far, and waiting for more. */
export class Capture {
  text = '';
  bytes = 0;
  constructor(stream: Readable) {
    stream.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.text.length < 1 << 20) this.text += chunk.toString('latin1');
    });
  }
}

function read<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}
