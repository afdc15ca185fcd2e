import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Context, isErrno } from '../base/index.js';
import { directoriesOf, findGroups, killAll, removeEmptyParents, removeGroups } from '../cgroup/index.js';
import { removeTree, tryLock } from '../kernel/index.js';
import { readRecord, sweepTemporary, writeRecord } from '../state/index.js';
import { claims, release } from './claims.js';
import { lockContainer } from './container-lock.js';
import { containerIds, isHeld, readContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { containerPaths, idsDirectory, namesDirectory, poststopNote, sandboxesDirectory } from './paths.js';
import { runDuePoststop } from './poststop.js';
import type { ExitRecord, RunningRecord } from './records.js';
import { finishRemoval, killContainer, volumeUsers } from './remove.js';
import { releaseOldNames } from './rename.js';
import { factsOf } from './sandbox.js';
import { openVolumes } from './volumes.js';

/**
 * Puts right what a killed process or a power loss left: containers whose monitor died, half-made and half-removed
 * ones, sandboxes, claims, cgroups and addresses without an owner. Whatever a living process holds is locked and left
 * alone. Cheap where there is nothing to do.
 */
export async function recover(ctx: Context): Promise<void> {
  const live = new Owners(ctx);
  for (const id of containerIds(ctx)) {
    if (await recoverContainer(ctx, id)) live.add(id);
  }
  for (const directory of [path.join(ctx.state, 'containers')]) {
    for (const name of names(directory)) {
      if (!isHeld(path.join(directory, name, 'lock')) && !live.has(name))
        await removeTree(path.join(directory, name));
    }
  }
  await recoverSandboxes(ctx, live);
  for (const directory of [namesDirectory(ctx), idsDirectory(ctx)]) {
    for (const [name, owner] of claims(directory)) {
      // One being made has its claim before its record: its lock tells.
      if (!isHeld(containerPaths(ctx, owner).lock) && !live.has(owner))
        release(path.join(directory, name), owner);
    }
  }
  await releaseOldNames(ctx);
  await openVolumes(ctx).recover(
    (id) => !isHeld(containerPaths(ctx, id).lock) && !live.has(id),
    (name) => volumeUsers(ctx, name),
  );
  for (const directory of [
    ctx.state,
    path.join(ctx.state, 'network'),
    path.join(ctx.state, 'network/containers'),
    path.join(ctx.root, 'networks'),
    ...[...live].map((id) => containerPaths(ctx, id).data),
  ]) {
    sweepTemporary(directory);
  }
  await recoverGroups(ctx, live);
  const { openNetworks } = await import('../network/index.js');
  await openNetworks(ctx).recover(live);
}

/**
 * Those who may own something. What was made after we looked counts as well: has() looks again, so that a recovery
 * takes nothing from a container that is being started meanwhile.
 */
class Owners extends Set<string> {
  readonly #ctx: Context;
  constructor(ctx: Context) {
    super();
    this.#ctx = ctx;
  }
  override has(id: string): boolean {
    if (super.has(id)) return true;
    const own = path.join(sandboxesDirectory(this.#ctx), id);
    return existsSync(containerPaths(this.#ctx, id).data) || existsSync(own);
  }
}

/** @returns whether the container (still) exists, or is being made by a living process */
async function recoverContainer(ctx: Context, id: string): Promise<boolean> {
  const paths = containerPaths(ctx, id);
  if (isHeld(paths.lock) && !readContainer(ctx, id)?.removing) return true;
  // Whoever starts or removes it right now will do so to the end, or be recovered later.
  using lock = await lockContainer(ctx, id, 0).catch(() => undefined);
  if (!lock) return existsSync(paths.data);
  if (isHeld(paths.lock)) {
    // A removal whose process was killed while the monitor still lives: nobody else will end it.
    const removed = readContainer(ctx, id);
    if (!removed?.removing) return true;
    await killContainer(ctx, removed);
  }
  const record = readContainer(ctx, id);
  if (!record) {
    await removeTree(paths.data);
    return false;
  }
  if (record.removing) {
    await finishRemoval(ctx, record, false);
    return false;
  }
  const aside = readRecord<ExitRecord>(paths.exitAside);
  if (aside) {
    try {
      writeRecord(paths.exit, aside);
      rmSync(paths.exitAside);
    } catch {
      // the disk is still full
    }
  }
  const running = readRecord<RunningRecord>(paths.running);
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  if (!running) {
    if (directoriesOf(groups).length > 0) {
      await killAll(groups);
      await removeGroups(groups);
    }
    await runDuePoststop(ctx, paths.poststop);
    return true;
  }
  // Its monitor was killed: so was (or is now) the program.
  await killAll(groups);
  await removeGroups(groups);
  const { openNetworks } = await import('../network/index.js');
  await openNetworks(ctx).release(id);
  await runDuePoststop(ctx, paths.poststop);
  const end: ExitRecord = {
    exitCode: 137,
    signal: 9,
    oomKilled: false,
    startedAt: running.startedAt,
    finishedAt: new Date().toISOString(),
    restartCount: running.restartCount,
    error: 'the monitor of the container was killed',
  };
  writeRecord(paths.exit, end);
  rmSync(paths.running, { force: true });
  emitEvent(ctx, 'die', record, { exitCode: '137' });
  if (!record.request.autoRemove) return true;
  await finishRemoval(ctx, record, true);
  return false;
}

/** Sandboxes of the library: their monitor holds a lock on the directory. */
async function recoverSandboxes(ctx: Context, live: Set<string>): Promise<void> {
  const directory = sandboxesDirectory(ctx);
  for (const name of names(directory)) {
    const full = path.join(directory, name);
    let fd: number;
    try {
      // One that was made a moment ago may not be locked yet.
      if (Date.now() - statSync(full).ctimeMs < 5000) {
        live.add(name);
        continue;
      }
      fd = openSync(full, 'r');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) continue;
      throw error;
    }
    const free = tryLock(fd, 'exclusive');
    if (free) {
      await runDuePoststop(ctx, poststopNote(full));
      await removeTree(full);
    } else live.add(name);
    closeSync(fd);
  }
}

/** Groups below /nsbox that belong to nobody. Those under another parent are found by their container's record. */
async function recoverGroups(ctx: Context, live: Set<string>): Promise<void> {
  const { cgroup } = factsOf(ctx);
  const found = new Set<string>();
  for (const mount of [cgroup.unified, ...Object.values(cgroup.v1)]) {
    if (!mount) continue;
    for (const name of names(`${mount}/nsbox`)) if (/^[0-9a-f]{64}$/.test(name)) found.add(name);
  }
  for (const id of found) {
    // Groups of another root (tests, students) have owners that we can't see: only ours are marked by a claim.
    if (live.has(id) || !ownsGroup(ctx, id)) continue;
    const groups = findGroups(cgroup, `/nsbox/${id}`);
    await killAll(groups);
    await removeGroups(groups);
  }
  removeEmptyParents(cgroup);
}

/** A group without processes belongs to nobody who could miss it, whichever root it was made for. */
function ownsGroup(ctx: Context, id: string): boolean {
  const groups = findGroups(factsOf(ctx).cgroup, `/nsbox/${id}`);
  for (const directory of directoriesOf(groups)) {
    try {
      // Made a moment ago: its process may be on the way.
      if (Date.now() - statSync(directory).ctimeMs < 60_000) return false;
    } catch {
      return false;
    }
  }
  return groups.unified !== null && /^populated 0/m.test(readEvents(groups.unified));
}

function readEvents(directory: string): string {
  try {
    return readFileSync(`${directory}/cgroup.events`, 'latin1');
  } catch {
    return '';
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
