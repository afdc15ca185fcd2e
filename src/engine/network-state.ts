import path from 'node:path';
import type { Context } from '../base/index.js';
import type { NetworkSettings } from '../network/index.js';
import { readRecord } from '../state/index.js';
import type { ContainerRecord } from './records.js';

/** How a container is on the network, as `ps`, `port` and `inspect` show it. */
export interface ContainerNetworks {
  /** `bridge`, `none`, `host`, `container:<id>` or the name of a network: Docker's NetworkMode. */
  mode: string;
  names: string[];
  ids: string[];
  /** What is published and exposed now: none while no program runs, as Docker has it. */
  ports: PortState[];
  endpoints: EndpointState[];
}

export interface PortState {
  containerPort: number;
  protocol: string;
  /** Absent: exposed only. */
  hostIp?: string | undefined;
  hostPort?: number | undefined;
}

/** A container's place in one network. */
export interface EndpointState {
  network: string;
  networkId: string;
  aliases: string[];
  ip: string;
  prefixLength: number;
  gateway: string;
  ip6: string;
  prefixLength6: number;
  gateway6: string;
  mac: string;
}

/**
 * What is known of a container's networks: while its program runs, what it was given; otherwise what was asked for.
 * @param running whether it runs; what it was given may still be on record when it has ended
 */
export function networkStateOf(ctx: Context, record: ContainerRecord, running: boolean): ContainerNetworks {
  const { networks } = record.request;
  const mode = networks[0]?.network ?? 'bridge';
  const settings = readRecord<NetworkSettings>(
    path.join(ctx.state, 'network/containers', `${record.id}.json`),
  );
  const asked = networks.length > 0 ? networks.map((n) => n.network) : ['bridge'];
  if (!settings) return { mode, names: asked, ids: [], endpoints: [], ports: [] };
  const endpoints = settings.endpoints.map((e): EndpointState => {
    const { ipv4, ipv6, mac } = running ? e : { mac: '' };
    return {
      network: e.network,
      networkId: e.networkId,
      aliases: e.aliases,
      ip: ipv4?.address ?? '',
      prefixLength: ipv4?.prefix ?? 0,
      gateway: ipv4?.gateway ?? '',
      ip6: ipv6?.address ?? '',
      prefixLength6: ipv6?.prefix ?? 0,
      gateway6: ipv6?.gateway ?? '',
      mac,
    };
  });
  return {
    mode,
    names: endpoints.length > 0 ? endpoints.map((e) => e.network) : asked,
    ids: endpoints.map((e) => e.networkId),
    endpoints,
    ports: running ? withExposed(settings.ports, settings.exposed) : [],
  };
}

/** Published ports, and the exposed ones that aren't among them. */
function withExposed(published: readonly PortState[], exposed: readonly string[]): PortState[] {
  const has = (list: readonly PortState[], p: PortState) =>
    list.some((q) => q.containerPort === p.containerPort && q.protocol === p.protocol);
  const out = [...published];
  for (const text of exposed) {
    const [port, protocol = 'tcp'] = text.split('/');
    const bare = { containerPort: Number(port), protocol };
    if (!has(out, bare)) out.push(bare);
  }
  return out;
}
