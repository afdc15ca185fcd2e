import { NsboxError } from '../base/index.js';
import { listRoutes, type Netlink } from '../kernel/index.js';
import { bounds, type Cidr, formatCidr, overlaps, parseCidr, toBytes } from './address.js';

/**
 * Where subnets come from when none is asked for: size 16 while there are some, then smaller ones. The first is kept
 * for the default bridge, so that it is the same on most hosts.
 */
const POOLS: { base: string; size: number }[] = [
  { base: '172.29.0.0/16', size: 16 },
  { base: '172.30.0.0/15', size: 16 },
  { base: '172.24.0.0/14', size: 16 },
  { base: '172.20.0.0/14', size: 16 },
  { base: '192.168.0.0/16', size: 20 },
  { base: '10.89.0.0/16', size: 24 },
  { base: '10.90.0.0/15', size: 24 },
];

/** What the host reaches otherwise than by its default route: no subnet of ours may hide it. */
export function routedBlocks(netlink: Netlink): Cidr[] {
  return listRoutes(netlink).flatMap((route) =>
    route.to && route.to.prefix > 0
      ? [{ family: route.family, bytes: Uint8Array.from(route.to.address), prefix: route.to.prefix }]
      : [],
  );
}

/**
 * The first IPv4 block of the pools that overlaps none of the given ones.
 * @throws NsboxError NETWORK where all pools are used up
 */
export function freeSubnet(used: readonly Cidr[], forDefault = false): string {
  for (const pool of forDefault ? POOLS : POOLS.slice(1)) {
    const { first, last } = bounds(parseCidr(pool.base));
    const step = 1n << BigInt(32 - pool.size);
    for (let at = first; at <= last; at += step) {
      const candidate: Cidr = { family: 4, bytes: toBytes(at, 4), prefix: pool.size };
      if (!used.some((u) => overlaps(u, candidate))) return formatCidr(candidate);
    }
  }
  throw new NsboxError('NETWORK', 'every address pool is in use by networks or routes of this host', {
    hint: 'name a block yourself: `nsbox network create --subnet 10.200.0.0/24 NAME`, or remove unused networks with `nsbox network prune`',
  });
}

/** A unique local block (RFC 4193) that follows from the network's id. */
export function uniqueLocalSubnet(networkId: string): string {
  const bytes = new Uint8Array(16);
  bytes[0] = 0xfd;
  bytes.set(Buffer.from(networkId.slice(0, 14), 'hex'), 1);
  return formatCidr({ family: 6, bytes, prefix: 64 });
}
