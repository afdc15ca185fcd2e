import type { Context } from '../base/index.js';
import type { ContainerRecord } from './records.js';

/** How a container is on the network, as `ps`, `port` and `inspect` show it. */
export interface ContainerNetworks {
  /** `bridge`, `none`, `host`, `container:<id>` or the name of a network: Docker's NetworkMode. */
  mode: string;
  names: string[];
  ids: string[];
  ports: PortState[];
  endpoints: EndpointState[];
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

export interface PortState {
  containerPort: number;
  protocol: string;
  /** Absent: exposed only. */
  hostIp?: string | undefined;
  hostPort?: number | undefined;
}

/** What is known of a container's networks from its record. */
export function networkStateOf(_ctx: Context, record: ContainerRecord): ContainerNetworks {
  const { networks, ports, exposed } = record.request;
  const mode = networks[0]?.network ?? 'bridge';
  const published = ports.map(
    (p): PortState => ({
      containerPort: p.containerPort,
      protocol: p.protocol,
      hostIp: p.hostIp ?? '0.0.0.0',
      hostPort: p.hostPort,
    }),
  );
  const bare = (exposed ?? []).map((text): PortState => {
    const [port, protocol] = text.split('/');
    return { containerPort: Number(port), protocol: protocol ?? 'tcp' };
  });
  return {
    mode,
    names: networks.length > 0 ? networks.map((n) => n.network) : ['bridge'],
    ids: [],
    endpoints: [],
    ports: [...published, ...bare.filter((b) => !published.some((p) => samePort(p, b)))],
  };
}

function samePort(a: PortState, b: PortState): boolean {
  return a.containerPort === b.containerPort && a.protocol === b.protocol;
}
