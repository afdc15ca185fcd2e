import { type Context, InvalidError } from '../base/index.js';
import {
  applyUpdate,
  checkMemoryUpdate,
  confineDevices,
  encodeChanges,
  findGroups,
  planCgroup,
  updateScope,
} from '../cgroup/index.js';
import { type ResourceRequest, resourcesFromRequest, type Spec, type SpecResources } from '../spec/index.js';
import { acquireLock, readRecord, writeFileAtomic } from '../state/index.js';
import { isUp, readContainer, writeContainer } from './containers.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';
import { scopeOf } from './scope.js';
import { blockDevice } from './spec-of.js';
import { setRestartPolicy } from './stop.js';

export interface ContainerChanges {
  resources?: ResourceRequest | undefined;
  restart?: ContainerRecord['request']['restart'] | undefined;
}

/**
 * Changes limits (at once where the container runs) and the restart policy, and keeps them for the next start. The
 * device program of a container that runs is attached once more, whatever changes.
 * Either all of it holds or, with a limit that the kernel refuses, the record stays as it was.
 * @returns warnings
 * @throws InvalidError for limits that contradict each other; UnsupportedError for one that can't be enforced here
 */
export async function updateContainer(
  ctx: Context,
  record: ContainerRecord,
  changes: ContainerChanges,
): Promise<string[]> {
  using _lock = await acquireLock(`${containerPaths(ctx, record.id).record}.lock`);
  // What another update wrote meanwhile counts.
  const current = readContainer(ctx, record.id) ?? record;
  const resources = mergeResources(current.request.resources, changes.resources ?? {});
  const request = { ...current.request, resources, restart: changes.restart ?? current.request.restart };
  checkRestart(request);
  const warnings = changes.resources ? await apply(ctx, current, resources, changes.resources) : [];
  restoreDevices(ctx, current);
  writeContainer(ctx, { ...current, request });
  if (changes.restart) await setRestartPolicy(ctx, current, changes.restart);
  return warnings;
}

/** Applies what changed to the groups of a container that runs; checks it where it doesn't. */
async function apply(
  ctx: Context,
  record: ContainerRecord,
  merged: ResourceRequest,
  changed: ResourceRequest,
): Promise<string[]> {
  const host = factsOf(ctx);
  const live = isUp(stateOf(ctx, record));
  const spec = updateOf(merged, changed);
  const plan = planCgroup(spec, record.cgroup, host, {
    onUnenforceable: merged.forceLimits,
    update: live,
    statistics: false,
  });
  if (!live) return plan.warnings;
  const groups = findGroups(host.cgroup, record.cgroup);
  if (spec.memory?.checkBeforeUpdate) checkMemoryUpdate(spec, groups);
  const scope = scopeOf(record);
  if (scope) await updateScope(plan, scope);
  applyUpdate(plan, groups);
  const all = planCgroup(updateOf(merged, merged), record.cgroup, host, {
    onUnenforceable: 'warn',
    update: true,
    statistics: false,
  });
  const file = containerPaths(ctx, record.id).changes;
  writeFileAtomic(file, encodeChanges(all), { durable: false });
  return plan.warnings;
}

function restoreDevices(ctx: Context, record: ContainerRecord): void {
  const { status } = stateOf(ctx, record);
  if (status !== 'running' && status !== 'paused') return;
  const devices = readRecord<Spec>(containerPaths(ctx, record.id).spec)?.linux?.resources?.devices;
  if (!devices) return;
  confineDevices(
    planCgroup({ devices }, record.cgroup, factsOf(ctx), { onUnenforceable: 'warn', statistics: false }),
  );
}

/** The OCI resources that a change writes: whole pairs (memory and swap, quota and period), and resets to no limit. */
function updateOf(merged: ResourceRequest, changed: ResourceRequest): SpecResources {
  const all = resourcesFromRequest(merged, blockDevice);
  const out: SpecResources = {};
  const touches = (...keys: (keyof ResourceRequest)[]): boolean => keys.some((k) => changed[k] !== undefined);
  if (touches('memory', 'memorySwap', 'memoryReservation')) {
    out.memory = { ...all.memory };
    // A limit taken away must be written as none, or the old one stays.
    if (touches('memory') && !out.memory.limit) out.memory.limit = -1;
    if (touches('memory', 'memorySwap') && !out.memory.swap) out.memory.swap = -1;
    if (touches('memoryReservation') && !out.memory.reservation) out.memory.reservation = 0;
  }
  if (touches('cpus', 'cpuQuota', 'cpuPeriod', 'cpuShares', 'cpusetCpus', 'cpusetMems')) {
    const cpu: NonNullable<SpecResources['cpu']> = {};
    if (touches('cpus', 'cpuQuota', 'cpuPeriod')) {
      cpu.quota = all.cpu?.quota ?? -1;
      cpu.period = all.cpu?.period ?? 100_000;
    }
    if (touches('cpuShares')) cpu.shares = all.cpu?.shares ?? 1024;
    if (touches('cpusetCpus') && all.cpu?.cpus) cpu.cpus = all.cpu.cpus;
    if (touches('cpusetMems') && all.cpu?.mems) cpu.mems = all.cpu.mems;
    out.cpu = cpu;
  }
  if (touches('pidsLimit')) out.pids = { limit: all.pids?.limit ?? -1 };
  const io = [
    'blkioWeight',
    'blkioWeightDevice',
    'deviceReadBps',
    'deviceWriteBps',
    'deviceReadIops',
    'deviceWriteIops',
  ] as const;
  if (touches(...io) && all.blockIO) out.blockIO = all.blockIO;
  if (changed.unified) out.unified = changed.unified;
  return out;
}

/** The limits as they are after a change: what it says nothing about stays. */
export function mergeResources(before: ResourceRequest, changes: ResourceRequest): ResourceRequest {
  const merged: ResourceRequest = { ...before };
  for (const [key, value] of Object.entries(changes)) {
    if (value !== undefined) (merged as Record<string, unknown>)[key] = value;
  }
  if (before.unified && changes.unified) merged.unified = { ...before.unified, ...changes.unified };
  // --cpus and --cpu-quota are two ways to say one thing: the later one counts.
  if (changes.cpus !== undefined) {
    delete merged.cpuQuota;
    delete merged.cpuPeriod;
  } else if (changes.cpuQuota !== undefined || changes.cpuPeriod !== undefined) {
    delete merged.cpus;
  }
  // Swap that was added to a memory limit goes with it; swap that was asked for must still fit.
  if (changes.memory !== undefined && changes.memorySwap === undefined && before.memorySwap !== undefined) {
    const { memorySwap } = before;
    if (memorySwap > 0 && changes.memory > memorySwap) {
      throw new InvalidError(
        'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
        {
          hint: 'give --memory-swap as well; it is memory plus swap',
        },
      );
    }
  }
  return merged;
}

function checkRestart(request: ContainerRecord['request']): void {
  if (request.autoRemove && request.restart.name !== 'no') {
    throw new InvalidError(
      'Restart policy cannot be updated because AutoRemove is enabled for the container',
    );
  }
}
