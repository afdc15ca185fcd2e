import { readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { type Context, isErrno } from '../base/index.js';
import { ensureDirectory, readRecord, writeRecord } from '../state/index.js';
import { ownerOf, preparerLives } from './claims.js';
import { leasesDirectory, settingsDirectory, settingsFile } from './paths.js';
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

/** Names it anew; whether it has been wired is kept. Nothing happens to one that holds nothing. */
export function renameSettings(ctx: Context, containerId: string, containerName: string): void {
  const settings = readSettings(ctx, containerId);
  if (!settings) return;
  const wired = isWired(ctx, containerId);
  writeSettings(ctx, { ...settings, containerName });
  if (wired) markWired(ctx, containerId);
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

/**
 * Whether a container has ended, as its links tell: they go with its namespace. One that is just being wired, and one
 * whose links can't be seen from here (macvlan, ipvlan, CNI), has not.
 * @param links names of the host's links
 */
export function hasEnded(ctx: Context, settings: NetworkSettings, links: ReadonlySet<string>): boolean {
  const { endpoints } = settings;
  if (endpoints.length === 0 || !endpoints.every((e) => e.hostInterface)) return false;
  if (endpoints.some((e) => links.has(e.hostInterface))) return false;
  // Between the record and the links its preparing process is at work.
  try {
    if (isWired(ctx, settings.containerId)) return true;
  } catch {
    return false;
  }
  const first = endpoints[0]!;
  const address = first.ipv4?.address ?? first.ipv6?.address ?? '';
  const owner = ownerOf(leasesDirectory(ctx, first.networkId), address);
  return owner === undefined || !preparerLives(owner);
}

/** Modification time, in seconds, of a record whose links have been made: a mark that costs one system call. */
const WIRED = 1;

function isWired(ctx: Context, containerId: string): boolean {
  return statSync(settingsFile(ctx, containerId)).mtimeMs === WIRED * 1000;
}

/** Notes that a container's links are there, so that they may be missed. */
export function markWired(ctx: Context, containerId: string): void {
  utimesSync(settingsFile(ctx, containerId), WIRED, WIRED);
}
