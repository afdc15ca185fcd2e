import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestStore } from './images.js';

/** Debian's docker-registry on a free loopback port. */
export class RealRegistry implements Disposable {
  readonly #child: ChildProcess;
  readonly host: string;
  private constructor(child: ChildProcess, host: string) {
    this.#child = child;
    this.host = host;
  }
  static async start(store: TestStore, extra = ''): Promise<RealRegistry> {
    const port = await freePort();
    const config = store.file(`registry-${port}.yml`);
    mkdirSync(store.file('registry'), { recursive: true });
    writeFileSync(
      config,
      `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${store.file('registry')}}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:${port}"}\n${extra}`,
    );
    const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
    for (let i = 0; i < 200; i++) {
      try {
        await fetch(`http://127.0.0.1:${port}/v2/`);
        break;
      } catch {
        await new Promise((r) => setTimeout(r, 50));
      }
    }
    return new RealRegistry(child, `127.0.0.1:${port}`);
  }
  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** A TCP port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
  const { port } = server.address() as AddressInfo;
  await new Promise((r) => server.close(r));
  return port;
}
