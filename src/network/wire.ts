import { closeSync, openSync, readFileSync } from 'node:fs';
import { type Context, fromErrno, InvalidError, isErrno, NsboxError } from '../base/index.js';
import {
  addAddress,
  addLink,
  addRoute,
  deleteLink,
  getLink,
  type LinkInfo,
  Netlink,
  type NetlinkMessage,
  setHairpin,
  setIsolated,
  setLinkUp,
} from '../kernel/index.js';
import { parseAddress, parseMac } from './address.js';
import { ensureBridge, hasBridge, mtuOf } from './bridge.js';
import { talksWithin } from './rules.js';
import type { Endpoint, NetworkRecord } from './types.js';

/**
 * Puts the ends of links into a container's network namespace and gives them addresses and routes.
 *
 * The veth pair is born in its two places with one message: host end a port of the bridge and up, container end in
 * the namespace. The rest goes over a socket that was opened in the namespace. For one bridge network these are five
 * exchanges with the kernel and no process.
 */
export async function wire(
  ctx: Context,
  endpoints: readonly { endpoint: Endpoint; network: NetworkRecord }[],
  netns: string,
  defaultRoute: Endpoint | undefined,
  published = false,
): Promise<void> {
  using host = new Netlink();
  let fd: number;
  try {
    fd = openSync(netns, 'r');
  } catch (error) {
    throw fromErrno(`open the network namespace ${netns}`, error, { path: netns });
  }
  try {
    using inside = new Netlink(netns);
    inside.run([setLinkUp('lo')]);
    for (const { endpoint, network } of endpoints) {
      if (hasBridge(network)) {
        const bridge = await ensureBridge(ctx, network, host);
        addPair(host, endpoint, bridge, fd, {
          hairpin: published && filtersBridges(),
          isolated: !talksWithin(network),
        });
      } else {
        addDirect(host, endpoint, network, fd);
      }
      configure(inside, endpoint, network, endpoint === defaultRoute);
    }
  } catch (error) {
    if (error instanceof NsboxError) throw error;
    const e = error as { code?: string; message?: string; reason?: string };
    const unknown = e.reason === 'Unknown device type';
    throw new NsboxError('NETWORK', `cannot wire the container's network: ${e.message ?? String(error)}`, {
      errno: e.code,
      syscall: 'netlink',
      path: netns,
      ...(unknown ? { hint: 'this kernel was built without that kind of link, or lacks its module' } : {}),
      cause: error,
    });
  } finally {
    closeSync(fd);
  }
}

function addPair(
  host: Netlink,
  endpoint: Endpoint,
  bridge: LinkInfo,
  netnsFd: number,
  port: { hairpin: boolean; isolated: boolean },
): void {
  const mtu = bridge.mtu === 1500 ? undefined : bridge.mtu;
  const pair = addLink(
    {
      kind: 'veth',
      peer: { name: endpoint.interface, netnsFd, mac: parseMac(endpoint.mac), mtu },
    },
    { name: endpoint.hostInterface, master: bridge.index, up: true, mtu },
  );
  const messages = [pair];
  if (port.hairpin) messages.push(setHairpin(endpoint.hostInterface));
  if (port.isolated) messages.push(setIsolated(endpoint.hostInterface));
  try {
    host.run(messages);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    // The pair of the container's last run: its namespace is being taken apart.
    host.run([deleteLink(endpoint.hostInterface)]);
    host.run(messages);
  }
}

/**
 * Whether the host's rules see bridged frames too. Then a published port is translated before the frame has left the
 * bridge, and a container that asks for its own port is to get the frame back through the port it sent it by.
 * @see https://docs.kernel.org/networking/bridge.html, br_netfilter
 */
function filtersBridges(): boolean {
  try {
    return readFileSync('/proc/sys/net/bridge/bridge-nf-call-iptables', 'latin1').trim() === '1';
  } catch {
    return false; // br_netfilter isn't there
  }
}

const MACVLAN_MODES: Record<string, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };
const IPVLAN_MODES: Record<string, number> = { l2: 0, l3: 1, l3s: 2 };

/** Checked when the network is made. */
export function checkDirectOptions(network: Pick<NetworkRecord, 'driver' | 'options'>): void {
  const modes = network.driver === 'macvlan' ? MACVLAN_MODES : IPVLAN_MODES;
  const mode = modeOf(network);
  if (!(mode in modes)) {
    throw new InvalidError(
      `invalid ${network.driver}_mode ${JSON.stringify(mode)}: expected one of ${Object.keys(modes).join(', ')}`,
    );
  }
}

export function modeOf(network: Pick<NetworkRecord, 'driver' | 'options'>): string {
  return network.options[`${network.driver}_mode`] ?? (network.driver === 'macvlan' ? 'bridge' : 'l2');
}

/** macvlan and ipvlan: a link on top of one of the host's. */
function addDirect(host: Netlink, endpoint: Endpoint, network: NetworkRecord, netnsFd: number): void {
  const parent = ensureParent(host, network);
  const mode = modeOf(network);
  const mtu = mtuOf(network, host);
  const options = { name: endpoint.interface, netnsFd, mtu };
  host.run([
    network.driver === 'macvlan'
      ? addLink(
          { kind: 'macvlan', parent: parent.index, mode: MACVLAN_MODES[mode]! },
          { ...options, mac: parseMac(endpoint.mac) },
        )
      : addLink({ kind: 'ipvlan', parent: parent.index, mode: IPVLAN_MODES[mode]! }, options),
  ]);
}

/** `--opt parent=eth0`, or eth0.100 for a VLAN that is made if need be; without one, a bridge without ports. */
function ensureParent(host: Netlink, network: NetworkRecord): LinkInfo {
  const name = parentOf(network);
  const there = getLink(host, name);
  if (there) {
    if (!there.up) host.run([setLinkUp(name)]);
    return there;
  }
  const vlan = /^(.+)\.(\d{1,4})$/.exec(name);
  if (!network.options['parent']) {
    host.run([addLink({ kind: 'bridge' }, { name, up: true, alias: `nsbox ${network.name}` })]);
  } else if (vlan) {
    const below = getLink(host, vlan[1]!);
    if (!below) throw noParent(network, vlan[1]!);
    host.run([
      addLink(
        { kind: 'vlan', parent: below.index, id: Number(vlan[2]) },
        { name, up: true, alias: `nsbox ${network.name}` },
      ),
    ]);
  } else throw noParent(network, name);
  return getLink(host, name)!;
}

function noParent(network: NetworkRecord, name: string): NsboxError {
  return new NsboxError('NETWORK', `network ${network.name}: this host has no link ${name}`, {
    hint: 'name one of `ls /sys/class/net` with `--opt parent=LINK`',
  });
}

export function parentOf(network: NetworkRecord): string {
  return network.options['parent'] ?? `dm-${network.id.slice(0, 12)}`;
}

/** Removes the parent link of a removed network, if nsbox made it. */
export function removeParent(network: NetworkRecord, host: Netlink): void {
  const name = parentOf(network);
  const ours = !network.options['parent'] || /\.\d{1,4}$/.test(name);
  if (!ours) return;
  const link = getLink(host, name);
  if (link && (link.kind === 'bridge' || link.kind === 'vlan')) host.run([deleteLink(name)]);
}

/** Addresses and routes, inside. */
function configure(
  inside: Netlink,
  endpoint: Endpoint,
  network: NetworkRecord,
  withDefaultRoute: boolean,
): void {
  const { index } = getLink(inside, endpoint.interface)!;
  const messages: NetlinkMessage[] = [];
  const { ipv4, ipv6 } = endpoint;
  if (ipv4) messages.push(addAddress(index, parseAddress(ipv4.address), ipv4.prefix));
  if (ipv6) messages.push(addAddress(index, parseAddress(ipv6.address), ipv6.prefix));
  messages.push(setLinkUp(endpoint.interface));
  if (withDefaultRoute) messages.push(...defaultRoutes(endpoint, network, index));
  inside.run(messages);
}

function defaultRoutes(endpoint: Endpoint, network: NetworkRecord, index: number): NetlinkMessage[] {
  // On a layer 3 ipvlan there is nobody to ask for an address of the gateway: everything goes out of the link.
  const layer3 = network.driver === 'ipvlan' && modeOf(network) !== 'l2';
  const messages: NetlinkMessage[] = [];
  for (const [at, family] of [
    [endpoint.ipv4, 4],
    [endpoint.ipv6, 6],
  ] as const) {
    if (!at) continue;
    if (layer3) messages.push(addRoute({ device: index, family }));
    else if (at.gateway) messages.push(addRoute({ via: parseAddress(at.gateway), device: index }));
  }
  return messages;
}

/** Leads out by another endpoint, after the one that did was taken away. */
export function setDefaultRoute(endpoint: Endpoint, network: NetworkRecord, netns: string): void {
  using inside = new Netlink(netns);
  const link = getLink(inside, endpoint.interface);
  if (link) inside.run(defaultRoutes(endpoint, network, link.index));
}

/** Takes one endpoint away from a namespace. */
export function unwire(endpoint: Endpoint, netns: string | undefined): void {
  if (endpoint.hostInterface) {
    using host = new Netlink();
    host.run([deleteLink(endpoint.hostInterface)]);
  } else if (netns) {
    try {
      using inside = new Netlink(netns);
      inside.run([deleteLink(endpoint.interface)]);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // the namespace is gone, and the link with it
    }
  }
}
