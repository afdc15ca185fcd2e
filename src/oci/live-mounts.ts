import { launch } from '../engine/launch.js';
import { hostFacts } from '../host/index.js';
import { type NamespaceKind, planLiveMounts } from '../plan/index.js';
import type { SpecMount } from '../spec/index.js';
import type { OciRecord } from './containers.js';
import { differentNamespaces } from './exec.js';
import type { Runtime } from './runtime.js';
import { loadSpec, saveSpec } from './spec-file.js';

/**
 * Attaches mounts in a container that runs. They are part of its configuration from then on, so that a checkpoint
 * knows of them.
 * @throws LaunchError at the first that can't be attached; those before it stay
 */
export async function addMounts(
  runtime: Runtime,
  record: OciRecord,
  mounts: readonly SpecMount[],
): Promise<void> {
  // One launch each: what is attached is on record, also where a later one fails.
  for (const mount of mounts) {
    await change(runtime, record, { add: [mount], remove: [] });
    const spec = loadSpec(runtime.root, record.id);
    saveSpec(runtime.root, record.id, { ...spec, mounts: [...(spec.mounts ?? []), mount] });
  }
}

/**
 * Takes the topmost mount away at each destination.
 * @throws LaunchError at the first place where nothing is mounted
 */
export async function removeMounts(
  runtime: Runtime,
  record: OciRecord,
  mounts: readonly SpecMount[],
): Promise<void> {
  for (const { destination } of mounts) {
    await change(runtime, record, { add: [], remove: [destination] });
    const spec = loadSpec(runtime.root, record.id);
    const at = (spec.mounts ?? []).findLastIndex((m) => m.destination === destination);
    if (at >= 0) saveSpec(runtime.root, record.id, { ...spec, mounts: spec.mounts!.toSpliced(at, 1) });
  }
}

async function change(
  runtime: Runtime,
  record: OciRecord,
  what: { add: SpecMount[]; remove: string[] },
): Promise<void> {
  const { pid } = record.init!;
  const namespaces = differentNamespaces(pid) as NamespaceKind[];
  const plan = planLiveMounts({ id: record.id, pid, namespaces, host: hostFacts(runtime.ctx), ...what });
  const { exit } = await launch(plan);
  await exit;
}
