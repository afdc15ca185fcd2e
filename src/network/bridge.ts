import { type Context, createHash, NsboxError, shortId } from '../base/index.js';
import {
  addAddress,
  addLink,
  addVxlanPeer,
  deleteLink,
  getLink,
  type LinkInfo,
  listLinks,
  listRoutes,
  Netlink,
  nftTableExists,
  routeSource,
  setLinkUp,
} from '../kernel/index.js';
import { acquireLock } from '../state/index.js';
import { formatCidr, overlaps, parseAddress, parseCidr } from './address.js';
import { bypasses, setBypass } from './bypass.js';
import { addNetworkRules, rebuildRules } from './firewall.js';
import { kernelNames, sharedLock } from './paths.js';
import { freeSubnet, routedBlocks } from './pools.js';
import { listNetworks, replaceNetwork } from './store.js';
import { enableIpv6Forwarding, hasLink, setSysctl } from './sysctl.js';
import type { NetworkRecord } from './types.js';

/** Whether a network has a bridge of ours on this host. */
export const hasBridge = (network: Pick<NetworkRecord, 'driver'>): boolean =>
  network.driver === 'bridge' || network.driver === 'vxlan';

/**
 * The network's bridge, made if need be with its addresses and rules. Where all is in place this costs two small
 * questions to the kernel.
 * @throws NsboxError NETWORK
 */
export async function ensureBridge(ctx: Context, network: NetworkRecord, host: Netlink): Promise<LinkInfo> {
  const { table } = kernelNames(ctx);
  const there = getLink(host, network.device);
  const complete = there?.up && nftTableExists(table);
  if (complete && !bypasses(network)) return there;
  using _lock = await acquireLock(sharedLock(ctx));
  if (complete) {
    // A firewall that was reloaded has lost our rule.
    setBypass(ctx, true);
    return there;
  }
  const link = getLink(host, network.device);
  if (!link?.up) makeBridge(network, host, link !== undefined);
  if (nftTableExists(table)) addNetworkRules(ctx, network, host);
  else rebuildRules(ctx, host);
  if (bypasses(network)) setBypass(ctx, true);
  // Up means complete: whoever sees the bridge up relies on its addresses and rules.
  host.run([setLinkUp(network.device)]);
  return getLink(host, network.device)!;
}

function makeBridge(network: NetworkRecord, host: Netlink, stale: boolean): void {
  const { device } = network;
  // One that is down was left by a crash between its creation and its addresses: it is brought up last.
  if (stale) host.run([deleteLink(device)]);
  refuseOverlap(network, host);
  try {
    host.run([
      addLink(
        { kind: 'bridge' },
        {
          name: device,
          mac: stableMac(network.id),
          mtu: mtuOf(network, host),
          alias: `nsbox ${network.name}`,
        },
      ),
    ]);
    const index = getLink(host, device)!.index;
    setSysctl('ipv4/ip_forward', '1');
    setSysctl(`ipv4/conf/${device}/route_localnet`, '1');
    if (network.subnets.some((s) => s.subnet.includes(':'))) {
      enableIpv6Forwarding();
      // Nobody else has the bridge's addresses; without the second of doubt neighbours are found at once.
      setSysctl(`ipv6/conf/${device}/accept_dad`, '0');
    }
    host.run(
      network.subnets.flatMap((s) =>
        s.gateway ? [addAddress(index, parseAddress(s.gateway), parseCidr(s.subnet).prefix)] : [],
      ),
    );
    if (network.driver === 'vxlan') addVxlan(network, host, index);
  } catch (error) {
    host.run([deleteLink(vxlanName(network)), deleteLink(device)]);
    if (error instanceof NsboxError) throw error;
    throw new NsboxError(
      'NETWORK',
      `cannot make the bridge ${device} of network ${network.name}: ${reasonOf(error)}`,
      {
        errno: (error as { code?: string }).code,
        syscall: 'netlink',
        cause: error,
      },
    );
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * The default bridge's record as it can be brought up: where the host has got a route into its subnet since, another
 * subnet. Only while no container has an address of it.
 */
export function repickSubnet(ctx: Context, network: NetworkRecord): NetworkRecord {
  if (hasLink(network.device)) return network;
  using host = new Netlink();
  const routed = routedBlocks(host);
  const own = network.subnets.map((s) => parseCidr(s.subnet));
  if (!own.some((o) => routed.some((r) => overlaps(o, r)))) return network;
  const others = listNetworks(ctx)
    .filter((n) => n.id !== network.id)
    .flatMap((n) => n.subnets.map((s) => parseCidr(s.subnet)));
  const subnet = freeSubnet([...routed, ...others], true);
  const first = parseCidr(subnet).bytes;
  const gateway = `${first[0]}.${first[1]}.${first[2]}.${first[3]! + 1}`;
  const changed = { ...network, subnets: [{ subnet, gateway }] };
  replaceNetwork(ctx, changed);
  return changed;
}

function refuseOverlap(network: NetworkRecord, host: Netlink): void {
  for (const block of routedBlocks(host)) {
    for (const { subnet } of network.subnets) {
      if (!overlaps(parseCidr(subnet), block)) continue;
      // A narrower route through the same addresses, or the very same, would be hidden or hide ours.
      throw new NsboxError(
        'NETWORK',
        `the subnet ${subnet} of network ${network.name} overlaps ${formatCidr(block)}, to which this host has a route`,
        { hint: 'make the network with another --subnet' },
      );
    }
  }
}

/** A bridge's own MAC: by default it is the lowest of its ports' and changes as they come and go. */
function stableMac(id: string): Uint8Array {
  const digest = createHash('sha256').update(id).digest();
  return Uint8Array.of(0x02, 0x42, digest[0]!, digest[1]!, digest[2]!, digest[3]!);
}

/** --opt mtu; else the uplink's, where it is less than Ethernet's. */
export function mtuOf(network: NetworkRecord, host: Netlink): number | undefined {
  const asked = network.options['mtu'] ?? network.options['com.docker.network.driver.mtu'];
  if (asked) return Number(asked);
  const route = listRoutes(host).find((r) => !r.to && r.family === 4);
  const uplink = route && listLinks(host).find((l) => l.index === route.device);
  const base = Math.min(1500, uplink && uplink.mtu >= 1280 ? uplink.mtu : 1500);
  return network.driver === 'vxlan' ? base - 50 : base === 1500 ? undefined : base;
}

const vxlanName = (network: NetworkRecord) => `vx-${shortId(network.id)}`;

function addVxlan(network: NetworkRecord, host: Netlink, bridge: number): void {
  const name = vxlanName(network);
  const peers = network.peers.map(parseAddress);
  const asked = network.options['vxlan.local'];
  const local = asked ? parseAddress(asked) : peers[0] && routeSource(host, peers[0]);
  if (!local) {
    throw new NsboxError(
      'NETWORK',
      `network ${network.name}: this host has no route to the peer ${network.peers[0]}`,
      {
        hint: 'name the local address with `--opt vxlan.local=ADDRESS`',
      },
    );
  }
  host.run([
    addLink(
      { kind: 'vxlan', id: vxlanId(network), local, port: Number(network.options['vxlan.port'] ?? 4789) },
      { name, master: bridge, mtu: mtuOf(network, host), up: true },
    ),
  ]);
  const { index } = getLink(host, name)!;
  host.run(peers.map((peer) => addVxlanPeer(index, peer)));
}

/** The VNI follows from the name, so that hosts agree without being told. */
export function vxlanId(network: Pick<NetworkRecord, 'name' | 'options'>): number {
  const asked = network.options['vxlan.id'];
  if (asked) return Number(asked);
  return createHash('sha256').update(network.name).digest().readUInt32BE(0) & 0xffffff || 1;
}

/** Takes the bridge down, if it is there. The rules are the caller's. */
export function removeBridge(network: NetworkRecord, host: Netlink): void {
  host.run([deleteLink(vxlanName(network)), deleteLink(network.device)]);
}
