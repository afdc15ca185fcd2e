import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256 } from './images.js';

/** Handles a request in its own way; false leaves it to the honest part. */
export type Trick = (req: IncomingMessage, res: ServerResponse, url: string) => boolean;

/** Stands before a real registry, passes on what it is asked, and misbehaves as told. */
export class Front implements Disposable {
  readonly #server: Server;
  /** `PUT /v2/… Bearer x`, in the order of arrival. */
  readonly requests: string[] = [];
  trick: Trick = () => false;
  host = '';

  private constructor(port: number) {
    this.#server = createServer((req, res) => {
      const url = req.url ?? '';
      this.requests.push(`${req.method} ${url} ${req.headers.authorization ?? ''}`.trim());
      res.on('error', () => {});
      req.on('error', () => {});
      if (this.trick(req, res, url)) return;
      const onward = request(
        { host: '127.0.0.1', port, method: req.method, path: req.url, headers: req.headers, agent: false },
        (answer) => {
          res.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(res);
        },
      );
      onward.on('error', () => res.destroy());
      req.pipe(onward);
    });
  }

  /** @param port the real registry's, on loopback */
  static async start(port: number): Promise<Front> {
    const front = new Front(port);
    await new Promise<void>((r) => front.#server.listen(0, '127.0.0.1', r));
    front.host = `127.0.0.1:${(front.#server.address() as AddressInfo).port}`;
    return front;
  }

  /** How many requests match. */
  count(what: RegExp): number {
    return this.requests.filter((r) => what.test(r)).length;
  }

  [Symbol.dispose](): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** A registry of ours that serves one image and misbehaves as told. */
export class BadRegistry implements Disposable {
  readonly layer: Buffer;
  readonly config: Buffer;
  readonly manifest: Buffer;
  readonly requests: string[] = [];
  trick: Trick = () => false;
  #server!: Server;
  host = '';

  constructor(
    layer: Buffer,
    plain: Buffer,
    edit: (m: { layers: { size: number; mediaType: string }[] }) => void = () => {},
  ) {
    this.layer = layer;
    this.config = Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [sha256(plain)] },
      }),
    );
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(this.config),
        size: this.config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          digest: sha256(layer),
          size: layer.length,
        },
      ],
    };
    edit(manifest);
    this.manifest = Buffer.from(JSON.stringify(manifest));
  }

  async start(): Promise<this> {
    this.#server = createServer((req, res) => {
      const url = req.url ?? '';
      this.requests.push(`${req.method} ${url} ${req.headers.range ?? ''}`.trim());
      res.on('error', () => {});
      if (this.trick(req, res, url)) return;
      if (url.includes('/manifests/')) {
        res.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json').end(this.manifest);
      } else if (url.endsWith(sha256(this.config))) res.end(this.config);
      else if (url.endsWith(sha256(this.layer))) {
        const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? '')?.[1] ?? 0);
        res.writeHead(from > 0 ? 206 : 200).end(this.layer.subarray(from));
      } else res.writeHead(url === '/v2/' ? 200 : 404).end();
    });
    await new Promise<void>((r) => this.#server.listen(0, '127.0.0.1', r));
    this.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }
  [Symbol.dispose](): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
