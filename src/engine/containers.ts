import { closeSync, openSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { type Context, NotFoundError, NsboxError } from '../base/index.js';
import { tryLock } from '../kernel/index.js';
import { readRecord, writeRecord } from '../state/index.js';
import { holder } from './claims.js';
import { type ContainerPaths, containerPaths, namesDirectory } from './paths.js';
import type { ContainerRecord, ContainerStatus, ExitRecord, RunningRecord } from './records.js';

/** Ids of all containers on disk, in no order. */
export function containerIds(ctx: Context): string[] {
  try {
    return readdirSync(path.join(ctx.root, 'containers')).filter((n) => /^[0-9a-f]{64}$/.test(n));
  } catch {
    return [];
  }
}

/** The record of a container; undefined where there is none, or it is just being made. */
export function readContainer(ctx: Context, id: string): ContainerRecord | undefined {
  return readRecord<ContainerRecord>(containerPaths(ctx, id).record);
}

export function writeContainer(ctx: Context, record: ContainerRecord, durable = true): void {
  writeRecord(containerPaths(ctx, record.id).record, record, { durable });
}

/** Every container, newest first. */
export function listContainers(ctx: Context): ContainerRecord[] {
  return containerIds(ctx)
    .flatMap((id) => readContainer(ctx, id) ?? [])
    .sort((a, b) => (a.created < b.created ? 1 : -1));
}

/**
 * The container that a name, an id or the start of an id means, by Docker's rules: full id, then name, then prefix.
 * @throws NotFoundError; NsboxError CONFLICT where a prefix means several
 */
export function findContainer(ctx: Context, reference: string): ContainerRecord {
  const wanted = reference.startsWith('/') ? reference.slice(1) : reference;
  if (/^[0-9a-f]{64}$/.test(wanted)) {
    const record = readContainer(ctx, wanted);
    if (record) return record;
  }
  if (wanted !== '' && !wanted.includes('/')) {
    const id = holder(path.join(namesDirectory(ctx), wanted));
    const record = id === undefined ? undefined : readContainer(ctx, id);
    if (record) return record;
  }
  if (/^[0-9a-f]+$/.test(wanted)) {
    const matches = containerIds(ctx).filter((id) => id.startsWith(wanted));
    if (matches.length > 1) {
      throw new NsboxError('CONFLICT', `Multiple IDs found with provided prefix: ${wanted}`, {
        hint: 'give more digits of the id, or the name',
      });
    }
    const record = matches[0] ? readContainer(ctx, matches[0]) : undefined;
    if (record) return record;
  }
  throw new NotFoundError('container', reference);
}

/** What a container is doing, from its lock and its files alone. */
export interface ContainerState {
  status: ContainerStatus;
  running: RunningRecord | undefined;
  exit: ExitRecord | undefined;
}

/** Whether its program runs; one that is to be restarted has none, and publishes nothing. */
export const isUp = ({ status }: Pick<ContainerState, 'status'>): boolean =>
  status === 'running' || status === 'paused';

/** Whether it is up or will be by itself: it can't be removed without force, and uses what it was made of. */
export const isActive = (state: Pick<ContainerState, 'status'>): boolean =>
  isUp(state) || state.status === 'restarting';

/**
 * @param frozen tells whether the container's cgroup is frozen; not asked where it doesn't run
 */
export function containerState(
  ctx: Context,
  record: ContainerRecord,
  frozen: (record: ContainerRecord) => boolean = () => false,
): ContainerState {
  const paths = containerPaths(ctx, record.id);
  const exit = readExit(paths);
  if (record.removing) return { status: 'removing', running: undefined, exit };
  const running = readRecord<RunningRecord>(paths.running);
  if (running && isHeld(paths.lock)) {
    if (running.state === 'restarting') return { status: 'restarting', running, exit };
    return { status: frozen(record) ? 'paused' : 'running', running, exit };
  }
  // A run without an end on record: its monitor was killed. recover() writes the end.
  if (running) return { status: 'dead', running: undefined, exit };
  return { status: exit ? 'exited' : 'created', running: undefined, exit };
}

/** How the last run ended; undefined before the first end. */
export function readExit(paths: ContainerPaths): ExitRecord | undefined {
  return readRecord<ExitRecord>(paths.exitAside) ?? readRecord<ExitRecord>(paths.exit);
}

/** Whether a monitor (or a process that makes the container) lives: it holds the lock. */
export function isHeld(lock: string): boolean {
  let fd: number;
  try {
    fd = openSync(lock, 'r');
  } catch {
    return false; // a look makes no lock file
  }
  try {
    return !tryLock(fd, 'shared');
  } finally {
    closeSync(fd);
  }
}
