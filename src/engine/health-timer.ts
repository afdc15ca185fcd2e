import path from 'node:path';
import { type Context, LEAN_NODE, packageRoot } from '../base/index.js';
import type { KeepConfig } from '../kernel/index.js';
import { healthPlan } from '../spec/index.js';
import type { ContainerRecord } from './records.js';

/** What the monitor starts to check a container's health, and when; undefined where nothing is to be checked. */
export function healthTimer(ctx: Context, record: ContainerRecord): KeepConfig['health'] {
  const plan = healthPlan(record.healthcheck);
  if (!plan) return undefined;
  const program = path.join(packageRoot(), 'dist/nsbox.cjs');
  const places = ['--root', path.resolve(ctx.cwd, ctx.root), '--state', path.resolve(ctx.cwd, ctx.state)];
  return {
    command: [process.execPath, ...LEAN_NODE, program, ...places, 'healthcheck', 'run', record.id],
    intervalMs: wholeMs(plan.intervalMs),
    startIntervalMs: wholeMs(plan.startIntervalMs),
    startPeriodMs: wholeMs(plan.startPeriodMs),
  };
}

const wholeMs = (milliseconds: number): number => Math.min(Math.round(milliseconds), Number.MAX_SAFE_INTEGER);
