import path from 'node:path';
import type { Context } from '../base/index.js';
import { monotonicMs } from '../base/index.js';
import { findGroups, type LimitEvent, watchLimits } from '../cgroup/index.js';
import { type FileLock, tryAcquireLock } from '../state/index.js';
import { isUp, listContainers, readContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { readEvents } from './events.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';

/** Pressure that goes on is told again after this time, in milliseconds. */
const PRESSURE_PAUSE = 10_000;

/**
 * Writes into the events file what limits do to running containers: `oom-kill`, `memory-high`, `pids-max`, `pressure`.
 * (`oom`, start and end are the monitors'.) It works while somebody follows events, and in one process at a time,
 * which a kernel lock sees to; where that one ends, the next takes over at the next event.
 * @param pressure share of a second in which work must have waited, 0 to 1; 0: no pressure events
 */
export async function reportLimitEvents(ctx: Context, signal: AbortSignal, pressure: number): Promise<void> {
  const watches = new Map<string, Watch>();
  let lock: FileLock | undefined;
  const lead = (): void => {
    if (lock) return;
    lock = tryAcquireLock(path.join(ctx.state, 'limit-events.lock'));
    if (!lock) return;
    for (const record of listContainers(ctx)) {
      if (isUp(stateOf(ctx, record))) add(record);
    }
  };
  const drop = (id: string): void => {
    watches.get(id)?.watch[Symbol.dispose]();
    watches.delete(id);
  };
  const add = (record: ContainerRecord): void => {
    drop(record.id);
    watches.set(record.id, watchContainer(ctx, record, pressure));
  };
  try {
    lead();
    for await (const event of readEvents(ctx, { signal })) {
      lead();
      if (event.Type !== 'container' || !lock) continue;
      const { ID } = event.Actor;
      const watched = watches.get(ID);
      if (event.Action === 'start') {
        const record = readContainer(ctx, ID);
        if (record) add(record);
      } else if (event.Action === 'oom' && watched) {
        watched.ooms++;
      } else if (event.Action === 'die' || event.Action === 'destroy') {
        // The group may be gone before its count could be read: the end tells that the first process was killed.
        if (
          watched &&
          watched.ooms > 0 &&
          watched.kills === 0 &&
          event.Actor.Attributes['exitCode'] === '137'
        )
          emitEvent(ctx, 'oom-kill', watched.record, { count: '1' });
        drop(ID);
      }
    }
  } finally {
    for (const id of [...watches.keys()]) drop(id);
    lock?.[Symbol.dispose]();
  }
}

/** A container that is watched, and what was told of this run: the monitor's `oom`, our `oom-kill`. */
interface Watch {
  record: ContainerRecord;
  watch: Disposable;
  ooms: number;
  kills: number;
}

function watchContainer(ctx: Context, record: ContainerRecord, pressure: number): Watch {
  const told = new Map<string, number>();
  const report = (event: LimitEvent): void => {
    if (event.action === 'oom') return; // the monitor's
    if (event.action === 'oom-kill') watched.kills++;
    if (event.action === 'pressure') {
      const before = told.get(event.resource ?? '');
      if (before !== undefined && monotonicMs() - before < PRESSURE_PAUSE) return;
      told.set(event.resource ?? '', monotonicMs());
    }
    emitEvent(ctx, event.action, record, {
      ...(event.count === undefined ? {} : { count: String(event.count) }),
      ...(event.resource === undefined ? {} : { resource: event.resource }),
    });
  };
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  const nothing: Disposable = { [Symbol.dispose]: () => {} };
  const watched: Watch = { record, watch: nothing, ooms: 0, kills: 0 };
  watched.watch = watchLimits(groups, report, pressure > 0 ? { pressure } : {});
  return watched;
}
