import { readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { ConflictError, type Context, goDuration, InvalidError } from '../base/index.js';
import { closeFd, makePipe } from '../kernel/index.js';
import { type HealthPlan, healthPlan } from '../spec/index.js';
import { writeRecord } from '../state/index.js';
import { lockContainer } from './container-lock.js';
import { readContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { execInContainer } from './exec.js';
import { type Health, type HealthRecord, type HealthResult, healthOfRun, nextHealth } from './health.js';
import type { Launched } from './launch.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import type { ContainerRecord, RunningRecord } from './records.js';

/** Bytes of a check's output that are kept. */
const OUTPUT_LIMIT = 4096;
/** Milliseconds for output that is still on its way when the check has ended. */
const OUTPUT_GRACE = 200;
/** The longest that a timer of Node takes, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Runs a container's health check once, and records what it finds. A change of the status is an event.
 * @returns how the check ended, and what that makes of the container's health
 * @throws InvalidError where it has no check; ConflictError where it isn't running (any more) or is paused
 */
export async function checkHealth(
  ctx: Context,
  record: ContainerRecord,
): Promise<{ result: HealthResult; health: Health }> {
  const plan = healthPlan(record.healthcheck, record.shell);
  if (!plan) {
    throw new InvalidError(`container ${record.name} has no defined healthcheck`);
  }
  const run = runOf(ctx, record);
  const result = await runTest(ctx, record, plan);

  // One process at a time changes the record, and none that of a container which is removed or started again.
  using _lock = await lockContainer(ctx, record.id);
  const current = readContainer(ctx, record.id) ?? record;
  const now = runOf(ctx, current);
  if (now.startedAt !== run.startedAt || isEnding(now.pid)) throw notRunning(current);
  const before = healthOfRun(ctx, record.id, run.startedAt);
  const health = nextHealth(before, result, plan, run.startedAt);
  const file = containerPaths(ctx, record.id).health;
  writeRecord(file, { startedAt: run.startedAt, ...health } satisfies HealthRecord, { durable: false });
  if (health.Status !== before.Status) emitEvent(ctx, `health_status: ${health.Status}`, current);
  return { result, health };
}

/** The run that is to be checked. @throws ConflictError */
function runOf(ctx: Context, record: ContainerRecord): RunningRecord {
  const { status, running } = stateOf(ctx, record);
  if (status === 'paused') throw new ConflictError(`container ${record.name} is paused`);
  if (status !== 'running' || !running) throw notRunning(record);
  return running;
}

const notRunning = (record: ContainerRecord): ConflictError =>
  new ConflictError(`container ${record.name} is not running`);

/** Whether a first process is at its end: it has given up its root before what runs beside it is killed. */
function isEnding(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/root`);
    return false;
  } catch {
    return true;
  }
}

/** Executes the test in the container. The end of this process is the test's end as well. */
async function runTest(ctx: Context, record: ContainerRecord, plan: HealthPlan): Promise<HealthResult> {
  const start = new Date().toISOString();
  const [read, write] = makePipe();
  const output = collect(new Socket({ fd: read, readable: true, writable: false }));
  const result = (ExitCode: number, Output: string): HealthResult => {
    return { Start: start, End: new Date().toISOString(), ExitCode, Output };
  };
  let launched: Launched;
  try {
    const stdio: [number, number, number] = [-1, write, write];
    launched = await execInContainer(ctx, record, { command: plan.argv, stdio, dieWithRuntime: true });
  } catch (error) {
    if (error instanceof ConflictError) throw error;
    return result(-1, error instanceof Error ? error.message : String(error));
  } finally {
    closeFd(write);
  }
  let late = false;
  const timer = setTimeout(
    () => {
      late = true;
      killSession(launched);
    },
    Math.min(plan.timeoutMs, LONGEST_TIMER),
  );
  const end = await launched.exit;
  clearTimeout(timer);
  const text = await output();
  if (late) {
    const why = `Health check exceeded timeout (${goDuration(plan.timeoutMs)})`;
    return result(-1, text === '' ? why : `${why}: ${text}`);
  }
  if (!end) return result(-1, 'the monitor of the health check was killed');
  return result(end.signal > 0 ? 128 + end.signal : end.code, text);
}

/** Kills a test with what it started: it leads a session, and so a process group, of its own. */
function killSession({ pid, monitor }: Launched): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    monitor.signal(9); // it has left its group
  }
}

/** Keeps the beginning of what comes; the function it returns waits for the end, which what stays behind may hold up. */
function collect(stream: Socket): () => Promise<string> {
  const kept: Buffer[] = [];
  let size = 0;
  let cut = false;
  stream.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, OUTPUT_LIMIT - size);
    kept.push(part);
    size += part.length;
    cut ||= part.length < chunk.length;
  });
  const ended = new Promise<void>((resolve) => {
    stream.once('close', () => resolve());
    stream.on('error', () => resolve());
  });
  return async () => {
    const timer = setTimeout(() => stream.destroy(), OUTPUT_GRACE);
    await ended;
    clearTimeout(timer);
    return Buffer.concat(kept).toString() + (cut ? '...' : '');
  };
}
