import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { FrameReader, frame } from './forward.js';

/** Where questions to one gateway arrive. */
export interface NamesServer {
  /** Ports that are really listened on: 53, unless another program has it. */
  udpPort: number;
  tcpPort: number;
  close(): void;
}

/** Gives the answer to a question from an address; undefined: none is sent. */
export type Answerer = (query: Buffer, from: string, over: 'udp' | 'tcp') => Promise<Buffer | undefined>;

/** Longest time that a TCP connection may be silent, in milliseconds. */
const IDLE = 10_000;

/**
 * Listens on one address: on port 53 or, where a program of the host has that on all addresses, on a free port to
 * which a rule leads.
 */
export async function serve(address: string, answerer: Answerer): Promise<NamesServer> {
  const udp = await bindUdp(address, answerer);
  try {
    const tcp = await bindTcp(address, answerer);
    return {
      udpPort: udp.port,
      tcpPort: tcp.port,
      close: () => {
        udp.close();
        tcp.close();
      },
    };
  } catch (error) {
    udp.close();
    throw error;
  }
}

interface Bound {
  port: number;
  close(): void;
}

async function orFree(bind: (port: number) => Promise<Bound>): Promise<Bound> {
  try {
    return await bind(53);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return bind(0);
  }
}

function bindUdp(address: string, answerer: Answerer): Promise<Bound> {
  return orFree(
    (port) =>
      new Promise((resolve, reject) => {
        const socket = createSocket({
          type: address.includes(':') ? 'udp6' : 'udp4',
          // Only numbers are ever sent to; Node's own look-up of them takes another turn of the event loop.
          lookup: (host, _options, found) => found(null, host, 0),
        });
        socket.once('error', reject);
        socket.on('message', (query, from) => {
          void answerer(query, from.address, 'udp').then(
            (reply) => reply && socket.send(reply, from.port, from.address),
            () => undefined,
          );
        });
        socket.bind({ address, port, exclusive: true }, () => {
          socket.on('error', () => undefined); // an answer to a container that has just ended
          resolve({ port: socket.address().port, close: () => socket.close() });
        });
      }),
  );
}

function bindTcp(address: string, answerer: Answerer): Promise<Bound> {
  return orFree(
    (port) =>
      new Promise((resolve, reject) => {
        const server = createServer((client) => {
          const from = client.remoteAddress ?? '';
          const reader = new FrameReader((query) => {
            void answerer(query, from, 'tcp').then(
              (reply) => (reply ? client.write(frame(reply)) : client.destroy()),
              () => client.destroy(),
            );
          });
          client.setTimeout(IDLE, () => client.destroy());
          client.on('error', () => client.destroy());
          client.on('data', (chunk: Buffer) => reader.push(chunk));
        });
        server.maxConnections = 256;
        server.once('error', reject);
        server.listen({ host: address, port }, () =>
          resolve({ port: (server.address() as { port: number }).port, close: () => server.close() }),
        );
      }),
  );
}
