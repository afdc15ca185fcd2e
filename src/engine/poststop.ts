import { existsSync, rmSync } from 'node:fs';
import { type Context, runHooks } from '../base/index.js';
import type { PlanInput } from '../plan/index.js';
import type { Spec, SpecHooks } from '../spec/index.js';
import { readRecord, writeRecord } from '../state/index.js';
import { stateDocument } from './devices.js';

/**
 * Hooks that are due when a container has ended for good. The monitor runs them and then removes this note; where the
 * monitor was killed before, whoever finds the note does. So each runs at least once.
 */
export interface PoststopRecord {
  hooks: NonNullable<SpecHooks['poststop']>;
  /** The container's state, which they get on their stdin. */
  state: object;
}

/**
 * What the plan needs for its poststop hooks; undefined where the spec has none. Changes nothing.
 * @param due the file of the note
 */
export function poststopOf(id: string, spec: Spec, bundle: string, due: string): PlanInput['poststop'] {
  if (!spec.hooks?.poststop?.length) return undefined;
  return { state: JSON.stringify(stateDocument(id, spec, bundle, 'stopped')), due };
}

/** Notes on disk what will be due, before anything of the container runs. */
export function notePoststop(id: string, spec: Spec, bundle: string, due: string): void {
  const hooks = spec.hooks?.poststop;
  if (!hooks?.length) return;
  const state = stateDocument(id, spec, bundle, 'stopped');
  writeRecord(due, { hooks, state } satisfies PoststopRecord, { durable: false });
}

/**
 * Runs what a killed monitor left undone; nothing where there is no note. One that fails is told and stops no other, as
 * the standard has it. Only for who knows that no monitor lives.
 */
export async function runDuePoststop(ctx: Context, due: string): Promise<void> {
  if (!existsSync(due)) return;
  const record = readRecord<PoststopRecord>(due);
  for (const hook of record?.hooks ?? []) {
    try {
      await runHooks('poststop', [hook], record?.state ?? {});
    } catch (error) {
      ctx.warn((error as Error).message);
    }
  }
  rmSync(due, { force: true });
}
