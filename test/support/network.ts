import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Context, makeContext, newId } from '../../src/base/index.js';
import { type NetworkSettings, openNetworks, type PrepareOptions } from '../../src/network/index.js';

const ASK = path.join(import.meta.dirname, 'net-ask.js');

/** A namespace with a program in it: a container without the rest, or another host. */
export interface Place {
  pid: number;
  netns: string;
  /** Runs a command in it and gives what it prints on both streams; '' and more where it fails. */
  run(...command: string[]): string;
  /** What a TCP server answers; '' where there is none in two seconds. */
  ask(address: string, port: number): string;
  /** The same over UDP; `from`: the port it is sent from. */
  askUdp(address: string, port: number, from?: number): string;
  end(): void;
}

/** A container in tests: a namespace, wired by the code under test. */
export interface TestContainer extends Place {
  id: string;
  settings: NetworkSettings;
  ip: string;
  ip6: string;
}

/** What a test makes: containers, hosts, a root and state of its own. All of it goes at the end. */
export class NetworkRig implements AsyncDisposable {
  readonly directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-net-'));
  readonly warnings: string[] = [];
  readonly ctx: Context = makeContext({
    root: `${this.directory}/root`,
    state: `${this.directory}/state`,
    warn: (text) => this.warnings.push(text),
  });
  readonly networks = openNetworks(this.ctx);
  #children: ChildProcess[] = [];
  #containers: TestContainer[] = [];
  #count = 0;

  constructor() {
    ip('link', 'set', 'lo', 'up');
  }

  /** A namespace whose program answers on ports (TCP and UDP) with the caller's address. */
  async place(ports: number[] = [], inNamespaceOf?: Place): Promise<Place> {
    const peer = path.join(import.meta.dirname, 'net-peer.js');
    const inside = ports.length
      ? [process.execPath, peer, ...ports.map(String)]
      : ['sh', '-c', 'echo up; exec sleep 1000'];
    const enter = inNamespaceOf ? ['nsenter', '-t', String(inNamespaceOf.pid), '-n'] : ['unshare', '-n'];
    const child = spawn(enter[0]!, [...enter.slice(1), ...inside], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.push(child);
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('exit', reject);
    });
    const { pid } = child as { pid: number };
    const run = (...command: string[]) => {
      const r = spawnSync('nsenter', ['-t', String(pid), '-n', ...command], {
        encoding: 'utf8',
        timeout: 60_000,
      });
      return `${r.stdout}${r.stderr}`.trim();
    };
    return {
      pid,
      netns: `/proc/${pid}/ns/net`,
      run,
      ask: (address, port) =>
        run('sh', '-c', `busybox nc -w 2 ${address} ${port} </dev/null 2>/dev/null`).replaceAll(
          '::ffff:',
          '',
        ),
      askUdp: (address, port, from = 0) =>
        run(process.execPath, ASK, address, String(port), String(from)).replaceAll('::ffff:', ''),
      end: () => child.kill('SIGKILL'),
    };
  }

  /** A program of test/support where the test is; it has printed something. */
  async program(file: string, ...args: string[]): Promise<void> {
    const child = spawn(process.execPath, [path.join(import.meta.dirname, file), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('exit', reject);
    });
  }

  /** A container that is prepared and wired. */
  async container(options: Partial<PrepareOptions> & { listen?: number[] } = {}): Promise<TestContainer> {
    const { listen = [80], ...rest } = options;
    const id = options.containerId ?? newId();
    const [place, settings] = await Promise.all([
      this.place(listen),
      this.networks.prepare({
        containerId: id,
        containerName: `c${this.#count++}`,
        hostname: id.slice(0, 12),
        requests: [],
        ...rest,
      }),
    ]);
    await this.networks.connect(settings, place.netns);
    const first = settings.endpoints[0];
    const container = {
      ...place,
      id,
      settings,
      ip: first?.ipv4?.address ?? '',
      ip6: first?.ipv6?.address ?? '',
    };
    this.#containers.push(container);
    return container;
  }

  /** Ends a container's program and gives back what it held. */
  async remove(container: TestContainer): Promise<void> {
    container.end();
    await this.networks.release(container.id);
    this.#containers = this.#containers.filter((c) => c !== container);
  }

  /** Another host: 198.51.100.2 and fd00:51::2, with us at .1 on the link `lan`. */
  async otherHost(ports: number[] = [], number = 2): Promise<Place> {
    const host = await this.place(ports);
    const link = number === 2 ? 'lan' : `lan${number}`;
    const net = number === 2 ? 100 : 100 + number;
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(host.pid));
    ip('addr', 'add', `198.51.${net}.1/24`, 'dev', link);
    ip('addr', 'add', 'fd00:51::1/64', 'dev', link, 'nodad');
    // Addresses that are usable at once.
    writeFileSync(`/proc/sys/net/ipv6/conf/${link}/accept_dad`, '0');
    host.run('sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad');
    ip('link', 'set', link, 'up');
    host.run('ip', 'link', 'set', 'lo', 'up');
    host.run('ip', 'addr', 'add', `198.51.${net}.2/24`, 'dev', 'eth0');
    host.run('ip', 'addr', 'add', 'fd00:51::2/64', 'dev', 'eth0', 'nodad');
    host.run('ip', 'link', 'set', 'eth0', 'up');
    return host;
  }

  /** Runs commands where the test is: the host of the containers. */
  get here(): Pick<Place, 'ask' | 'askUdp' | 'run'> {
    const run = (...command: string[]) => {
      const r = spawnSync(command[0]!, command.slice(1), { encoding: 'utf8', timeout: 60_000 });
      return `${r.stdout}${r.stderr}`.trim();
    };
    return {
      run,
      ask: (address, port) =>
        run('sh', '-c', `busybox nc -w 2 ${address} ${port} </dev/null 2>/dev/null`).replaceAll(
          '::ffff:',
          '',
        ),
      askUdp: (address, port, from = 0) =>
        run(process.execPath, ASK, address, String(port), String(from)).replaceAll('::ffff:', ''),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#containers) await this.remove(container);
    for (const child of this.#children) child.kill('SIGKILL');
    await this.networks.prune(() => false);
    spawnSync('sh', ['-c', 'for l in lan lan3 par0; do ip link del $l 2>/dev/null; done; true']);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

/** Names of the links and the rules that there are: what must be as before. */
export function networkState(): { links: string; rules: string } {
  return {
    links: ip('-br', 'link').replace(/\s+[\da-f:]{17}.*$/gm, ''),
    rules: execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
  };
}

/** Waits until something holds. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 30_000,
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
