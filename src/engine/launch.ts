import { LaunchError, NsboxError } from '../base/index.js';
import { type ExitReport, type Monitor, type MonitorMessage, spawnMonitor } from '../kernel/index.js';
import { encodePlan, type LaunchPlan, LISTS, type ListName, SYNC, type SyncPoint } from '../plan/index.js';
import { endFailure, launchError } from './launch-error.js';

export interface StepTime {
  list: ListName;
  step: number;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  start: bigint;
  end: bigint;
}

export interface LaunchOptions {
  /** Configuration of the keeping monitor (logs, attach, restart); absent: it waits and reports. */
  keep?: Uint8Array | undefined;
  /** Fds that become the program's 0, 1, 2 with stdio `inherit`; -1: /dev/null. */
  stdio?: [number, number, number] | undefined;
  /** Fds for plan.passed, in that order. */
  passed?: number[] | undefined;
  /** What the runtime does while init works, by sync point, given init's pid. */
  sync?: Partial<Record<SyncPoint, (pid: number) => Promise<void>>> | undefined;
  /** A step was done in another way, as where a filesystem can't be idmapped. */
  onNotice?: ((list: ListName, step: number, errno: number) => void) | undefined;
  /** A step after the container's end failed. */
  onWarning?: ((message: string) => void) | undefined;
  onTrace?: ((time: StepTime) => void) | undefined;
  newSession?: boolean | undefined;
}

/** A program that has been started (or, with waitStart, is ready to be). */
export interface Launched {
  pid: number;
  monitor: Monitor;
  /** Master of the pty, with stdio `runtime-terminal`. */
  terminal: number | undefined;
  /** How it ended; undefined where the monitor went away before it could tell (it was killed, or left after `ready`). */
  exit: Promise<ExitReport | undefined>;
}

/**
 * Carries out a plan.
 * @returns when the program has been executed, or init waits for `start`
 * @throws LaunchError with the step, system call, errno, path and a hint; nothing of the launch is left then
 */
export function launch(plan: LaunchPlan, options: LaunchOptions = {}): Promise<Launched> {
  const bytes = encodePlan(plan, { keep: options.keep, trace: options.onTrace !== undefined });
  return new Promise((resolve, reject) => {
    let failure: NsboxError | undefined;
    let report: ExitReport | undefined;
    let terminal: number | undefined;
    let ended: (report: ExitReport | undefined) => void = () => {};
    const exit = new Promise<ExitReport | undefined>((done) => {
      ended = done;
    });
    const monitor = spawnMonitor({
      plan: bytes,
      name: plan.id,
      ...(options.stdio ? { stdio: options.stdio } : {}),
      ...(options.passed ? { passed: options.passed } : {}),
      newSession: options.newSession ?? false,
      onMessage: (m: MonitorMessage) => {
        switch (m.type) {
          case 'sync': {
            const point = (Object.keys(SYNC) as SyncPoint[]).find((p) => SYNC[p] === m.point);
            const work = point ? options.sync?.[point] : undefined;
            (work ? work(m.pid) : Promise.resolve()).then(
              () => monitor.grant(m.point, true),
              (error: unknown) => {
                failure ??=
                  error instanceof NsboxError
                    ? error
                    : new LaunchError('LAUNCH_FAILED', `launch failed at ${point}: ${String(error)}`, {
                        cause: error,
                      });
                monitor.grant(m.point, false);
              },
            );
            break;
          }
          case 'failed':
            if (LISTS[m.list] === 'finish') {
              const message = endFailure(plan, m);
              if (message) options.onWarning?.(message);
            } else failure ??= launchError(plan, m);
            break;
          case 'terminal':
            terminal = m.fd;
            break;
          case 'started':
          case 'ready':
            resolve({ pid: m.pid, monitor, terminal, exit });
            break;
          case 'exited':
            report = m;
            ended(m); // what the monitor still removes need not be waited for
            break;
          case 'notice':
            options.onNotice?.(LISTS[m.list] ?? 'init', m.step, m.errno);
            break;
          case 'trace':
            options.onTrace?.({ list: LISTS[m.list] ?? 'init', step: m.step, start: m.start, end: m.end });
            break;
        }
      },
      onEnd: () => {
        monitor.reap();
        reject(
          failure ??
            new LaunchError('LAUNCH_FAILED', 'the monitor ended before the container was started', {
              hint: 'was it killed? `dmesg | tail` may say by whom',
            }),
        );
        ended(report);
      },
    });
  });
}
