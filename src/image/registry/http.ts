import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, RequestOptions } from 'node:http';
import path from 'node:path';
import { type Context, fromErrno, ImageError, InvalidError, NsboxError } from '../../base/index.js';
import { isInsecure, isLoopback, silenceMs, withoutProxy } from './settings.js';

export interface HttpRequest {
  method?: string | undefined;
  headers?: Record<string, string> | undefined;
  /** Whole, or in pieces with a content-length among the headers. */
  body?: Buffer | AsyncIterable<Buffer> | undefined;
  signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  headers: IncomingMessage['headers'];
  /** Must be read or destroyed. */
  body: IncomingMessage;
  /** After redirects. */
  url: URL;
}

const REDIRECTS = 5;

/**
 * One HTTP request, redirects followed for GET and HEAD (without the authorization once the host changes: storage
 * behind a registry signs its URLs). Proxies as curl reads them: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
 * @throws ImageError REGISTRY where the host can't be reached or the certificate isn't trusted
 */
export async function request(ctx: Context, url: URL, options: HttpRequest = {}): Promise<HttpResponse> {
  let at = url;
  let headers = { ...options.headers };
  for (let hops = 0; ; hops++) {
    const response = await once(ctx, at, { ...options, headers });
    const location = response.headers.location;
    const safe = options.method === undefined || options.method === 'GET' || options.method === 'HEAD';
    if (!safe || location === undefined || ![301, 302, 303, 307, 308].includes(response.status))
      return response;
    response.body.destroy();
    if (hops === REDIRECTS) throw new ImageError(`${url.host} redirects too often`, { code: 'REGISTRY' });
    const next = new URL(location, at);
    if (at.protocol === 'https:' && next.protocol !== 'https:') {
      throw new ImageError(`${at.host} redirects from https to ${next.protocol}//${next.host}`, {
        code: 'REGISTRY',
      });
    }
    if (next.host !== at.host) {
      headers = Object.fromEntries(
        Object.entries(headers).filter(([k]) => k.toLowerCase() !== 'authorization'),
      );
    }
    at = next;
  }
}

async function once(ctx: Context, url: URL, options: HttpRequest): Promise<HttpResponse> {
  const secure = url.protocol === 'https:';
  const silence = silenceMs(ctx);
  const settings: RequestOptions & {
    ca?: (string | Buffer)[];
    cert?: Buffer;
    key?: Buffer;
    rejectUnauthorized?: boolean;
    servername?: string;
  } = {
    method: options.method ?? 'GET',
    headers: { 'user-agent': 'nsbox', ...options.headers },
    signal: options.signal,
    // From before the connection is made: a handshake may hang as well.
    timeout: silence,
  };
  if (secure) {
    Object.assign(settings, await certificates(ctx, url.host));
    if (isInsecure(ctx, url.host)) settings.rejectUnauthorized = false;
  }
  const proxy = await proxyFor(ctx, url);
  try {
    if (proxy && secure) {
      const { tunnel } = await import('./proxy.js');
      settings.createConnection = await tunnel(proxy, url, settings);
    }
    const { request: send } = secure ? await import('node:https') : await import('node:http');
    const target = proxy && !secure ? viaProxy(proxy, url, settings) : url;
    return await new Promise<HttpResponse>((resolve, reject) => {
      const req = send(target, settings, (body) => {
        body.setTimeout(silence, () =>
          body.destroy(new Error(`no data from ${url.host} for ${silence / 1000} s`)),
        );
        resolve({ status: body.statusCode ?? 0, headers: body.headers, body, url });
      });
      req.on('timeout', () => req.destroy(new Error(`no answer for ${silence / 1000} s`)));
      req.on('error', reject);
      void sendBody(req, options.body).catch((error: unknown) => req.destroy(error as Error));
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    // What went wrong while the body was read on our side.
    if (error instanceof NsboxError) throw error;
    throw unreachable(url, error, settings.cert !== undefined);
  }
}

async function sendBody(req: import('node:http').ClientRequest, body: HttpRequest['body']): Promise<void> {
  if (body && !Buffer.isBuffer(body)) {
    for await (const piece of body) {
      // A copy: the source reuses its piece.
      if (!req.write(Buffer.from(piece))) {
        await new Promise<void>((resolve) => {
          req.once('drain', resolve);
          req.once('close', resolve);
        });
      }
      if (req.destroyed) return;
    }
    req.end();
  } else {
    req.end(body);
  }
}

function viaProxy(proxy: URL, url: URL, settings: RequestOptions): URL {
  settings.path = url.href;
  settings.headers = { ...settings.headers, host: url.host, ...proxyAuth(proxy) };
  return proxy;
}

export function proxyAuth(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {};
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` };
}

async function proxyFor(ctx: Context, url: URL): Promise<URL | undefined> {
  const env = (name: string) => ctx.env[name.toLowerCase()] || ctx.env[name] || undefined;
  const proxy = (url.protocol === 'https:' ? env('HTTPS_PROXY') : env('HTTP_PROXY')) ?? env('ALL_PROXY');
  if (proxy === undefined || isLoopback(url.hostname)) return undefined;
  if (await withoutProxy(env('NO_PROXY') ?? '', url)) return undefined;
  return new URL(/^[a-z]+:\/\//.test(proxy) ? proxy : `http://${proxy}`);
}

/**
 * Certificates for a host, in files as Docker has them in /etc/docker/certs.d/HOST: *.crt are authorities beside the usual
 * ones, NAME.cert with NAME.key is ours. SSL_CERT_FILE adds authorities for every host.
 * @throws NsboxError where a certificate has no key, or a key no certificate
 */
async function certificates(
  ctx: Context,
  host: string,
): Promise<{ ca?: (string | Buffer)[]; cert?: Buffer; key?: Buffer }> {
  const authorities: Buffer[] = [];
  const own: { cert?: Buffer; key?: Buffer } = {};
  const directories = [path.join('/etc/nsbox/certs.d', host), path.join('/etc/docker/certs.d', host)];
  const given = ctx.env['NSBOX_CERT_DIR'];
  for (const directory of given ? [given, ...directories] : directories) {
    let names: string[];
    try {
      names = readdirSync(directory).sort();
    } catch (error) {
      if (directory === given) throw fromErrno(`read ${directory}`, error, { path: directory });
      continue; // no authority of this host's own
    }
    for (const name of names) {
      const file = path.join(directory, name);
      if (name.endsWith('.key') && !names.includes(name.replace(/key$/, 'cert'))) {
        throw new InvalidError(`${file} is the key of a certificate that is not there`, {
          hint: `put the certificate beside it as ${name.replace(/key$/, 'cert')}; authorities end in .crt`,
        });
      }
      if (name.endsWith('.crt')) authorities.push(readFileSync(file));
      if (!name.endsWith('.cert') || own.cert) continue;
      const key = file.replace(/cert$/, 'key');
      try {
        own.cert = readFileSync(file);
        own.key = readFileSync(key);
      } catch (error) {
        throw fromErrno(`read ${key}`, error, { path: key, hint: `${name} needs its key beside it` });
      }
    }
  }
  const file = ctx.env['SSL_CERT_FILE'] || ctx.env['NODE_EXTRA_CA_CERTS'];
  if (file) {
    try {
      authorities.push(readFileSync(file));
    } catch {
      ctx.warn(`cannot read the certificates in ${file}`);
    }
  }
  if (authorities.length === 0) return own;
  const { rootCertificates } = await import('node:tls');
  return { ...own, ca: [...authorities, ...rootCertificates] };
}

/** @param own whether a certificate of ours was shown */
function unreachable(url: URL, error: unknown, own = false): ImageError {
  interface Failure {
    code?: string;
    message?: string;
    /** What openssl says, without its own source lines. */
    reason?: string;
  }
  const e = error as Failure & { errors?: Failure[] };
  const first = e.errors?.[0] ?? e;
  const code = first.code ?? '';
  const reasons: Record<string, string> = {
    ENOTFOUND: 'no such host',
    EAI_AGAIN: 'the name cannot be resolved now',
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'the connection was cut',
    EHOSTUNREACH: 'no route to the host',
    ENETUNREACH: 'the network is unreachable',
    ETIMEDOUT: 'timed out',
  };
  // The other side ended TLS over what we showed or didn't show. @see RFC 8446, 6.2
  const alert = Number(/SSL alert number (\d+)/.exec(first.message ?? '')?.[1]);
  if ([40, 42, 43, 44, 45, 46, 48, 49, 116].includes(alert)) {
    return new ImageError(
      `cannot reach the registry ${url.host}: it ${own ? "doesn't take our certificate" : 'wants a certificate of ours'} (${first.reason ?? code})`,
      {
        code: 'REGISTRY',
        cause: error,
        hint: `put it into /etc/docker/certs.d/${url.host} as client.cert and client.key, or give --cert-dir`,
      },
    );
  }
  const certificate = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code);
  const said = reasons[code] ?? first.reason ?? first.message?.split('\n')[0] ?? code;
  return new ImageError(`cannot reach the registry ${url.host}: ${said}`, {
    code: 'REGISTRY',
    errno: /^E[A-Z]+$/.test(code) ? code : undefined,
    cause: error,
    hint: certificate
      ? `put its authority into /etc/docker/certs.d/${url.host}/ca.crt, or give --tls-verify=false`
      : undefined,
  });
}

/** A response's body, up to `limit` bytes. @throws ImageError where it is longer */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > limit) {
        throw new ImageError(
          `${response.url.host} answers with more than ${limit} bytes where a document is due`,
          {
            code: 'REGISTRY',
          },
        );
      }
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw unreachable(response.url, error);
  } finally {
    response.body.destroy();
  }
  return Buffer.concat(pieces);
}
