import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { connect, createServer, type Server } from 'node:net';

/**
 * Carries connections to a container where the kernel can't: from the host's ::1, and from IPv6 to a container that
 * has IPv4 only. Everything else goes through nftables.
 */
export interface Relay {
  close(): void;
}

export interface RelayTarget {
  hostIp: string;
  hostPort: number;
  protocol: 'tcp' | 'udp';
  /** In the container. */
  address: string;
  port: number;
}

/** @throws where the port can't be bound */
export function openRelay(target: RelayTarget): Promise<Relay> {
  return target.protocol === 'tcp' ? relayTcp(target) : relayUdp(target);
}

function relayTcp(target: RelayTarget): Promise<Relay> {
  return new Promise((resolve, reject) => {
    const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const inner = connect({
        host: target.address,
        port: target.port,
        allowHalfOpen: true,
        noDelay: true,
      });
      client.pipe(inner);
      inner.pipe(client);
      client.on('error', () => inner.destroy());
      inner.on('error', () => client.resetAndDestroy());
    });
    server.once('error', reject);
    server.listen({ host: target.hostIp, port: target.hostPort, ipv6Only: true, backlog: 4096 }, () =>
      resolve({ close: () => server.close() }),
    );
  });
}

/** Each client has a socket of its own towards the container, until it has been silent for a minute. */
function relayUdp(target: RelayTarget): Promise<Relay> {
  return new Promise((resolve, reject) => {
    const server = createSocket({ type: 'udp6', ipv6Only: true });
    const clients = new Map<string, { socket: DatagramSocket; timer: NodeJS.Timeout }>();
    const forget = (key: string) => {
      const known = clients.get(key);
      if (!known) return;
      clients.delete(key);
      clearTimeout(known.timer);
      known.socket.close();
    };
    server.on('message', (data, from) => {
      const key = `${from.address} ${from.port}`;
      let known = clients.get(key);
      if (!known) {
        const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
        known = { socket, timer: setTimeout(() => forget(key), 60_000) };
        clients.set(key, known);
        socket.on('error', () => forget(key));
        socket.on('message', (reply) => server.send(reply, from.port, from.address));
      }
      known.timer.refresh();
      known.socket.send(data, target.port, target.address);
    });
    server.once('error', reject);
    server.bind({ address: target.hostIp, port: target.hostPort, exclusive: true }, () =>
      resolve({
        close: () => {
          for (const key of [...clients.keys()]) forget(key);
          server.close();
        },
      }),
    );
  });
}
