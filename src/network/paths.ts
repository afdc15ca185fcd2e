import path from 'node:path';
import type { Context } from '../base/index.js';
import { createHash } from '../base/index.js';

export const networksDirectory = (ctx: Context) => path.join(ctx.root, 'networks');
export const stateDirectory = (ctx: Context) => path.join(ctx.state, 'network');
export const leasesDirectory = (ctx: Context, networkId: string) =>
  path.join(ctx.state, 'network/leases', networkId);
export const portsDirectory = (ctx: Context) => path.join(ctx.state, 'network/ports');
export const settingsDirectory = (ctx: Context) => path.join(ctx.state, 'network/containers');
export const settingsFile = (ctx: Context, id: string) =>
  path.join(ctx.state, 'network/containers', `${id}.json`);
export const sharedLock = (ctx: Context) => path.join(ctx.state, 'network/lock');

/** Names in the kernel that one installation owns. Another --state has others, so that both can live on one host. */
export interface KernelNames {
  /** nftables table. */
  table: string;
  /** The default bridge. */
  bridge: string;
  /** Prefix of other bridges. */
  prefix: string;
}

export function kernelNames(ctx: Context): KernelNames {
  if (path.resolve(ctx.state) === '/run/nsbox') return { table: 'nsbox', bridge: 'nsbox0', prefix: 'ns-' };
  const mark = createHash('sha256').update(path.resolve(ctx.state)).digest('hex').slice(0, 6);
  return { table: `nsbox-${mark}`, bridge: `nsbox-${mark}`, prefix: `n${mark}-` };
}
