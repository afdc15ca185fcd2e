import path from 'node:path';
import { type Context, InvalidError } from '../base/index.js';
import { acquireLock } from '../state/index.js';
import { claimName, claims, release } from './claims.js';
import { readContainer, writeContainer } from './containers.js';
import { emitEvent, eventAttributes } from './emit.js';
import { namesDirectory } from './paths.js';
import type { ContainerRecord } from './records.js';
import { setEventAttributes } from './stop.js';

/** Held while a container has two names, so that nobody takes one of them for left over. */
const renameLock = (ctx: Context): string => path.join(ctx.state, 'rename.lock');

/**
 * Gives a container another name: the new one is claimed, written, the old one given back. A crash in between leaves
 * a claim too many, which releaseOldNames() undoes.
 * @throws InvalidError, ConflictError where the name is in use
 */
export async function renameContainer(ctx: Context, record: ContainerRecord, name: string): Promise<void> {
  const wanted = name.replace(/^\//, '');
  if (wanted === record.name) {
    throw new InvalidError(`Renaming a container with the same name as its current name: ${wanted}`);
  }
  using _lock = await acquireLock(renameLock(ctx));
  claimName(ctx, wanted, record.id);
  try {
    writeContainer(ctx, { ...record, name: wanted });
  } catch (error) {
    release(path.join(namesDirectory(ctx), wanted), record.id);
    throw error;
  }
  release(path.join(namesDirectory(ctx), record.name), record.id);
  const { openNetworks } = await import('../network/index.js');
  openNetworks(ctx).rename(record.id, wanted);
  await setEventAttributes(ctx, record, eventAttributes({ ...record, name: wanted }));
  emitEvent(ctx, 'rename', { ...record, name: wanted }, { oldName: `/${record.name}` });
}

/** Gives back names that a container had before a rename which was killed half-way. */
export async function releaseOldNames(ctx: Context): Promise<void> {
  const stale = () =>
    claims(namesDirectory(ctx)).filter(([name, owner]) => {
      const record = readContainer(ctx, owner);
      return record !== undefined && record.name !== name;
    });
  if (stale().length === 0) return;
  using _lock = await acquireLock(renameLock(ctx));
  for (const [name, owner] of stale()) release(path.join(namesDirectory(ctx), name), owner);
}
