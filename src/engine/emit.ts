import { closeSync, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import type { Context } from '../base/index.js';
import { tryLock } from '../kernel/index.js';
import { ensureDirectory } from '../state/index.js';
import { eventsFile } from './paths.js';
import type { ContainerRecord } from './records.js';

/** One line of `nsbox events`, in Docker's shape. */
export interface EngineEvent {
  /** Older names of Action, Actor.ID and the image; of containers only. */
  status?: string | undefined;
  id?: string | undefined;
  from?: string | undefined;
  Type: 'container' | 'image' | 'network' | 'volume';
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: 'local';
  time: number;
  timeNano: number;
}

/** What every event of a container says of it. */
export function eventAttributes(record: ContainerRecord): Record<string, string> {
  return { ...record.request.labels, image: record.image?.reference ?? '', name: record.name };
}

/**
 * Appends an event to <state>/events.jsonl. One write of one line with O_APPEND, so that lines of several processes
 * don't mix. That nobody can be told is no reason to fail.
 */
export function emitEvent(
  ctx: Context,
  action: string,
  record: ContainerRecord,
  attributes: Record<string, string> = {},
): void {
  const now = Date.now();
  const event: EngineEvent = {
    status: action,
    id: record.id,
    from: record.image?.reference ?? '',
    Type: 'container',
    Action: action,
    Actor: {
      ID: record.id,
      Attributes: { ...eventAttributes(record), ...attributes },
    },
    scope: 'local',
    time: Math.floor(now / 1000),
    timeNano: now * 1e6,
  };
  const line = `${JSON.stringify(event)}\n`;
  try {
    append(eventsFile(ctx), line);
  } catch {
    try {
      ensureDirectory(ctx.state);
      append(eventsFile(ctx), line);
    } catch {
      // see above
    }
  }
}

/** Bytes after which the file is renamed to ….1; the monitors do the same (kEventsLimit in native/init). */
const LIMIT = 1 << 20;

function append(file: string, line: string): void {
  for (let attempt = 0; ; attempt++) {
    const fd = openSync(file, 'a', 0o600);
    try {
      const open = fstatSync(fd);
      // Only where it is large is a lock worth its time: one of the writers renames it, the others open the new one.
      if (attempt < 3 && open.size > LIMIT) {
        if (tryLock(fd, 'exclusive') && statSync(file).ino === open.ino) renameSync(file, `${file}.1`);
        continue;
      }
      writeSync(fd, line);
      return;
    } finally {
      closeSync(fd);
    }
  }
}
