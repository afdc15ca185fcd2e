import type { Endpoint, NetworkRecord, NetworkSettings } from './types.js';

/** A network with the containers on it, field by field as Docker's API names them. */
export function inspectNetwork(
  network: NetworkRecord,
  members: readonly { settings: NetworkSettings; endpoint: Endpoint }[],
): object {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: 'local',
    Driver: network.driver === 'none' ? 'null' : network.driver,
    EnableIPv4: network.subnets.some((s) => !s.subnet.includes(':')),
    EnableIPv6: network.ipv6,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: network.subnets.map((s) => ({
        Subnet: s.subnet,
        ...(s.ipRange ? { IPRange: s.ipRange } : {}),
        ...(s.gateway ? { Gateway: s.gateway } : {}),
        ...(s.aux ? { AuxiliaryAddresses: s.aux } : {}),
      })),
    },
    Internal: network.internal,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: Object.fromEntries(
      members.map(({ settings, endpoint }) => [
        settings.containerId,
        {
          Name: settings.containerName,
          EndpointID: endpoint.endpointId,
          MacAddress: endpoint.mac,
          IPv4Address: endpoint.ipv4 ? `${endpoint.ipv4.address}/${endpoint.ipv4.prefix}` : '',
          IPv6Address: endpoint.ipv6 ? `${endpoint.ipv6.address}/${endpoint.ipv6.prefix}` : '',
        },
      ]),
    ),
    Options: {
      ...(network.device ? { 'com.docker.network.bridge.name': network.device } : {}),
      ...network.options,
    },
    Labels: network.labels,
    ...(network.peers.length ? { Peers: network.peers.map((IP) => ({ IP })) } : {}),
    ...(network.dns.length ? { DNS: network.dns } : {}),
  };
}
