import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Context, isErrno } from '../base/index.js';
import { ensureDirectory, readRecord, writeRecord } from '../state/index.js';
import { settingsDirectory, settingsFile } from './paths.js';
import type { NetworkSettings } from './types.js';

/** What containers were given. These records die with the boot, as links and leases do, so they need no fsync. */

export function readSettings(ctx: Context, containerId: string): NetworkSettings | undefined {
  return readRecord<NetworkSettings>(settingsFile(ctx, containerId));
}

export function writeSettings(ctx: Context, settings: NetworkSettings): void {
  const file = settingsFile(ctx, settings.containerId);
  try {
    writeRecord(file, settings, { durable: false });
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    ensureDirectory(settingsDirectory(ctx));
    writeRecord(file, settings, { durable: false });
  }
}

export function removeSettings(ctx: Context, containerId: string): void {
  rmSync(settingsFile(ctx, containerId), { force: true });
}

export function settingsIds(ctx: Context): string[] {
  try {
    return readdirSync(settingsDirectory(ctx))
      .filter((f) => f.endsWith('.json'))
      .map((f) => path.basename(f, '.json'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Those of every container that holds addresses or ports. */
export function listSettings(ctx: Context): NetworkSettings[] {
  return settingsIds(ctx).flatMap((id) => readSettings(ctx, id) ?? []);
}
