import ipaddr from 'ipaddr.js';
import { InvalidError } from '../base/index.js';

/** A block of addresses. The address is that of the block's first, or as written where `parseCidr` was asked so. */
export interface Cidr {
  family: 4 | 6;
  /** 4 or 16 bytes. */
  bytes: Uint8Array;
  prefix: number;
}

/** The bytes of an address in any spelling. @throws InvalidError */
export function parseAddress(text: string): Uint8Array {
  try {
    return Uint8Array.from(ipaddr.parse(text).toByteArray());
  } catch (cause) {
    throw new InvalidError(`invalid IP address: ${JSON.stringify(text)}`, { cause });
  }
}

/** The usual spelling: dotted, or RFC 5952. */
export function formatAddress(bytes: Uint8Array): string {
  const address = ipaddr.fromByteArray([...bytes]);
  return address.kind() === 'ipv6' ? (address as ipaddr.IPv6).toRFC5952String() : address.toString();
}

/** `10.1.0.0/16`. @throws InvalidError where it isn't one or, unless `host`, has bits set beyond its prefix */
export function parseCidr(text: string, host = false): Cidr {
  let parsed: [ipaddr.IPv4 | ipaddr.IPv6, number];
  try {
    parsed = ipaddr.parseCIDR(text);
  } catch (cause) {
    throw new InvalidError(`invalid CIDR address: ${text}`, { cause });
  }
  const bytes = Uint8Array.from(parsed[0].toByteArray());
  const cidr: Cidr = { family: bytes.length === 4 ? 4 : 6, bytes, prefix: parsed[1] };
  const first = maskOf(cidr);
  if (!host && first !== toNumber(bytes)) {
    throw new InvalidError(
      `invalid subnet ${text}: it should be ${formatAddress(toBytes(first, bytes.length))}/${cidr.prefix}`,
    );
  }
  return cidr;
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.bytes)}/${cidr.prefix}`;
}

export function toNumber(bytes: Uint8Array): bigint {
  let n = 0n;
  for (const b of bytes) n = (n << 8n) | BigInt(b);
  return n;
}

export function toBytes(value: bigint, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = length - 1, v = value; i >= 0; i--, v >>= 8n) out[i] = Number(v & 255n);
  return out;
}

function maskOf(cidr: Cidr): bigint {
  const host = BigInt(cidr.bytes.length * 8 - cidr.prefix);
  return (toNumber(cidr.bytes) >> host) << host;
}

/** First and last address of a block. */
export function bounds(cidr: Cidr): { first: bigint; last: bigint } {
  const first = maskOf(cidr);
  return { first, last: first + (1n << BigInt(cidr.bytes.length * 8 - cidr.prefix)) - 1n };
}

export function contains(cidr: Cidr, address: Uint8Array): boolean {
  if (address.length !== cidr.bytes.length) return false;
  const { first, last } = bounds(cidr);
  const n = toNumber(address);
  return n >= first && n <= last;
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  if (a.family !== b.family) return false;
  const x = bounds(a);
  const y = bounds(b);
  return x.first <= y.last && y.first <= x.last;
}

/** 02:42 and the four bytes of an IPv4 address, as Docker does: a MAC that follows its address. */
export function macFor(address: Uint8Array): string {
  const tail = address.length === 4 ? address : address.subarray(12);
  return [0x02, 0x42, ...tail].map((b) => b.toString(16).padStart(2, '0')).join(':');
}

export function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':').map((b) => Number.parseInt(b, 16)));
}
