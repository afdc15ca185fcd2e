import path from 'node:path';
import type { Context } from '../base/index.js';

/** Where a container's things lie; see records.ts. */
export interface ContainerPaths {
  data: string;
  record: string;
  spec: string;
  upper: string;
  work: string;
  exit: string;
  /** What checks of its health have found; see health.ts. */
  health: string;
  log: string;
  state: string;
  lock: string;
  running: string;
  /** Where the monitor leaves the end when the disk of `exit` is full; recovery moves it. */
  exitAside: string;
  socket: string;
  /** Poststop hooks that are due when it ends; see poststop.ts. */
  poststop: string;
  /** Limits changed by `update` since the start, for restarts by the monitor. */
  changes: string;
}

export function containerPaths(ctx: Pick<Context, 'root' | 'state'>, id: string): ContainerPaths {
  const data = path.join(ctx.root, 'containers', id);
  const state = path.join(ctx.state, 'containers', id);
  return {
    data,
    record: path.join(data, 'container.json'),
    spec: path.join(data, 'config.json'),
    upper: path.join(data, 'upper'),
    work: path.join(data, 'work'),
    exit: path.join(data, 'exit.json'),
    health: path.join(data, 'health.json'),
    log: path.join(data, 'log.json'),
    state,
    lock: path.join(state, 'lock'),
    running: path.join(state, 'running.json'),
    exitAside: path.join(state, 'exit.json'),
    socket: path.join(state, 'monitor.sock'),
    poststop: poststopNote(state),
    changes: path.join(state, 'limits.bin'),
  };
}

export function namesDirectory(ctx: Pick<Context, 'root'>): string {
  return path.join(ctx.root, 'names');
}

export function idsDirectory(ctx: Pick<Context, 'root'>): string {
  return path.join(ctx.root, 'ids');
}

/** Of a sandbox, in its directory; see poststop.ts. */
export const poststopNote = (directory: string): string => path.join(directory, 'poststop.json');

export function sandboxesDirectory(ctx: Pick<Context, 'root'>): string {
  return path.join(ctx.root, 'sandboxes');
}

export function eventsFile(ctx: Pick<Context, 'state'>): string {
  return path.join(ctx.state, 'events.jsonl');
}
