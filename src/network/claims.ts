import { readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, isErrno } from '../base/index.js';
import { isAlive, processStat } from '../kernel/index.js';
import { ensureDirectory } from '../state/index.js';

/** Claims are symlinks whose text is the owner: made by one system call, never twice. See types.ts. */

let ticks: string | undefined;

/** How this process signs what it claims for a container. */
export function ownerFor(containerId: string): string {
  ticks ??= processStat(process.pid)?.startTicks ?? '0';
  return `${containerId}:${process.pid}:${ticks}`;
}

export const containerOf = (owner: string): string => owner.slice(0, owner.indexOf(':'));

/** Whether the process that signed a claim still runs. */
export function preparerLives(owner: string): boolean {
  const [, pid, startTicks] = owner.split(':');
  return isAlive({ pid: Number(pid), startTicks: startTicks ?? '' });
}

/** True when the claim is ours now, or was this container's before. */
export function claim(directory: string, name: string, owner: string): boolean {
  const link = path.join(directory, name);
  for (let tries = 0; ; tries++) {
    try {
      symlinkSync(owner, link);
      return true;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      if (!isErrno(error, 'ENOENT') || tries > 2) throw fromErrno(`create ${link}`, error, { path: link });
      ensureDirectory(directory);
    }
  }
}

/** Every claim in a directory by name. */
export function claims(directory: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const name of names(directory)) {
    const owner = ownerOf(directory, name);
    if (owner !== undefined) out.set(name, owner);
  }
  return out;
}

/** Names only: no system call for each. */
export function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw fromErrno(`read ${directory}`, error, { path: directory });
  }
}

export function ownerOf(directory: string, name: string): string | undefined {
  try {
    return readlinkSync(path.join(directory, name));
  } catch {
    return undefined;
  }
}

/** Gives a claim back if it is this container's. */
export function unclaim(directory: string, name: string, containerId: string): void {
  const owner = ownerOf(directory, name);
  if (owner === undefined || containerOf(owner) !== containerId) return;
  try {
    unlinkSync(path.join(directory, name));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`remove ${name}`, error, { path: directory });
  }
}
