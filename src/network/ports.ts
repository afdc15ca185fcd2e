import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { ConflictError, type Context, NsboxError, randomInt } from '../base/index.js';
import type { PortRequest } from '../spec/index.js';
import { formatAddress, parseAddress } from './address.js';
import { claim, claims, containerOf, ownerFor, preparerLives, unclaim } from './claims.js';
import { helperPid } from './names/state.js';
import { portsDirectory } from './paths.js';
import type { PortBinding } from './types.js';

type Protocol = PortRequest['protocol'];

const claimName = (protocol: string, ip: string, port: number) => `${protocol}_${ip}_${port}`;

/** `tcp_0.0.0.0_80` taken apart. */
function parseClaim(name: string): { protocol: string; ip: string; port: number } {
  const [protocol = '', ip = '', port = ''] = name.split('_');
  return { protocol, ip, port: Number(port) };
}

const any = (ip: string) => ip === '0.0.0.0' || ip === '::';
const family = (ip: string) => (ip.includes(':') ? 6 : 4);

function clash(a: { protocol: string; ip: string; port: number }, b: typeof a): boolean {
  return (
    a.protocol === b.protocol &&
    a.port === b.port &&
    family(a.ip) === family(b.ip) &&
    (a.ip === b.ip || any(a.ip) || any(b.ip))
  );
}

/**
 * Takes host ports for a container: the asked ones, or free ones of the range that the kernel gives to programs.
 * Without an address a port is taken on all IPv4 and IPv6 addresses alike.
 * @throws ConflictError naming the process or container that has a port
 */
export function claimPorts(
  ctx: Context,
  containerId: string,
  requests: readonly PortRequest[],
): PortBinding[] {
  const bindings: PortBinding[] = [];
  const listeners = requests.length ? listening() : [];
  try {
    for (const request of requests) {
      const ips = request.hostIp ? [formatAddress(parseAddress(request.hostIp))] : ['0.0.0.0', '::'];
      bindings.push(...claimOne(ctx, containerId, request, ips, listeners));
    }
  } catch (error) {
    releasePorts(ctx, containerId);
    throw error;
  }
  return bindings;
}

function claimOne(
  ctx: Context,
  containerId: string,
  request: PortRequest,
  ips: string[],
  listeners: Listener[],
): PortBinding[] {
  const { protocol, containerPort } = request;
  const bind = (hostPort: number) => ips.map((hostIp) => ({ hostIp, hostPort, containerPort, protocol }));
  if (request.hostIp) checkHostAddress(request.hostIp, request.hostPort, protocol);
  if (request.hostPort) {
    let problem: string | undefined;
    for (let port = request.hostPort; port <= (request.hostPortEnd ?? request.hostPort); port++) {
      problem = take(ctx, containerId, protocol, ips, port, listeners);
      if (!problem) return bind(port);
    }
    if (request.hostPortEnd) {
      throw new ConflictError(
        `cannot publish ${request.hostPort}-${request.hostPortEnd}/${protocol}: all of these ports are already allocated: of the last, ${problem}`,
        { errno: 'EADDRINUSE', hint: 'give a wider range' },
      );
    }
    const shown = request.hostIp ? `${request.hostIp}:${request.hostPort}` : `0.0.0.0:${request.hostPort}`;
    throw new ConflictError(`cannot publish ${shown}/${protocol}: port is already allocated: ${problem}`, {
      errno: 'EADDRINUSE',
      hint: 'choose another host port, or leave it out to have a free one chosen',
    });
  }
  const [low, high] = dynamicRange();
  for (let tries = 0; tries < 2000; tries++) {
    const port = randomInt(low, high + 1);
    if (!take(ctx, containerId, protocol, ips, port, listeners)) return bind(port);
  }
  throw new NsboxError('NETWORK', `no free host port for ${containerPort}/${protocol} in ${low}-${high}`);
}

/** Refuses an address that no program of this host could listen on. */
function checkHostAddress(hostIp: string, hostPort: number | undefined, protocol: Protocol): void {
  const address = formatAddress(parseAddress(hostIp));
  if (any(address) || address.startsWith('127.')) return;
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((a) => a.address));
  if (own.some((a) => formatAddress(parseAddress(a.replace(/%.*$/, ''))) === address)) return;
  const v = family(address) === 4 ? 4 : 6;
  try {
    if (readFileSync(`/proc/sys/net/ipv${v}/ip_nonlocal_bind`, 'latin1').trim() === '1') return;
  } catch {
    // Without IPv6 there is no such setting.
  }
  const shown = v === 6 ? `[${address}]` : address;
  throw new NsboxError(
    'NETWORK',
    `cannot publish ${shown}:${hostPort ?? ''}/${protocol}: ${address} is not an address of this host`,
    {
      errno: 'EADDRNOTAVAIL',
      hint: 'see `ip addr`; net.ipv4.ip_nonlocal_bind=1 allows addresses that come later',
    },
  );
}

/** Takes a port on all of the addresses or on none; the reason where it can't. */
function take(
  ctx: Context,
  containerId: string,
  protocol: Protocol,
  ips: string[],
  port: number,
  listeners: Listener[],
): string | undefined {
  const directory = portsDirectory(ctx);
  const owner = ownerFor(containerId);
  const wanted = ips.map((ip) => ({ protocol, ip, port }));
  const helper = helperPid(ctx);
  const listener = listeners.find(
    (l) => wanted.some((w) => clash(w, l)) && !(helper !== undefined && holderOf(l)?.pid === helper),
  );
  if (listener) {
    const by = holderOf(listener);
    return by
      ? `process ${by.pid} (${by.name}) listens on it`
      : 'a process of another namespace listens on it';
  }
  // Claim first and look afterwards: of two that do so at once, at least one sees the other.
  const made: string[] = [];
  let problem: string | undefined;
  for (const ip of ips) {
    const name = claimName(protocol, ip, port);
    if (claim(directory, name, owner)) made.push(name);
  }
  for (const [name, by] of claims(directory)) {
    if (!wanted.some((w) => clash(w, parseClaim(name)))) continue;
    if (containerOf(by) === containerId && (by === owner || !preparerLives(by))) continue;
    problem = `container ${containerOf(by).slice(0, 12)} has published it`;
  }
  if (problem) for (const name of made) unclaim(directory, name, containerId);
  return problem;
}

export function releasePorts(ctx: Context, containerId: string): void {
  const directory = portsDirectory(ctx);
  for (const [name, owner] of claims(directory)) {
    if (containerOf(owner) === containerId) unclaim(directory, name, containerId);
  }
}

function dynamicRange(): [number, number] {
  try {
    const [low, high] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1')
      .trim()
      .split(/\s+/)
      .map(Number);
    if (low && high) return [low, high];
  } catch {
    // The kernel's own default follows.
  }
  return [32768, 60999];
}

interface Listener {
  protocol: Protocol;
  ip: string;
  port: number;
  inode: string;
}

/** Sockets of this network namespace that wait for connections or datagrams. @see proc(5), /proc/net/tcp */
export function listening(): Listener[] {
  const out: Listener[] = [];
  for (const [file, protocol, state] of [
    ['tcp', 'tcp', '0A'],
    ['tcp6', 'tcp', '0A'],
    ['udp', 'udp', '07'],
    ['udp6', 'udp', '07'],
  ] as const) {
    let text: string;
    try {
      text = readFileSync(`/proc/thread-self/net/${file}`, 'latin1');
    } catch {
      continue; // no IPv6
    }
    for (const line of text.split('\n').slice(1)) {
      const field = line.trim().split(/\s+/);
      if (field[3] !== state) continue;
      const [hex = '', port = ''] = (field[1] ?? '').split(':');
      const ip = hexAddress(hex);
      const socket = { protocol, ip, port: Number.parseInt(port, 16), inode: field[9] ?? '' };
      out.push(socket);
      // A socket on :: takes IPv4 as well, unless it says otherwise, which /proc doesn't tell.
      if (ip === '::') out.push({ ...socket, ip: '0.0.0.0' });
    }
  }
  return out;
}

/** The kernel prints 32-bit words in host order. */
function hexAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  for (let i = 0; i + 4 <= bytes.length; i += 4) bytes.subarray(i, i + 4).reverse();
  return formatAddress(bytes);
}

function holderOf(listener: Listener): { pid: number; name: string } | undefined {
  const wanted = `socket:[${listener.inode}]`;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== wanted) continue;
        return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
      }
    } catch {
      // Ended meanwhile, or its files aren't ours to see.
    }
  }
  return undefined;
}
