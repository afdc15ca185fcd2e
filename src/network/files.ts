import { readFileSync } from 'node:fs';
import type { NetworkSettings } from './types.js';

export interface NetworkFiles {
  hosts: string;
  resolvConf: string;
  hostname: string;
}

const LOCAL_NAMES = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/**
 * Texts of /etc/hosts, /etc/resolv.conf and /etc/hostname of a container.
 * @param hostGateway what `host-gateway` in --add-host means
 */
export function networkFiles(settings: NetworkSettings, hostGateway: string | undefined): NetworkFiles {
  const own = settings.endpoints.flatMap((e) =>
    [e.ipv4?.address, e.ipv6?.address].flatMap((a) => (a ? [`${a}\t${ownNames(settings)}\n`] : [])),
  );
  const extra = settings.extraHosts.map((entry) => {
    const colon = entry.indexOf(':');
    const address = entry.slice(colon + 1);
    const ip = address === 'host-gateway' ? (hostGateway ?? '127.0.0.1') : address;
    return `${ip}\t${entry.slice(0, colon)}\n`;
  });
  const base = settings.mode === 'host' ? (read('/etc/hosts') ?? LOCAL_NAMES) : LOCAL_NAMES;
  const newline = base.endsWith('\n') || base === '' ? '' : '\n';
  const loopback =
    settings.mode === 'none' && settings.hostname ? [`127.0.0.1\t${ownNames(settings)}\n`] : [];
  return {
    hosts: [base, newline, ...extra, ...own, ...loopback].join(''),
    resolvConf: resolvConf(settings),
    hostname: `${settings.hostname}\n`,
  };
}

function ownNames(settings: NetworkSettings): string {
  return settings.domainname
    ? `${settings.hostname}.${settings.domainname} ${settings.hostname}`
    : settings.hostname;
}

function resolvConf(settings: NetworkSettings): string {
  const host = hostResolver();
  const names = settings.names ? gatewaysOf(settings) : [];
  const own = settings.mode === 'host' && settings.dns.length === 0 ? host.all : reachable(host);
  const servers = names.length ? names : settings.dns.length ? settings.dns : own;
  const search =
    settings.dnsSearch.length === 0 ? host.search : settings.dnsSearch.filter((name) => name !== '.');
  const options = settings.dnsOptions.length ? settings.dnsOptions : host.options;
  // A bare name is tried as it is first, since it may be a container's.
  const all = names.length && !options.some((o) => o.startsWith('ndots')) ? [...options, 'ndots:0'] : options;
  return [
    ...servers.slice(0, 3).map((s) => `nameserver ${s}\n`),
    ...(search.length ? [`search ${search.join(' ')}\n`] : []),
    ...(all.length ? [`options ${all.join(' ')}\n`] : []),
  ].join('');
}

/** Where the names process answers this container: its networks' gateways. */
function gatewaysOf(settings: NetworkSettings): string[] {
  return settings.endpoints
    .filter((e) => hasNames(e))
    .flatMap((e) => e.ipv4?.gateway ?? e.ipv6?.gateway ?? []);
}

/** Whether names are answered on a network: a user network whose gateway is this host. */
export function hasNames(endpoint: { driver: string; network: string }): boolean {
  return (endpoint.driver === 'bridge' || endpoint.driver === 'vxlan') && endpoint.network !== 'bridge';
}

interface HostResolver {
  all: string[];
  search: string[];
  options: string[];
}

/** The host's servers; a local stub of systemd-resolved is replaced by what stands behind it. */
export function hostResolver(): HostResolver {
  const first = parseResolv(read('/etc/resolv.conf') ?? '');
  if (first.all.length > 0 && first.all.every(isLoopback)) {
    const behind = read('/run/systemd/resolve/resolv.conf');
    if (behind) return parseResolv(behind);
  }
  return first;
}

/** Those that a container can reach. Where the host has none, public ones, as Docker does. */
export function reachable(host: HostResolver): string[] {
  const servers = host.all.filter((s) => !isLoopback(s));
  return servers.length ? servers : ['8.8.8.8', '8.8.4.4'];
}

const isLoopback = (address: string) => /^127\.|^::1$/.test(address);

/** @see resolv.conf(5) */
export function parseResolv(text: string): HostResolver {
  const out: HostResolver = { all: [], search: [], options: [] };
  for (const line of text.split('\n')) {
    const [key, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (key === 'nameserver' && values[0]) out.all.push(values[0]);
    else if (key === 'search' || key === 'domain') out.search = values;
    else if (key === 'options') out.options.push(...values);
  }
  return out;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
