import type { Context } from '../base/index.js';
import { type HealthPlan, healthPlan } from '../spec/index.js';
import { readRecord } from '../state/index.js';
import type { ContainerState } from './containers.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** One check, as `inspect` shows it. */
export interface HealthResult {
  /** ISO 8601. */
  Start: string;
  End: string;
  /** 0 is a success; -1 where it could not be run or took too long. */
  ExitCode: number;
  /** The first 4096 bytes of its standard output and error. */
  Output: string;
}

/** What is known of a container's health, in Docker's shape. */
export interface Health {
  Status: HealthStatus;
  /** Failures since the last success. */
  FailingStreak: number;
  /** The last checks, oldest first. */
  Log: HealthResult[];
}

/** `health.json`: written by the process of each check, under the container's lock. */
export interface HealthRecord extends Health {
  /** RunningRecord.startedAt of the run it is about: another run starts afresh. */
  startedAt: string;
}

/** As many results are kept. */
const LOG_LENGTH = 5;

const FRESH: Health = { Status: 'starting', FailingStreak: 0, Log: [] };

/**
 * What a result makes of a container's health, by Docker's rules: one success is health; so many failures in a row are
 * the lack of it; those within the start period don't count as long as nothing has succeeded.
 * @param startedAt of the run, ISO 8601
 */
export function nextHealth(
  health: Health,
  result: HealthResult,
  plan: Pick<HealthPlan, 'retries' | 'startPeriodMs'>,
  startedAt: string,
): Health {
  const Log = [...health.Log.slice(1 - LOG_LENGTH), result];
  if (result.ExitCode === 0) return { Status: 'healthy', FailingStreak: 0, Log };
  const sinceStart = Date.parse(result.Start) - Date.parse(startedAt);
  if (health.Status === 'starting' && sinceStart < plan.startPeriodMs) return { ...health, Log };
  const FailingStreak = health.FailingStreak + 1;
  return { Status: FailingStreak >= plan.retries ? 'unhealthy' : health.Status, FailingStreak, Log };
}

/** Whether a container's health is checked at all. */
const isChecked = ({ healthcheck }: ContainerRecord): boolean => healthPlan(healthcheck) !== undefined;

/** What the checks of one run have found so far. */
export function healthOfRun(ctx: Context, id: string, startedAt: string): Health {
  const record = readRecord<HealthRecord>(containerPaths(ctx, id).health);
  if (record?.startedAt !== startedAt) return FRESH;
  const { Status, FailingStreak, Log } = record;
  return { Status, FailingStreak, Log };
}

/**
 * A container's health as it is shown; undefined where it has no check or never ran. One that isn't checked at present
 * (paused, restarting, ended) is unhealthy, as Docker has it, and keeps its last results.
 */
export function healthOf(ctx: Context, record: ContainerRecord, state: ContainerState): Health | undefined {
  if (!isChecked(record)) return undefined;
  const run = state.running ?? state.exit;
  if (!run) return undefined;
  const health = healthOfRun(ctx, record.id, run.startedAt);
  return state.status === 'running' ? health : { ...health, Status: 'unhealthy' };
}
