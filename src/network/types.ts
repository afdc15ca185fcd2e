import type { NetworkRequest, PortRequest } from '../spec/index.js';

/**
 * On disk:
 *
 *   <root>/networks/<name>.json              NetworkRecord, durable
 *   <root>/networks/.lock                    held while a network is made or removed
 *   <state>/network/lock                     held while links and rules that networks share are changed
 *   <state>/network/leases/<network>/<ip>    symlink whose text is the owner: unique by symlink(2)
 *   <state>/network/ports/<proto>_<ip>_<n>   the same for host ports
 *   <state>/network/containers/<id>.json     NetworkSettings: what a container was given
 *   <state>/network/names.{lock,ready,…}     the process that answers names (names/main.ts)
 *
 * The owner of a claim is `<container id>:<pid>:<start ticks>` of the process that prepares the container: while that
 * process lives, or a container of that id does, nobody takes the claim away.
 */
export type NetworkDriver = 'bridge' | 'macvlan' | 'ipvlan' | 'vxlan' | 'cni' | 'host' | 'none';

export interface SubnetRecord {
  /** `172.29.0.0/16` */
  subnet: string;
  /** Absent for l3 ipvlan and where `--gateway` can't apply. */
  gateway?: string | undefined;
  /** Part of the subnet that addresses are handed out from. */
  ipRange?: string | undefined;
  /** Addresses never handed out, by what they are (--aux-address). */
  aux?: Record<string, string> | undefined;
}

export interface NetworkRecord {
  version: 1;
  id: string;
  name: string;
  driver: NetworkDriver;
  created: string;
  subnets: SubnetRecord[];
  ipv6: boolean;
  internal: boolean;
  options: Record<string, string>;
  labels: Record<string, string>;
  /** Upstream servers for names that aren't containers. Empty: the host's. */
  dns: string[];
  /** vxlan: addresses of the other hosts. */
  peers: string[];
  /** Name of the bridge. */
  device: string;
  /** Made by nsbox itself: `bridge`, `host`, `none`. */
  builtin: boolean;
}

/** A container's place on one network. */
export interface Endpoint {
  network: string;
  networkId: string;
  driver: NetworkDriver;
  endpointId: string;
  /** In the container: eth0, eth1, … */
  interface: string;
  /** Host end of the veth pair; empty where there is none. */
  hostInterface: string;
  mac: string;
  ipv4?: { address: string; prefix: number; gateway?: string | undefined } | undefined;
  ipv6?: { address: string; prefix: number; gateway?: string | undefined } | undefined;
  /** Names it answers to on this network besides the container's name and short id. */
  aliases: string[];
  internal: boolean;
  /** cni: what the plugins returned and were given, for DEL. */
  cni?: { list: unknown; result: unknown; netns: string } | undefined;
}

export interface PortBinding {
  /** As asked: `0.0.0.0` and `::` where no address was given. */
  hostIp: string;
  hostPort: number;
  containerPort: number;
  protocol: PortRequest['protocol'];
}

/** What a container was given, until it is released. */
export interface NetworkSettings {
  version: 1;
  containerId: string;
  containerName: string;
  hostname: string;
  domainname?: string | undefined;
  /** `none`, `host` and `container` have no endpoints. */
  mode: 'networks' | 'none' | 'host' | 'container';
  /** mode `container`: id or name as asked. */
  joined?: string | undefined;
  endpoints: Endpoint[];
  ports: PortBinding[];
  /** Ports made known but not published, as `80/tcp`. */
  exposed: string[];
  extraHosts: string[];
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** Set while it is on user networks: names are answered there. */
  names: boolean;
  /** Where it was last connected: /proc/PID/ns/net. */
  netns?: string | undefined;
}

export interface PrepareOptions {
  containerId: string;
  containerName: string;
  hostname: string;
  domainname?: string | undefined;
  requests: NetworkRequest[];
  ports?: PortRequest[] | undefined;
  publishAll?: boolean | undefined;
  /** `80/tcp`: of the image and --expose. */
  exposed?: string[] | undefined;
  extraHosts?: string[] | undefined;
  dns?: string[] | undefined;
  dnsSearch?: string[] | undefined;
  dnsOptions?: string[] | undefined;
}

export interface CreateNetworkOptions {
  name: string;
  driver?: string | undefined;
  subnets?: SubnetRecord[] | undefined;
  ipv6?: boolean | undefined;
  /** False: no IPv4 (Docker's --ipv4=false). */
  ipv4?: boolean | undefined;
  internal?: boolean | undefined;
  options?: Record<string, string> | undefined;
  labels?: Record<string, string> | undefined;
  dns?: string[] | undefined;
  peers?: string[] | undefined;
}
