import { ConflictError, type Context, signalNumber } from '../base/index.js';
import { findGroups, isFrozen, thaw } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import { type RestartPolicy, STOP_WITHOUT_END } from '../kernel/index.js';
import { containerState } from './containers.js';
import { emitEvent } from './emit.js';
import { MonitorClient } from './monitor-client.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { killContainer } from './remove.js';
import { type StartOptions, startContainer } from './start.js';

export interface StopOptions {
  /** Name or number; default the container's own stop signal. */
  signal?: string | undefined;
  /** Seconds until it is killed; -1 never; default the container's own, 10. */
  timeout?: number | undefined;
}

/**
 * Stops a container: its stop signal, then KILL after the timeout. It isn't restarted whatever its policy. Nothing
 * happens where it doesn't run.
 * @returns when it has ended and its end is recorded
 * @throws InvalidError for an unknown signal
 */
export async function stopContainer(
  ctx: Context,
  record: ContainerRecord,
  options: StopOptions = {},
): Promise<void> {
  const signal = options.signal === undefined ? undefined : signalNumber(options.signal);
  using client = await MonitorClient.connect(containerPaths(ctx, record.id).socket);
  if (!client) return;
  await stopThrough(ctx, record, client, signal, options.timeout);
}

async function stopThrough(
  ctx: Context,
  record: ContainerRecord,
  client: MonitorClient,
  signal: number | undefined,
  timeout: number | undefined,
): Promise<void> {
  const timeoutMs =
    timeout === undefined ? undefined : timeout < 0 ? STOP_WITHOUT_END : Math.round(timeout * 1000);
  client.tell({ type: 'stop', signal, timeoutMs });
  await client.hello;
  await thawed(ctx, record); // a frozen program takes no signal
  const exit = await client.exit;
  // Without a word the monitor was killed: what may be left of the container goes too.
  if (!exit && containerState(ctx, record).status === 'dead') await killContainer(ctx, record);
}

/**
 * Sends a signal to a container's first process. With KILL, or its stop signal, it isn't restarted.
 * @param signal name or number
 * @throws ConflictError where it doesn't run; InvalidError for an unknown signal
 */
export async function signalContainer(ctx: Context, record: ContainerRecord, signal = 'KILL'): Promise<void> {
  const number = signalNumber(signal);
  using client = await MonitorClient.connect(containerPaths(ctx, record.id).socket);
  if (!client || containerState(ctx, record).running === undefined) {
    throw new ConflictError(`cannot kill container: ${record.name}: container ${record.id} is not running`, {
      exitCode: 1,
    });
  }
  await client.request({ type: 'signal', signal: number });
  if (number === 9) {
    await thawed(ctx, record);
    await client.exit; // as quick as the kernel, and what follows (`rm`, `start`) finds it ended
  }
}

/**
 * Stops a container and starts it again; starts one that doesn't run. One with --rm stays.
 * @throws as startContainer
 */
export async function restartContainer(
  ctx: Context,
  record: ContainerRecord,
  options: StopOptions & StartOptions = {},
): Promise<void> {
  const signal = options.signal === undefined ? undefined : signalNumber(options.signal);
  const client = await MonitorClient.connect(containerPaths(ctx, record.id).socket);
  if (client) {
    using _ = client;
    if (record.request.autoRemove) client.tell({ type: 'keep' });
    await stopThrough(ctx, record, client, signal, options.timeout);
  }
  const launched = await startContainer(ctx, record, options);
  launched?.monitor.close();
  emitEvent(ctx, 'restart', record);
}

/** Changes what happens at the end of the current run; nothing where it doesn't run. */
export async function setRestartPolicy(
  ctx: Context,
  record: ContainerRecord,
  policy: RestartPolicy,
): Promise<void> {
  using client = await MonitorClient.connect(containerPaths(ctx, record.id).socket);
  await client?.request({ type: 'restartPolicy', policy });
}

/** Tells a running container's monitor what its events say of it (after a rename). */
export async function setEventAttributes(
  ctx: Context,
  record: ContainerRecord,
  attributes: Record<string, string>,
): Promise<void> {
  using client = await MonitorClient.connect(containerPaths(ctx, record.id).socket);
  await client?.request({ type: 'eventAttributes', attributes });
}

async function thawed(ctx: Context, record: ContainerRecord): Promise<void> {
  const groups = findGroups(hostFacts(ctx).cgroup, record.cgroup);
  if (isFrozen(groups)) await thaw(groups);
}
