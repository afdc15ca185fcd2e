import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSign, randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcp,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import path from 'node:path';

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createTcp();
  await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
  const { port } = server.address() as AddressInfo;
  await new Promise((r) => server.close(r));
  return port;
}

/** Debian's docker-registry on a free loopback port, with a directory and an access log of its own. */
export class RealRegistry implements Disposable {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly host: string;
  readonly port: number;
  #log = '';

  private constructor(child: ChildProcess, directory: string, port: number) {
    this.#child = child;
    this.#directory = directory;
    this.port = port;
    this.host = `127.0.0.1:${port}`;
    child.stdout?.on('data', (text: Buffer) => {
      this.#log += text.toString();
    });
    child.stderr?.resume();
  }

  /** @param settings more of its configuration: `auth`, `http.tls` */
  static async start(
    settings: {
      auth?: object | undefined;
      tls?: { certificate: string; key: string; clientcas?: string[] } | undefined;
    } = {},
  ): Promise<RealRegistry> {
    const directory = mkdtempSync('/tmp/nsbox-test-registry-');
    const port = await freePort();
    const file = path.join(directory, 'config.json');
    writeFileSync(
      file,
      // JSON is YAML.
      JSON.stringify({
        version: 0.1,
        log: { level: 'error', accesslog: { disabled: false } },
        storage: { filesystem: { rootdirectory: path.join(directory, 'data') }, delete: { enabled: true } },
        http: { addr: `127.0.0.1:${port}`, ...(settings.tls ? { tls: settings.tls } : {}) },
        ...(settings.auth ? { auth: settings.auth } : {}),
      }),
    );
    mkdirSync(path.join(directory, 'data'));
    const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    const registry = new RealRegistry(child, directory, port);
    for (let i = 0; i < 600; i++) {
      if (await answers(port)) return registry;
      if (child.exitCode !== null) break;
      await new Promise((r) => setTimeout(r, 50));
    }
    registry[Symbol.dispose]();
    throw new Error('docker-registry does not start');
  }

  /** Requests that it answered so far, as `PUT /v2/… 201`. */
  get requests(): string[] {
    return [...this.#log.matchAll(/"([A-Z]+ \S+) HTTP\/[^"]*" (\d+)/g)].map((m) => `${m[1]} ${m[2]}`);
  }

  /** Blobs whose content was sent to it, by the repository. */
  get uploads(): string[] {
    return this.requests.flatMap(
      (line) => /^PUT \/v2\/(\S+)\/blobs\/uploads\/\S* 201$/.exec(line)?.[1] ?? [],
    );
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** A certificate authority of a test, in a directory that goes with it. */
export class Authority implements Disposable {
  readonly directory = mkdtempSync('/tmp/nsbox-test-ca-');
  /** The authority's own certificate. */
  readonly certificate = path.join(this.directory, 'ca.crt');

  constructor() {
    this.#openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=nsbox test',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
    );
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'] });
  }

  /** Key and certificate of a server on loopback and under the names. */
  server(...names: string[]): { certificate: string; key: string } {
    const id = randomBytes(4).toString('hex');
    const alt = ['IP:127.0.0.1', ...names.map((name) => `DNS:${name}`)].join(',');
    writeFileSync(path.join(this.directory, `${id}.ext`), `subjectAltName=${alt}\n`);
    this.#openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=registry',
      '-keyout',
      `${id}.key`,
      '-out',
      `${id}.csr`,
    );
    this.#openssl(
      'x509',
      '-req',
      '-in',
      `${id}.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      `${id}.ext`,
      '-out',
      `${id}.pem`,
    );
    return {
      certificate: path.join(this.directory, `${id}.pem`),
      key: path.join(this.directory, `${id}.key`),
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * Gives out tokens as Docker Hub does, for whom it knows; anybody may pull what is below `public/`.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class TokenServer implements Disposable {
  readonly #server: Server;
  readonly #authority = new Authority();
  /** Each token that was asked for: user and scopes. */
  readonly asked: { user: string | undefined; scopes: string[]; grant: string }[] = [];
  /** Seconds that a token is good for. */
  lifetime = 300;
  realm = '';
  readonly #users: Record<string, string>;

  private constructor(users: Record<string, string>) {
    this.#users = users;
    this.#server = createServer((req, res) => void this.#answer(req, res));
  }

  static async start(users: Record<string, string>): Promise<TokenServer> {
    const server = new TokenServer(users);
    await new Promise<void>((r) => server.#server.listen(0, '127.0.0.1', r));
    server.realm = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}/token`;
    return server;
  }

  /** What a registry's configuration needs to trust it. */
  get auth(): object {
    return {
      token: {
        realm: this.realm,
        service: 'registry.test',
        issuer: 'nsbox-test',
        rootcertbundle: this.#authority.certificate,
      },
    };
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    let form = new URL(req.url ?? '/', 'http://x').searchParams;
    let user: string | undefined;
    if (req.method === 'POST') {
      let body = '';
      for await (const piece of req) body += String(piece);
      form = new URLSearchParams(body);
      user = /^refresh-(.+)$/.exec(form.get('refresh_token') ?? '')?.[1];
    } else if (req.headers.authorization) {
      const pair = Buffer.from(req.headers.authorization.slice(6), 'base64').toString();
      const [, name = '', password] = /^([^:]*):(.*)$/s.exec(pair) ?? [];
      if (this.#users[name] !== password) return void res.writeHead(401).end('{}');
      user = name;
    }
    const scopes = form
      .getAll('scope')
      .flatMap((s) => s.split(' '))
      .filter((s) => s !== '');
    this.asked.push({ user, scopes, grant: form.get('grant_type') ?? 'password' });
    const access = scopes.flatMap((scope) => {
      const [type, name, actions] = scope.split(':') as [string, string, string];
      if (user !== undefined) return [{ type, name, actions: actions.split(',') }];
      return name.startsWith('public/') ? [{ type, name, actions: ['pull'] }] : [];
    });
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ token: this.#sign(user ?? '', access), expires_in: this.lifetime }));
  }

  #sign(subject: string, access: object[]): string {
    const now = Math.floor(Date.now() / 1000);
    const der = new X509Certificate(readFileSync(this.#authority.certificate)).raw;
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const head = part({ typ: 'JWT', alg: 'RS256', x5c: [der.toString('base64')] });
    const claims = part({
      iss: 'nsbox-test',
      sub: subject,
      aud: 'registry.test',
      exp: now + this.lifetime,
      nbf: now - 60,
      iat: now,
      jti: randomBytes(8).toString('hex'),
      access,
    });
    const sign = createSign('RSA-SHA256').update(`${head}.${claims}`);
    const key = readFileSync(path.join(this.#authority.directory, 'ca.key'));
    return `${head}.${claims}.${sign.sign(key).toString('base64url')}`;
  }

  [Symbol.dispose](): void {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#authority[Symbol.dispose]();
  }
}

/** An HTTP proxy that leads every host to loopback, with a list of what it was asked for. */
export class LoopbackProxy implements Disposable {
  readonly #server: Server;
  readonly asked: string[] = [];
  url = '';
  /** `user:password` that it wants. */
  credentials: string | undefined;

  private constructor() {
    this.#server = createServer((req, res) => {
      this.asked.push(`${req.method} ${req.url}`);
      if (!this.#admits(req)) return void res.writeHead(407).end();
      const url = new URL(req.url ?? '');
      const socket = connect(Number(url.port), '127.0.0.1', () => {
        const headers = Object.entries(req.headers).filter(([k]) => !/^(proxy-|connection)/.test(k));
        socket.write(
          `${req.method} ${url.pathname}${url.search} HTTP/1.1\r\n${headers.map(([k, v]) => `${k}: ${String(v)}\r\n`).join('')}connection: close\r\n\r\n`,
        );
        req.pipe(socket, { end: false });
        socket.pipe(res.socket!);
      });
      socket.on('error', () => res.destroy());
    });
    this.#server.on('connect', (req, client, head) => {
      this.asked.push(`CONNECT ${req.url}`);
      if (!this.#admits(req)) {
        client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const upstream = connect(Number(req.url?.split(':')[1]), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.write(head);
        upstream.pipe(client);
        client.pipe(upstream);
      });
      upstream.on('error', () => client.destroy());
      client.on('error', () => upstream.destroy());
    });
  }

  #admits(req: IncomingMessage): boolean {
    const given = Buffer.from((req.headers['proxy-authorization'] ?? '').slice(6), 'base64').toString();
    return this.credentials === undefined || given === this.credentials;
  }

  static async start(): Promise<LoopbackProxy> {
    const proxy = new LoopbackProxy();
    await new Promise<void>((r) => proxy.#server.listen(0, '127.0.0.1', r));
    proxy.url = `http://127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`;
    return proxy;
  }

  [Symbol.dispose](): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** A server that takes connections and never says a word. */
export class SilentServer implements Disposable {
  readonly #server: TcpServer;
  readonly #sockets = new Set<Socket>();
  host = '';
  private constructor() {
    this.#server = createTcp((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.resume();
    });
  }
  static async start(): Promise<SilentServer> {
    const server = new SilentServer();
    await new Promise<void>((r) => server.#server.listen(0, '127.0.0.1', r));
    server.#server.unref();
    server.host = `127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    return server;
  }
  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
