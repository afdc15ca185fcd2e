import { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Context, InvalidError, makeContext, monotonicMs, NsboxError } from '../base/index.js';
import { type Groups, readNetwork, readUsage } from '../cgroup/index.js';
import {
  type Sandbox as EngineSandbox,
  execInTarget,
  type Launched,
  mountsForStart,
  resolveMounts,
  startSandbox,
  useImage,
} from '../engine/index.js';
import { closeFd, type ExitReport, makePipe } from '../kernel/index.js';
import { type SandboxOptions, toRequest } from './options.js';
import { type Figures, type Usage, usageOf } from './usage.js';

/** How a program ended. */
export interface ExitStatus {
  /** 0–255; null where a signal ended it. */
  exitCode: number | null;
  /** `SIGKILL` …; null where it exited by itself. */
  signal: NodeJS.Signals | null;
  usage: Usage;
}

/** A program with its streams. */
export interface Process {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Its pid on the host. */
  readonly pid: number;
  /** Sends a signal; nothing where it has ended. Default SIGTERM. */
  kill(signal?: NodeJS.Signals | number): void;
  wait(): Promise<ExitStatus>;
}

/** A running sandbox. `await using` ends it with the scope; so does the end of this process. */
export interface Sandbox extends Process, AsyncDisposable {
  readonly id: string;
  /**
   * What it uses now: CPU (and how often it was throttled), memory, processes, block IO by device, network by interface,
   * pressure, and what its limits refused or killed. A few reads of kernel files; zeros once it has ended.
   */
  figures(): Figures;
  /** Runs a further program in it. @throws NsboxError COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE */
  exec(command: readonly string[] | string, options?: ExecOptions): Promise<Process>;
}

export interface ExecOptions {
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  user?: string;
  privileged?: boolean;
}

interface Pipes {
  stdio: [number, number, number];
  streams: { stdin: Socket; stdout: Socket; stderr: Socket };
  /** The program has its ends: ours close. */
  handedOver: () => void;
}

function makePipes(): Pipes {
  const [inRead, inWrite] = makePipe();
  const [outRead, outWrite] = makePipe();
  const [errRead, errWrite] = makePipe();
  const stdin = new Socket({ fd: inWrite, readable: false, writable: true });
  stdin.on('error', () => {}); // EPIPE: the program doesn't read its input, which is its own affair
  return {
    stdio: [inRead, outWrite, errWrite],
    streams: {
      stdin,
      stdout: new Socket({ fd: outRead, readable: true, writable: false }),
      stderr: new Socket({ fd: errRead, readable: true, writable: false }),
    },
    handedOver: () => {
      for (const fd of [inRead, outWrite, errWrite]) closeFd(fd);
    },
  };
}

function processOf(launched: Launched, pipes: Pipes, started: number, groups?: Groups): Process {
  let status: Promise<ExitStatus> | undefined;
  return {
    ...pipes.streams,
    pid: launched.pid,
    kill: (signal = 'SIGTERM') => {
      const number = typeof signal === 'number' ? signal : constants.signals[signal];
      if (number === undefined) throw new InvalidError(`unknown signal ${JSON.stringify(signal)}`);
      launched.monitor.signal(number);
    },
    wait: () => {
      status ??= launched.exit.then((report) => statusOf(report, started, groups));
      return status;
    },
  };
}

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

function statusOf(report: ExitReport | undefined, started: number, groups?: Groups): ExitStatus {
  if (!report) {
    return { exitCode: null, signal: 'SIGKILL', usage: usageOf(undefined, started) };
  }
  const signal = report.signal
    ? ((SIGNAL_NAMES.get(report.signal) ?? `SIG${report.signal}`) as NodeJS.Signals)
    : null;
  return { exitCode: signal ? null : report.code, signal, usage: usageOf(report, started, groups) };
}

/** The context of a call's options. */
export function contextOf(options: Pick<SandboxOptions, 'root' | 'state' | 'onWarning'>): Context {
  return makeContext({ root: options.root, state: options.state, warn: options.onWarning });
}

/**
 * Starts a sandbox: all namespaces, an id range of its own, a throw-away layer over the image. It runs until its
 * program ends, it is disposed of, or this process ends.
 *
 * Needs root. Usable from worker threads, and many at a time.
 * @throws NsboxError with a stable `code`: INVALID_ARGUMENT, NOT_FOUND, COMMAND_NOT_FOUND, LAUNCH_FAILED …
 */
export async function create(options: SandboxOptions): Promise<Sandbox> {
  const request = toRequest(options);
  const ctx = contextOf(options);
  if (process.geteuid?.() !== 0) {
    throw new NsboxError(
      'PERMISSION',
      'nsbox needs root: it makes namespaces, mounts and cgroups for others',
      {
        hint: 'run the program with sudo',
      },
    );
  }
  const image = request.image === undefined ? undefined : await useImage(ctx, request.image, request);
  const mounts = request.mounts.length
    ? await mountsForStart(
        ctx,
        await resolveMounts(ctx, request, undefined),
        request,
        image && { layers: image.layers },
      )
    : [];
  const pipes = makePipes();
  const started = monotonicMs();
  let sandbox: EngineSandbox;
  try {
    sandbox = await startSandbox(ctx, {
      request,
      root: image ?? { layers: [request.rootfs!], config: undefined },
      mounts,
      stdio: pipes.stdio,
    });
  } catch (error) {
    pipes.handedOver();
    for (const s of Object.values(pipes.streams)) s.destroy();
    throw error;
  }
  pipes.handedOver();
  const own = processOf(sandbox, pipes, started, sandbox.groups);
  return {
    ...own,
    id: sandbox.id,
    figures: () => ({ ...readUsage(sandbox.groups), network: readNetwork(sandbox.pid) }),
    exec: async (command, execOptions = {}) => {
      const execPipes = makePipes();
      const begun = monotonicMs();
      try {
        const launched = await execInTarget(
          ctx,
          {
            id: sandbox.id,
            pid: sandbox.pid,
            spec: sandbox.spec,
            cgroup: sandbox.cgroup,
            idRange: sandbox.idRange,
          },
          {
            command: typeof command === 'string' ? ['/bin/sh', '-c', command] : [...command],
            env: Object.entries(execOptions.env ?? {}).map(([k, v]) => `${k}=${v}`),
            workdir: execOptions.cwd,
            user: execOptions.user,
            privileged: execOptions.privileged,
            stdio: execPipes.stdio,
            dieWithRuntime: true,
          },
        );
        return processOf(launched, execPipes, begun);
      } catch (error) {
        for (const s of Object.values(execPipes.streams)) s.destroy();
        throw error;
      } finally {
        execPipes.handedOver();
      }
    },
    [Symbol.asyncDispose]: async () => {
      own.kill('SIGKILL');
      await own.wait();
      for (const s of Object.values(pipes.streams)) s.destroy();
    },
  };
}
