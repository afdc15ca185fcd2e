import type { Context } from '../base/index.js';
import type { ContainerRequest } from '../spec/index.js';
import { type ContainerState, findContainer, listContainers } from './containers.js';
import { createContainer } from './create.js';
import { type ExecRequest, execInContainer } from './exec.js';
import type { Launched } from './launch.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';
import { recover } from './recover.js';
import { type RemoveOptions, removeContainer } from './remove.js';
import { type StartOptions, startContainer } from './start.js';

/** A container's life in one place: what the doors (cli, oci, library) call. */
export interface Engine {
  readonly ctx: Context;
  /** @throws InvalidError, NotFoundError, ConflictError */
  create(request: ContainerRequest): Promise<ContainerRecord>;
  /** @throws LaunchError; undefined where it runs already */
  start(reference: string, options?: StartOptions): Promise<Launched | undefined>;
  exec(reference: string, request: ExecRequest): Promise<Launched>;
  remove(reference: string, options?: RemoveOptions): Promise<void>;
  /** All containers, newest first. */
  list(): ContainerRecord[];
  /** By id, name or prefix. @throws NotFoundError */
  find(reference: string): ContainerRecord;
  state(record: ContainerRecord): ContainerState;
  /** Undoes what killed processes left. */
  recover(): Promise<void>;
}

export function openEngine(ctx: Context): Engine {
  return {
    ctx,
    create: (request) => createContainer(ctx, request),
    start: async (reference, options) => startContainer(ctx, findContainer(ctx, reference), options),
    exec: async (reference, request) => execInContainer(ctx, findContainer(ctx, reference), request),
    remove: async (reference, options) => removeContainer(ctx, findContainer(ctx, reference), options),
    list: () => listContainers(ctx),
    find: (reference) => findContainer(ctx, reference),
    state: (record) => stateOf(ctx, record),
    recover: () => recover(ctx),
  };
}
