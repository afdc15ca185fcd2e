import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fromErrno, NsboxError } from '../../base/index.js';
import type { CgroupFacts } from '../../host/index.js';
import { type Holder, spawnHolder } from '../../kernel/index.js';
import type { Limit } from '../limits.js';
import { type ScopeName, supervisorOf } from '../path.js';
import { BusError, SystemdBus } from './bus.js';
import { NO_LIMIT, type Property, scopeProperties } from './properties.js';
import { Variant } from './wire.js';

/** A scope that has been made, held open by a process of its own until the container's are in it. */
export interface HeldScope {
  /** The container runs in it (or never will): a scope without processes goes. */
  release(): void;
}

export interface ScopeRequest {
  name: ScopeName;
  /** Shown by systemctl. */
  description: string;
  limits: readonly Limit[];
  /** Tasks besides the container's that the scope holds: its monitor, and the holder. */
  extraTasks: number;
}

/**
 * Has systemd make a delegated scope, and returns when its group is there. systemd wants a process in it from the
 * start: a holder of ours, which goes with `release`, or with this process.
 * @throws BusError with systemd's words; UnsupportedError where no systemd answers
 */
export async function makeScope(facts: CgroupFacts, request: ScopeRequest): Promise<HeldScope> {
  using bus = await SystemdBus.connect();
  const { name } = request;
  const holder = spawnHolder(name.unit);
  try {
    const properties: Property[] = [
      ['Description', new Variant('s', request.description)],
      ['Slice', new Variant('s', name.slice)],
      ['PIDs', new Variant('au', [holder.pid])],
      ['Delegate', new Variant('b', true)],
      ['DefaultDependencies', new Variant('b', false)],
      ['CollectMode', new Variant('s', 'inactive-or-failed')],
      ...['CPUAccounting', 'MemoryAccounting', 'IOAccounting', 'TasksAccounting'].map(
        (accounting): Property => [accounting, new Variant('b', true)],
      ),
      // Not systemd's default of 15 % of the machine's: nobody asked for that.
      ['TasksMax', new Variant('t', NO_LIMIT)],
      ...withRoom(scopeProperties(request.limits), request.extraTasks),
    ];
    await startUnit(bus, name.unit, properties);
    if (name.leaf) leaveRoot(facts, name, holder);
    return { release: () => holder.end() };
  } catch (error) {
    holder.end();
    throw error;
  }
}

/** Starts the unit; one of an earlier run that is still going is waited for, one that failed is forgotten. */
async function startUnit(bus: SystemdBus, unit: string, properties: Property[]): Promise<void> {
  for (let round = 0; ; round++) {
    try {
      const [job] = await bus.manager('StartTransientUnit', 'ssa(sv)a(sa(sv))', [
        unit,
        'fail',
        properties,
        [],
      ]);
      const result = await bus.job(job as string);
      if (result === 'done') return;
      throw new NsboxError('UNSUPPORTED', `systemd could not start ${unit}: ${result}`, {
        hint: `see journalctl -u ${unit}`,
      });
    } catch (error) {
      const exists = error instanceof BusError && error.busName === 'org.freedesktop.systemd1.UnitExists';
      if (!exists || round >= 5) throw error;
      await stopUnit(bus, unit);
    }
  }
}

/**
 * Stops a container's scope with whatever is in it; gone already is fine.
 * @throws BusError with systemd's words
 */
export async function stopScope(facts: CgroupFacts, name: ScopeName): Promise<void> {
  // It goes by itself with its last process, most often before anybody asks.
  if (!existsSync(`${facts.unified}${name.path}`)) return;
  using bus = await SystemdBus.connect();
  await stopUnit(bus, name.unit);
}

async function stopUnit(bus: SystemdBus, unit: string): Promise<void> {
  try {
    const [job] = await bus.manager('StopUnit', 'ss', [unit, 'replace']);
    await bus.job(job as string);
    await bus.manager('ResetFailedUnit', 's', [unit]);
  } catch (error) {
    if (!(error instanceof BusError) || error.busName !== 'org.freedesktop.systemd1.NoSuchUnit') throw error;
  }
}

/**
 * Tells systemd the new limits of a scope, which it writes at once and keeps over a daemon-reload.
 * @throws BusError with systemd's words
 */
export async function updateScope(
  name: ScopeName,
  limits: readonly Limit[],
  extraTasks: number,
): Promise<void> {
  const properties = withRoom(scopeProperties(limits), extraTasks);
  if (properties.length === 0) return;
  using bus = await SystemdBus.connect();
  await bus.manager('SetUnitProperties', 'sba(sv)', [name.unit, true, properties]);
}

/** The container's own group limits its tasks exactly; the scope around it has room for ours besides. */
function withRoom(properties: Property[], extra: number): Property[] {
  return properties.map(([name, value]): Property => {
    if (name !== 'TasksMax' || (value.value as bigint) >= 2n ** 63n) return [name, value];
    return [name, new Variant('t', (value.value as bigint) + BigInt(extra))];
  });
}

function leaveRoot(facts: CgroupFacts, name: ScopeName, holder: Holder): void {
  const directory = `${facts.unified}${supervisorOf(name)}`;
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}/cgroup.procs`, String(holder.pid));
  } catch (error) {
    throw fromErrno(`put process ${holder.pid} into ${directory}`, error, { path: directory });
  }
}
