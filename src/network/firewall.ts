import type { Context } from '../base/index.js';
import { listLinks, type Netlink, nft, nftTableExists } from '../kernel/index.js';
import { readRecord } from '../state/index.js';
import { forgetFlows } from './flows.js';
import { kernelNames, stateDirectory } from './paths.js';
import { networkElements, portElements, wholeTable } from './rules.js';
import { listSettings } from './settings.js';
import { listNetworks } from './store.js';
import type { NetworkRecord, NetworkSettings } from './types.js';

/** Ports where the names process listens, where 53 was taken. Written by it. */
export interface NamesPorts {
  device: string;
  protocol: 'tcp' | 'udp';
  port: number;
}

export const namesPortsFile = (ctx: Context) => `${stateDirectory(ctx)}/names.ports`;

/**
 * Replaces the table by what the records say, in one transaction. Networks without a bridge add
 * nothing.
 */
export function rebuildRules(ctx: Context, host: Netlink): void {
  const links = new Set(listLinks(host).map((l) => l.name));
  const networks = listNetworks(ctx).filter((n) => n.device && links.has(n.device));
  const { table } = kernelNames(ctx);
  if (networks.length === 0) {
    if (nftTableExists(table)) nft(`delete table inet ${table}\n`);
    return;
  }
  const ports = readRecord<NamesPorts[]>(namesPortsFile(ctx)) ?? [];
  nft(
    wholeTable(
      table,
      networks,
      listSettings(ctx),
      ports.filter((p) => links.has(p.device)),
    ),
  );
}

/** Changes the table; where it isn't as expected (someone else changed it), rebuilds it from the records. */
function change(ctx: Context, host: Netlink, commands: string): void {
  if (commands === '') return;
  try {
    nft(commands);
  } catch {
    rebuildRules(ctx, host);
  }
}

export function addNetworkRules(ctx: Context, network: NetworkRecord, host: Netlink): void {
  change(ctx, host, networkElements(kernelNames(ctx).table, network, 'add'));
}

export function publishPorts(ctx: Context, settings: NetworkSettings, host: Netlink): void {
  change(ctx, host, portElements(kernelNames(ctx).table, settings, 'add'));
  forgetFlows(settings.ports);
}

/** The settings' record must be gone or without its netns, so that a rebuild leaves the ports out. */
export function withdrawPorts(ctx: Context, settings: NetworkSettings, host: Netlink): void {
  const { table } = kernelNames(ctx);
  const commands = portElements(table, settings, 'delete');
  if (commands === '' || !nftTableExists(table)) return;
  change(ctx, host, commands);
  forgetFlows(settings.ports);
}
