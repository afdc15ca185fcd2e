import { readFileSync } from 'node:fs';
import type { Context } from '../../base/index.js';
import { isAlive } from '../../kernel/index.js';
import { stateDirectory } from '../paths.js';

/** Files through which commands and the names process know of each other. */
export const namesLock = (ctx: Context) => `${stateDirectory(ctx)}/names.lock`;
/** `pid:startTicks` of the process that holds the lock. */
export const namesPid = (ctx: Context) => `${stateDirectory(ctx)}/names.pid`;
/** What the process serves by now: a JSON array of itself, ids of networks, `proto_ip_port` of relays, ids of containers. */
export const namesReady = (ctx: Context) => `${stateDirectory(ctx)}/names.ready`;

/** Pid of the names process, if it runs. */
export function helperPid(ctx: Context): number | undefined {
  try {
    const [pid = '', startTicks = ''] = readFileSync(namesPid(ctx), 'latin1').trim().split(':');
    return isAlive({ pid: Number(pid), startTicks }) ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}
