import {
  cString,
  MessageBody,
  type Netlink,
  type NetlinkMessage,
  type NetlinkReply,
  parseAttributes,
  readI32,
  readU32,
} from './netlink.js';

/**
 * Links, addresses, routes and neighbours as messages of rtnetlink(7). Each function builds one message; `Netlink.run`
 * sends any number of them with one system call. Addresses are bytes: 4 for IPv4, 16 for IPv6.
 */

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;

const NLM_F_REPLACE = 0x100;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const NLM_F_APPEND = 0x800;

const AF_BRIDGE = 7;
const AF_INET = 2;
const AF_INET6 = 10;

const IFF_UP = 0x1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_IFALIAS = 20;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;
const VETH_INFO_PEER = 1;
const IFLA_BR_FORWARD_DELAY = 1;
const IFLA_BR_STP_STATE = 5;
const IFLA_BR_MCAST_SNOOPING = 23;
const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN_MODE = 1;
const IFLA_VLAN_ID = 1;
const IFLA_VXLAN_ID = 1;
const IFLA_VXLAN_LINK = 3;
const IFLA_VXLAN_LOCAL = 4;
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_LOCAL6 = 17;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_NODAD = 0x02;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 0x02;

export interface LinkOptions {
  name: string;
  /** Bring it up at once. */
  up?: boolean;
  /** Six bytes. */
  mac?: Uint8Array | undefined;
  /** Bytes. */
  mtu?: number | undefined;
  /** Index of the bridge it becomes a port of. */
  master?: number | undefined;
  /** Fd of the network namespace it is born in. */
  netnsFd?: number | undefined;
  /** What `ip link` shows as alias. */
  alias?: string | undefined;
}

export type LinkKind =
  | { kind: 'bridge' }
  | { kind: 'veth'; peer: LinkOptions }
  | { kind: 'macvlan'; parent: number; mode: number }
  | { kind: 'ipvlan'; parent: number; mode: number }
  | { kind: 'vlan'; parent: number; id: number }
  | { kind: 'vxlan'; id: number; local: Uint8Array; port: number; parent?: number | undefined };

function linkHeader(body: MessageBody, index: number, flags: number, change: number): MessageBody {
  return body.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(change);
}

function linkAttributes(body: MessageBody, o: LinkOptions): void {
  body.attrString(IFLA_IFNAME, o.name);
  if (o.mac) body.attrBytes(IFLA_ADDRESS, o.mac);
  if (o.mtu) body.attrU32(IFLA_MTU, o.mtu);
  if (o.master) body.attrU32(IFLA_MASTER, o.master);
  if (o.netnsFd !== undefined) body.attrU32(IFLA_NET_NS_FD, o.netnsFd);
  if (o.alias) body.attrString(IFLA_IFALIAS, o.alias);
}

/** Makes a link, or both ends of a veth pair, in the namespaces where they belong. EEXIST where the name is taken. */
export function addLink(kind: LinkKind, options: LinkOptions): NetlinkMessage {
  const body = new MessageBody();
  const up = options.up ? IFF_UP : 0;
  linkHeader(body, 0, up, up);
  linkAttributes(body, options);
  if ('parent' in kind && kind.parent && kind.kind !== 'vxlan') body.attrU32(IFLA_LINK, kind.parent);
  body.nested(IFLA_LINKINFO, (info) => {
    info.attrString(IFLA_INFO_KIND, kind.kind);
    info.nested(IFLA_INFO_DATA, (data) => {
      switch (kind.kind) {
        case 'bridge':
          data.attrU32(IFLA_BR_FORWARD_DELAY, 0).attrU32(IFLA_BR_STP_STATE, 0);
          // Without snooping IPv6 neighbour discovery works at once on a bridge without a querier.
          data.attrU8(IFLA_BR_MCAST_SNOOPING, 0);
          break;
        case 'veth':
          data.nested(VETH_INFO_PEER, (peer) => {
            const peerUp = kind.peer.up ? IFF_UP : 0;
            linkHeader(peer, 0, peerUp, peerUp);
            linkAttributes(peer, kind.peer);
          });
          break;
        case 'macvlan':
          data.attrU32(IFLA_MACVLAN_MODE, kind.mode);
          break;
        case 'ipvlan':
          data.attrU16(IFLA_IPVLAN_MODE, kind.mode);
          break;
        case 'vlan':
          data.attrU16(IFLA_VLAN_ID, kind.id);
          break;
        case 'vxlan':
          data.attrU32(IFLA_VXLAN_ID, kind.id);
          data.attrBytes(kind.local.length === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, kind.local);
          data.attrBytes(IFLA_VXLAN_PORT, Uint8Array.of(kind.port >> 8, kind.port & 255));
          data.attrU8(IFLA_VXLAN_LEARNING, 1);
          if (kind.parent) data.attrU32(IFLA_VXLAN_LINK, kind.parent);
          break;
      }
    });
  });
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: body.done(),
    what: `create the ${kind.kind} link ${options.name}`,
  };
}

/** Brings a link, known by name, up or down. */
export function setLinkUp(name: string, up = true): NetlinkMessage {
  const body = linkHeader(new MessageBody(), 0, up ? IFF_UP : 0, IFF_UP);
  body.attrString(IFLA_IFNAME, name);
  return { type: RTM_NEWLINK, flags: 0, body: body.done(), what: `bring up the link ${name}` };
}

/** Moves a link, known by index, to the network namespace of an open fd, under a name. It arrives there down. */
export function moveLink(index: number, netns: number, name: string): NetlinkMessage {
  const body = linkHeader(new MessageBody(), index, 0, 0);
  body.attrU32(IFLA_NET_NS_FD, netns).attrString(IFLA_IFNAME, name);
  return { type: RTM_NEWLINK, flags: 0, body: body.done(), what: `move link ${index} as ${name}` };
}

/** Lets a bridge send a frame back out of the port it came in by; the port is known by name. */
export function setHairpin(name: string): NetlinkMessage {
  return setPort(name, IFLA_BRPORT_MODE, `set hairpin mode of ${name}`);
}

/** Keeps a port of a bridge from the other isolated ports; it reaches the bridge itself and what isn't isolated. */
export function setIsolated(name: string): NetlinkMessage {
  return setPort(name, IFLA_BRPORT_ISOLATED, `isolate ${name} on its bridge`);
}

function setPort(name: string, attribute: number, what: string): NetlinkMessage {
  const body = linkHeader(new MessageBody(), 0, 0, 0);
  body.attrString(IFLA_IFNAME, name);
  body.nested(IFLA_LINKINFO, (info) => {
    info.attrString(IFLA_INFO_SLAVE_KIND, 'bridge');
    info.nested(IFLA_INFO_SLAVE_DATA, (data) => data.attrU8(attribute, 1));
  });
  return { type: RTM_NEWLINK, flags: 0, body: body.done(), what };
}

/** Removes a link by name; the peer of a veth goes with it. One that isn't there is as good. */
export function deleteLink(name: string): NetlinkMessage {
  const body = linkHeader(new MessageBody(), 0, 0, 0);
  body.attrString(IFLA_IFNAME, name);
  return {
    type: RTM_DELLINK,
    flags: 0,
    body: body.done(),
    what: `remove the link ${name}`,
    tolerate: ['ENODEV'],
  };
}

export interface LinkInfo {
  index: number;
  name: string;
  mac: string;
  mtu: number;
  up: boolean;
  /** Index of the bridge that it is a port of; 0 for none. */
  master: number;
  /** `veth`, `bridge`, …; empty for hardware and lo. */
  kind: string;
}

function parseLink(reply: NetlinkReply): LinkInfo {
  const attributes = parseAttributes(reply.body.subarray(16));
  const info = attributes.get(IFLA_LINKINFO);
  const kind = info && parseAttributes(info).get(IFLA_INFO_KIND);
  const number = (type: number) => {
    const value = attributes.get(type);
    return value ? readU32(value, 0) : 0;
  };
  return {
    index: readI32(reply.body, 4),
    name: cString(attributes.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
    mac: [...(attributes.get(IFLA_ADDRESS) ?? [])].map((b) => b.toString(16).padStart(2, '0')).join(':'),
    mtu: number(IFLA_MTU),
    up: (readU32(reply.body, 8) & IFF_UP) !== 0,
    master: number(IFLA_MASTER),
    kind: kind ? cString(kind) : '',
  };
}

/** A link by name; undefined where there is none. */
export function getLink(netlink: Netlink, name: string): LinkInfo | undefined {
  const body = linkHeader(new MessageBody(), 0, 0, 0);
  body.attrString(IFLA_IFNAME, name);
  const replies = netlink.run([
    {
      type: RTM_GETLINK,
      flags: 0,
      body: body.done(),
      what: `look up the link ${name}`,
      tolerate: ['ENODEV'],
    },
  ]);
  return replies[0] && parseLink(replies[0]);
}

/** Every link of the namespace. */
export function listLinks(netlink: Netlink): LinkInfo[] {
  const body = linkHeader(new MessageBody(), 0, 0, 0);
  return netlink.dump({ type: RTM_GETLINK, flags: 0, body: body.done(), what: 'list links' }).map(parseLink);
}

const family = (address: Uint8Array) => (address.length === 4 ? AF_INET : AF_INET6);

/** Gives a link an address. IPv6 addresses skip duplicate detection: they were allocated by us and work at once. */
export function addAddress(index: number, address: Uint8Array, prefix: number): NetlinkMessage {
  const v4 = address.length === 4;
  const body = new MessageBody()
    .u8(family(address))
    .u8(prefix)
    .u8(v4 ? 0 : IFA_F_NODAD)
    .u8(RT_SCOPE_UNIVERSE)
    .u32(index);
  body.attrBytes(IFA_LOCAL, address).attrBytes(IFA_ADDRESS, address);
  if (v4 && prefix < 31) {
    const host = 2 ** (32 - prefix) - 1;
    const value = Buffer.from(address).readUInt32BE(0);
    const broadcast = Buffer.alloc(4);
    broadcast.writeUInt32BE((value | host) >>> 0);
    body.attrBytes(IFA_BROADCAST, broadcast);
  }
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: body.done(),
    what: `give link ${index} the address ${[...address].join('.')}/${prefix}`,
    tolerate: ['EEXIST'],
  };
}

export interface AddressInfo {
  index: number;
  address: Buffer;
  prefix: number;
}

/** Every address of the namespace. */
export function listAddresses(netlink: Netlink): AddressInfo[] {
  const body = new MessageBody().u8(0).u8(0).u8(0).u8(0).u32(0);
  return netlink
    .dump({ type: RTM_GETADDR, flags: 0, body: body.done(), what: 'list addresses' })
    .flatMap((reply) => {
      const attributes = parseAttributes(reply.body.subarray(8));
      const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
      return address ? [{ index: readU32(reply.body, 4), address, prefix: reply.body.readUInt8(1) }] : [];
    });
}

export interface RouteOptions {
  /** Destination; absent: the default route of `family`. */
  to?: { address: Uint8Array; prefix: number } | undefined;
  via?: Uint8Array | undefined;
  /** Index of the link. */
  device?: number | undefined;
  /** Where neither `to` nor `via` tells. */
  family?: 4 | 6 | undefined;
}

export function addRoute(options: RouteOptions): NetlinkMessage {
  const sample = options.to?.address ?? options.via;
  const af = sample ? family(sample) : options.family === 6 ? AF_INET6 : AF_INET;
  const body = new MessageBody()
    .u8(af)
    .u8(options.to?.prefix ?? 0)
    .u8(0)
    .u8(0)
    .u8(RT_TABLE_MAIN)
    .u8(RTPROT_STATIC)
    .u8(options.via || af === AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK)
    .u8(RTN_UNICAST)
    .u32(0);
  if (options.to && options.to.prefix > 0) body.attrBytes(RTA_DST, options.to.address);
  if (options.via) body.attrBytes(RTA_GATEWAY, options.via);
  if (options.device) body.attrU32(RTA_OIF, options.device);
  return {
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: body.done(),
    what: 'add a route',
    tolerate: ['EEXIST'],
  };
}

export interface RouteInfo {
  family: 4 | 6;
  /** Absent for a default route. */
  to: { address: Buffer; prefix: number } | undefined;
  gateway: Buffer | undefined;
  device: number;
}

/** Unicast routes of the main table. */
export function listRoutes(netlink: Netlink): RouteInfo[] {
  const body = new MessageBody().u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u32(0);
  return netlink
    .dump({ type: RTM_GETROUTE, flags: 0, body: body.done(), what: 'list routes' })
    .flatMap((reply) => {
      const b = reply.body;
      const attributes = parseAttributes(b.subarray(12));
      const tableAttr = attributes.get(RTA_TABLE);
      const table = tableAttr ? readU32(tableAttr, 0) : b.readUInt8(4);
      if (table !== RT_TABLE_MAIN || b.readUInt8(7) !== RTN_UNICAST) return [];
      const to = attributes.get(RTA_DST);
      const oif = attributes.get(RTA_OIF);
      return [
        {
          family: b.readUInt8(0) === AF_INET ? (4 as const) : (6 as const),
          to: to && { address: to, prefix: b.readUInt8(1) },
          gateway: attributes.get(RTA_GATEWAY),
          device: oif ? readU32(oif, 0) : 0,
        },
      ];
    });
}

/** A permanent forwarding entry of a vxlan link: frames for `mac` (all zeros: every unknown one) go to `peer`. */
export function addVxlanPeer(index: number, peer: Uint8Array, mac = new Uint8Array(6)): NetlinkMessage {
  const body = new MessageBody().u8(AF_BRIDGE).u8(0).u16(0).u32(index).u16(NUD_PERMANENT).u8(NTF_SELF).u8(0);
  body.attrBytes(NDA_LLADDR, mac).attrBytes(NDA_DST, peer);
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_APPEND,
    body: body.done(),
    what: `add the vxlan peer ${[...peer].join('.')}`,
    tolerate: ['EEXIST'],
  };
}

/** The address that the kernel would send from to reach `to`; undefined where there is no route. */
export function routeSource(netlink: Netlink, to: Uint8Array): Buffer | undefined {
  const body = new MessageBody()
    .u8(family(to))
    .u8(to.length * 8)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u32(0);
  body.attrBytes(RTA_DST, to);
  const replies = netlink.run([
    {
      type: RTM_GETROUTE,
      flags: 0,
      body: body.done(),
      what: 'look up a route',
      tolerate: ['ENETUNREACH', 'EHOSTUNREACH'],
    },
  ]);
  return replies[0] && parseAttributes(replies[0].body.subarray(12)).get(RTA_PREFSRC);
}
