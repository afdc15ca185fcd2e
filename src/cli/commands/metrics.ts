import type { Server } from 'node:http';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'metrics',
  usage: '[OPTIONS]',
  summary: 'Serve resource usage of all containers to Prometheus',
  details:
    'Names and labels are those of cAdvisor. docs/grafana-dashboard.json shows them.\n' +
    'Only this machine can connect: a loopback address, or a unix socket that root alone may open.',
  options: {
    listen: {
      type: 'string',
      value: 'address',
      help: "Loopback address and port, or 'unix:PATH'",
      default: '127.0.0.1:9393',
    },
    once: { type: 'bool', help: 'Print the figures once and exit' },
  },
  async run(input, io, ctx) {
    const { metricsText } = await import('../../engine/metrics.js');
    if (input.flags.once) {
      io.out(metricsText(ctx));
      return 0;
    }
    const place = parseListen(input.flags.listen);
    const { createServer } = await import('node:http');
    const server = createServer((request, response) => {
      const known = request.url === '/metrics' || request.url === '/';
      if (request.method !== 'GET' || !known) {
        response.writeHead(known ? 405 : 404).end();
        return;
      }
      if (request.url === '/') {
        response.writeHead(200, { 'content-type': 'text/plain' }).end('nsbox: figures are at /metrics\n');
        return;
      }
      try {
        const text = metricsText(ctx);
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text);
      } catch (error) {
        response.writeHead(500, { 'content-type': 'text/plain' }).end(`${(error as Error).message}\n`);
      }
    });
    const ended = new Promise<void>((resolve) => {
      const stop = io.onSignal(['SIGINT', 'SIGTERM'], () => {
        stop();
        server.close(() => resolve());
        server.closeAllConnections();
      });
    });
    const where = await listen(server, place);
    io.err(`nsbox: serving metrics at ${where}\n`);
    await ended;
    return 0;
  },
});

type Place = { socket: string } | { host: string; port: number };

/** `127.0.0.1:9393`, `[::1]:9393`, `localhost:9393`, `unix:/run/x.sock`. */
export function parseListen(text: string): Place {
  if (text.startsWith('unix:')) {
    const socket = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (!socket.startsWith('/'))
      throw new InvalidError(`--listen ${text}: expected an absolute path after unix:`);
    return { socket };
  }
  const m = /^(.*):(\d+)$/.exec(text);
  const host = m?.[1]?.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1';
  const port = Number(m?.[2] ?? Number.NaN);
  if (!(port <= 65535)) throw new InvalidError(`--listen ${text}: expected HOST:PORT or unix:PATH`);
  if (!/^127\.\d+\.\d+\.\d+$|^::1$|^localhost$/.test(host)) {
    throw new InvalidError(
      `--listen ${text}: only loopback addresses, since figures are nobody else's business`,
      {
        hint: 'use 127.0.0.1, [::1] or unix:PATH, and a proxy with authentication in front for others',
      },
    );
  }
  return { host, port };
}

async function listen(server: Server, place: Place): Promise<string> {
  const { fromErrno } = await import('../../base/index.js');
  try {
    if ('socket' in place) {
      const { chmodSync } = await import('node:fs');
      await removeStale(place.socket);
      await new Promise<void>((resolve, reject) =>
        server.once('error', reject).listen(place.socket, resolve),
      );
      chmodSync(place.socket, 0o600);
      return `unix:${place.socket}`;
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(place.port, place.host, resolve);
    });
  } catch (error) {
    const what = 'socket' in place ? place.socket : `${place.host}:${place.port}`;
    throw fromErrno(`listen on ${what}`, error, { path: what });
  }
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : place.port;
  return `http://${place.host.includes(':') ? `[${place.host}]` : place.host}:${port}/metrics`;
}

/** A socket that nobody listens on any more is in the way after a crash; one that answers belongs to another. */
async function removeStale(path: string): Promise<void> {
  const { rmSync, existsSync } = await import('node:fs');
  if (!existsSync(path)) return;
  const { connect } = await import('node:net');
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
  if (!alive) rmSync(path, { force: true });
}
