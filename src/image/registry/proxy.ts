import type { RequestOptions } from 'node:http';
import type { Socket } from 'node:net';
import { proxyAuth } from './http.js';

/** Opens a tunnel through an HTTP proxy; gives what https.request takes as createConnection. @see RFC 9110, 9.3.6 */
export async function tunnel(
  proxy: URL,
  url: URL,
  settings: RequestOptions & {
    ca?: (string | Buffer)[];
    cert?: Buffer;
    key?: Buffer;
    rejectUnauthorized?: boolean;
  },
): Promise<() => Socket> {
  const { request } = proxy.protocol === 'https:' ? await import('node:https') : await import('node:http');
  const { connect } = await import('node:tls');
  const port = url.port || '443';
  const socket = await new Promise<Socket>((resolve, reject) => {
    const req = request(proxy, {
      method: 'CONNECT',
      path: `${url.hostname}:${port}`,
      headers: { host: `${url.hostname}:${port}`, ...proxyAuth(proxy) },
      signal: settings.signal,
      timeout: settings.timeout,
    });
    req.on('timeout', () => req.destroy(new Error(`the proxy ${proxy.host} does not answer`)));
    req.on('connect', (response, raw) => {
      if (response.statusCode === 200) resolve(raw as Socket);
      else reject(new Error(`the proxy ${proxy.host} answers ${response.statusCode}`));
    });
    req.on('error', reject);
    req.end();
  });
  return () =>
    connect({
      socket,
      servername: url.hostname,
      ...(settings.ca ? { ca: settings.ca } : {}),
      ...(settings.cert ? { cert: settings.cert, key: settings.key } : {}),
      ...(settings.rejectUnauthorized === undefined
        ? {}
        : { rejectUnauthorized: settings.rejectUnauthorized }),
    });
}
