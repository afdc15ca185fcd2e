import { InvalidError, UnsupportedError } from '../../base/index.js';
import type { NetworkRequest, PortRequest } from '../../spec/index.js';
import { isIPv4, isIPv6 } from './ip.js';
import { csvPairs, splitOnce } from './lists.js';

/** The grammars of `-p`, `--expose`, `--network`, `--add-host`, `--dns`. */

type Protocol = PortRequest['protocol'];

interface Range {
  from: number;
  to: number;
}

/**
 * `-p [[IP:]HOST_PORT:]CONTAINER_PORT[/tcp|udp|sctp]`, with ranges `8000-8002:80-82`, or
 * `8000-8010:80` for the first free one; an IPv6 address in brackets.
 */
export function parsePorts(spec: string): PortRequest[] {
  const wrong = (why: string) => new InvalidError(`invalid port mapping '${spec}': ${why}`);
  const [mapping, protocolText = 'tcp'] = splitOnce(spec, '/');
  const protocol = parseProtocol(protocolText, wrong);
  let rest = mapping;
  let hostIp: string | undefined;
  if (rest.startsWith('[')) {
    const close = rest.indexOf(']:');
    if (close < 0) throw wrong('an IPv6 address is written [ADDRESS]:PORT:PORT');
    hostIp = rest.slice(1, close);
    rest = rest.slice(close + 2);
    if (!isIPv6(hostIp)) throw wrong(`'${hostIp}' is not an IPv6 address`);
    if (!rest.includes(':')) rest = `:${rest}`;
  }
  const parts = rest.split(':');
  if (parts.length > (hostIp === undefined ? 3 : 2)) throw wrong('expected [IP:]HOST_PORT:CONTAINER_PORT');
  if (parts.length === 3) {
    hostIp = parts.shift()!;
    if (!isIPv4(hostIp)) throw wrong(`'${hostIp}' is not an IP address`);
  }
  const container = parseRange(parts.pop()!, 'container port', wrong);
  const hostText = parts.pop() ?? '';
  const host = hostText === '' ? undefined : parseRange(hostText, 'host port', wrong);
  const size = container.to - container.from;
  const choose = host !== undefined && size === 0 && host.to > host.from;
  if (host && host.to - host.from !== size && !choose) throw wrong('the two ranges differ in length');
  return Array.from({ length: size + 1 }, (_, i) => ({
    ...(hostIp === undefined ? {} : { hostIp }),
    ...(host === undefined || host.from === 0 ? {} : { hostPort: host.from + i }),
    ...(choose ? { hostPortEnd: host.to } : {}),
    containerPort: container.from + i,
    protocol,
  }));
}

function parseProtocol(text: string, wrong: (why: string) => Error): Protocol {
  const protocol = text.toLowerCase();
  if (protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp') return protocol;
  throw wrong(`invalid protocol: ${text} (tcp, udp or sctp)`);
}

function parseRange(text: string, what: string, wrong: (why: string) => Error): Range {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) throw wrong(`invalid ${what}: ${text || 'empty'}`);
  const from = Number(match[1]);
  const to = match[2] === undefined ? from : Number(match[2]);
  if (to > 65535 || from > to || (from === 0 && (what !== 'host port' || to !== 0))) {
    throw wrong(`invalid ${what}: ${text} (1 to 65535)`);
  }
  return { from, to };
}

/** `--expose 80`, `53/udp`, `8000-8010`: as `80/tcp`, one for each port. */
export function parseExpose(spec: string): string[] {
  const wrong = (why: string) => new InvalidError(`invalid port for --expose: '${spec}': ${why}`);
  const [text, protocolText = 'tcp'] = splitOnce(spec, '/');
  const protocol = parseProtocol(protocolText, wrong);
  const { from, to } = parseRange(text, 'port', wrong);
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}/${protocol}`);
}

/** Words that stand for a mode, not for a network of nsbox. */
const ALONE = (network: string): boolean =>
  network === 'none' || network === 'host' || network.startsWith('container:');

/** Options of the first network that have flags of their own. */
export interface NetworkFlags {
  aliases: readonly string[];
  ip?: string | undefined;
  ip6?: string | undefined;
  mac?: string | undefined;
}

/** `--network NAME` or `--network name=NAME,alias=A,ip=…`, repeated. */
export function parseNetworks(specs: readonly string[], flags: NetworkFlags): NetworkRequest[] {
  const networks = specs.map(parseNetwork);
  const extra = flags.aliases.length > 0 || flags.ip || flags.ip6 || flags.mac;
  if (extra) {
    if (networks.length === 0) networks.push({ network: 'bridge' });
    const first = networks[0]!;
    if (ALONE(first.network)) {
      throw new InvalidError(
        `conflicting options: --network ${first.network} has no addresses or aliases of its own`,
      );
    }
    if (flags.aliases.length > 0) first.aliases = [...(first.aliases ?? []), ...flags.aliases];
    if (flags.ip) first.ip = checkAddress('--ip', flags.ip, isIPv4);
    if (flags.ip6) first.ip6 = checkAddress('--ip6', flags.ip6, isIPv6);
    if (flags.mac) first.mac = checkMac(flags.mac);
  }
  const alone = networks.find((n) => ALONE(n.network));
  if (alone && networks.length > 1) {
    throw new InvalidError(
      `conflicting options: --network ${alone.network} cannot be combined with other networks`,
    );
  }
  const twice = networks.find((n, i) => networks.findIndex((m) => m.network === n.network) !== i);
  if (twice) throw new InvalidError(`network ${JSON.stringify(twice.network)} is specified multiple times`);
  return networks;
}

function parseNetwork(spec: string): NetworkRequest {
  if (spec === '') throw new InvalidError('--network: the name is empty');
  if (spec === 'default') return { network: 'bridge' };
  if (spec === 'container:') throw new InvalidError('--network: container: needs the name of a container');
  if (!/(^|,)name=/.test(spec)) {
    if (spec.includes(',') || spec.includes('=')) {
      throw new InvalidError(`invalid --network: ${spec}: the form with options needs name=NETWORK`);
    }
    return { network: spec };
  }
  const out: NetworkRequest = { network: '' };
  for (const [key, value] of csvPairs(spec)) {
    if (!value) throw new InvalidError(`invalid --network: ${spec}: '${key}' needs a value`);
    if (key === 'name') out.network = value;
    else if (key === 'alias') out.aliases = [...(out.aliases ?? []), value];
    else if (key === 'ip') out.ip = checkAddress('--network ip', value, isIPv4);
    else if (key === 'ip6') out.ip6 = checkAddress('--network ip6', value, isIPv6);
    else if (key === 'mac-address') out.mac = checkMac(value);
    else if (['driver-opt', 'link-local-ip', 'gw-priority'].includes(key)) {
      throw new UnsupportedError(`--network ${spec}: ${key} is not supported`);
    } else throw new InvalidError(`invalid --network: ${spec}: unexpected key '${key}'`);
  }
  return out;
}

function checkAddress(what: string, text: string, valid: (text: string) => boolean): string {
  if (valid(text)) return text;
  throw new InvalidError(`invalid ${what}: ${text} is not an ${valid === isIPv6 ? 'IPv6' : 'IPv4'} address`);
}

function checkMac(text: string): string {
  if (/^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/.test(text)) return text.toLowerCase().replaceAll('-', ':');
  throw new InvalidError(`${text} is not a valid mac address`);
}

/** `--add-host NAME:IP` or `NAME=IP`; IP may be `host-gateway`. Returned as `NAME:IP`. */
export function parseAddHost(spec: string): string {
  const separator = spec.includes('=') ? '=' : ':';
  const [name, ip] = splitOnce(spec, separator);
  if (!name || !ip)
    throw new InvalidError(`bad format for add-host: ${JSON.stringify(spec)} (expected NAME:IP)`);
  const address = ip.replace(/^\[(.*)\]$/, '$1');
  if (address !== 'host-gateway' && !isIPv4(address) && !isIPv6(address)) {
    throw new InvalidError(`invalid IP address in add-host: ${JSON.stringify(ip)}`);
  }
  return `${name}:${address}`;
}

export function parseDns(text: string): string {
  if (!isIPv4(text) && !isIPv6(text)) throw new InvalidError(`${text} is not an ip address (--dns)`);
  return text;
}

/** `--dns-search`: `.` means none, which is kept as it is. */
export function parseDnsSearch(text: string): string {
  const name = text.trim();
  if (name === '.' || (/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?\.?$/.test(name) && name.length < 255))
    return name;
  throw new InvalidError(`${text} is not a valid domain (--dns-search)`);
}
