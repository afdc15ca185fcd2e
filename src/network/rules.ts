import { formatAddress, parseAddress } from './address.js';
import { bypassChains, bypasses } from './bypass.js';
import type { NetworkRecord, NetworkSettings, PortBinding } from './types.js';

/**
 * The table `nsbox` as text for nft(8): everything that filters or translates. Pure.
 *
 * Whatever the number of networks, containers and ports, a packet meets the same few rules: what differs between them
 * is elements of sets and maps, which are hashed or, for blocks of addresses, trees.
 *
 * The chains accept; they never override what the host's own firewall drops, since an accept ends only the chain it
 * is in. What they drop: new connections between networks, into and out of internal networks, to ports that aren't
 * published, and packets from containers to the host's loopback addresses.
 */
export function tableText(table: string): string {
  const t = `inet ${table}`;
  return `add table ${t}
add set ${t} bridges { type ifname; }
add set ${t} internal { type ifname; }
add set ${t} same { type ifname . ifname; }
add set ${t} masquerade4 { type ipv4_addr; flags interval; }
add set ${t} masquerade6 { type ipv6_addr; flags interval; }
add set ${t} hairpin4 { type ipv4_addr . ifname; flags interval; }
add set ${t} hairpin6 { type ipv6_addr . ifname; flags interval; }
add map ${t} publish4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add map ${t} publish4any { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map ${t} publish6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
add map ${t} publish6any { type inet_proto . inet_service : ipv6_addr . inet_service; }
add map ${t} names { type ifname . inet_proto : inet_service; }
add chain ${t} publish
add rule ${t} publish dnat ip to ip daddr . meta l4proto . th dport map @publish4
add rule ${t} publish dnat ip to meta l4proto . th dport map @publish4any
add rule ${t} publish dnat ip6 to ip6 daddr . meta l4proto . th dport map @publish6
add rule ${t} publish ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @publish6any
add chain ${t} loopback { type filter hook prerouting priority raw; policy accept; }
add rule ${t} loopback iifname @bridges ip daddr 127.0.0.0/8 drop
add chain ${t} prerouting { type nat hook prerouting priority dstnat; policy accept; }
add rule ${t} prerouting fib daddr type local jump publish
add rule ${t} prerouting meta l4proto { tcp, udp } th dport 53 fib daddr type local redirect to iifname . meta l4proto map @names
add chain ${t} output { type nat hook output priority -100; policy accept; }
add rule ${t} output fib daddr type local jump publish
add chain ${t} postrouting { type nat hook postrouting priority srcnat; policy accept; }
add rule ${t} postrouting ct status dnat ip saddr . oifname @hairpin4 masquerade
add rule ${t} postrouting ct status dnat ip6 saddr . oifname @hairpin6 masquerade
add rule ${t} postrouting ip saddr 127.0.0.0/8 oifname @bridges masquerade
add rule ${t} postrouting ip saddr @masquerade4 oifname != @bridges masquerade
add rule ${t} postrouting ip6 saddr @masquerade6 oifname != @bridges masquerade
add chain ${t} between
add rule ${t} between iifname . oifname @same accept
add rule ${t} between iifname @internal drop
add rule ${t} between oifname @internal drop
add rule ${t} between ct status dnat accept
add rule ${t} between drop
add chain ${t} forward { type filter hook forward priority filter; policy accept; }
add rule ${t} forward ct state established,related accept
add rule ${t} forward iifname @bridges oifname @bridges goto between
add rule ${t} forward iifname @internal drop
add rule ${t} forward oifname @internal drop
add rule ${t} forward oifname @bridges ct status dnat accept
add rule ${t} forward oifname @bridges drop
add chain ${t} input { type filter hook input priority filter; policy accept; }
add rule ${t} input iifname @internal ct state new meta l4proto { icmp, ipv6-icmp } accept
add rule ${t} input iifname @internal ct state new meta l4proto { tcp, udp } th dport 53 accept
add rule ${t} input iifname @internal ct state new ct status dnat accept
add rule ${t} input iifname @internal ct state new drop
`;
}

/** Elements of one network whose bridge is up. */
export function networkElements(table: string, network: NetworkRecord, verb: 'add' | 'delete'): string {
  const lines: string[] = [];
  const element = (set: string, key: string) => lines.push(`${verb} element inet ${table} ${set} { ${key} }`);
  const device = JSON.stringify(network.device);
  if (bypasses(network)) {
    if (verb === 'add') lines.push(bypassChains(table).trimEnd());
    element('bypass', device);
  }
  element('bridges', device);
  if (talksWithin(network)) element('same', `${device} . ${device}`);
  if (network.internal) element('internal', device);
  const masquerade = !network.internal && masquerades(network);
  for (const { subnet } of network.subnets) {
    const v = subnet.includes(':') ? 6 : 4;
    element(`hairpin${v}`, `${subnet} . ${device}`);
    if (masquerade) element(`masquerade${v}`, subnet);
  }
  return `${lines.join('\n')}\n`;
}

/** --opt com.docker.network.bridge.enable_ip_masquerade=false */
export function masquerades(network: NetworkRecord): boolean {
  return isOn(network, 'com.docker.network.bridge.enable_ip_masquerade', true);
}

/** --opt com.docker.network.bridge.enable_icc=false: containers of the network reach each other by published ports only. */
export function talksWithin(network: NetworkRecord): boolean {
  return isOn(network, 'com.docker.network.bridge.enable_icc', true);
}

function isOn(network: NetworkRecord, option: string, otherwise: boolean): boolean {
  const value = network.options[option];
  return value === undefined ? otherwise : /^(1|t|true)$/i.test(value);
}

/** A published port as the element of a map; undefined where the container has no address of that family. */
function portElement(
  settings: NetworkSettings,
  port: PortBinding,
): { map: string; key: string; value: string } | undefined {
  const v6 = port.hostIp.includes(':');
  const endpoint = settings.endpoints.find((e) => publishes(e) && (v6 ? e.ipv6 : e.ipv4));
  const to = v6 ? endpoint?.ipv6?.address : endpoint?.ipv4?.address;
  if (!to) return undefined;
  const any = port.hostIp === '0.0.0.0' || port.hostIp === '::';
  const address = formatAddress(parseAddress(port.hostIp));
  return {
    map: `publish${v6 ? 6 : 4}${any ? 'any' : ''}`,
    key: `${any ? '' : `${address} . `}${port.protocol} . ${port.hostPort}`,
    value: `${to} . ${port.containerPort}`,
  };
}

/** Whether ports are published on an endpoint's network. */
export function publishes(endpoint: { driver: string; internal: boolean }): boolean {
  return (endpoint.driver === 'bridge' || endpoint.driver === 'vxlan') && !endpoint.internal;
}

/** Whether a binding needs the relay in user space: from ::1, or from IPv6 to a container without it, the kernel can't translate. */
export function needsRelay(settings: NetworkSettings, port: PortBinding): boolean {
  if (port.protocol === 'sctp' || !port.hostIp.includes(':')) return false;
  if (!settings.endpoints.some(publishes)) return false;
  return port.hostIp === '::' || port.hostIp === '::1' || portElement(settings, port) === undefined;
}

export function portElements(table: string, settings: NetworkSettings, verb: 'add' | 'delete'): string {
  const lines = settings.ports.flatMap((port) => {
    const e = portElement(settings, port);
    if (!e) return [];
    const value = verb === 'add' ? ` : ${e.value}` : '';
    return [`${verb} element inet ${table} ${e.map} { ${e.key}${value} }`];
  });
  return lines.length ? `${lines.join('\n')}\n` : '';
}

/** The whole table, in place of what was there: one transaction. */
export function wholeTable(
  table: string,
  networks: readonly NetworkRecord[],
  settings: readonly NetworkSettings[],
  names: readonly { device: string; protocol: 'tcp' | 'udp'; port: number }[] = [],
): string {
  return [
    `add table inet ${table}\ndelete table inet ${table}\n`,
    tableText(table),
    ...networks.map((n) => networkElements(table, n, 'add')),
    ...settings.map((s) => portElements(table, s, 'add')),
    ...names.map((n) => `add element inet ${table} names { "${n.device}" . ${n.protocol} : ${n.port} }\n`),
  ].join('');
}
