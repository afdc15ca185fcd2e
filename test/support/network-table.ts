import { spawnSync } from 'node:child_process';
import type { NetworkRig, Place } from './network.js';
import type { Engine, Result } from './network-engines.js';

/** A running container of an engine. */
export interface Running {
  id: string;
  pid: number;
  /** Runs a command in its network namespace. */
  net(...command: string[]): string;
  /** Runs a command of its image in its network and mount namespaces. */
  in(...command: string[]): string;
  ask(address: string, port: number): string;
}

/** What the cases have: an engine, this host, another host, and a way to start containers. */
export class TableWorld {
  readonly rig: NetworkRig;
  readonly engine: Engine;
  readonly other: Place;
  #ids: string[] = [];
  #servers: Place[] = [];

  constructor(rig: NetworkRig, engine: Engine, other: Place) {
    this.rig = rig;
    this.engine = engine;
    this.other = other;
  }

  /** Makes the networks of the cases; each engine has subnets of its own. */
  networks(): void {
    const n = this.engine.number;
    for (const flags of [
      ['--subnet', `10.9${n}.1.0/24`, 'n1'],
      ['--subnet', `10.9${n}.2.0/24`, 'n2'],
      ['--subnet', `10.9${n}.3.0/24`, '--internal', 'shut'],
      ['--ipv6', '--subnet', `10.9${n}.6.0/24`, '--subnet', `fd00:9${n}::/64`, 'six'],
    ]) {
      const r = this.engine.call('network', 'create', ...flags);
      if (r.code !== 0) throw new Error(`${this.engine.name} network create: ${r.err}`);
    }
  }

  run(...flags: string[]): Result {
    return this.engine.call('run', ...this.engine.runFlags, ...flags);
  }

  /** `run -d` of a container with a server on ports, which answers with the port and the caller's address. */
  async up(flags: string[], listen: number[] = []): Promise<Running> {
    const r = this.run('-d', ...flags, 'box', 'sleep', '1000');
    const id = r.out.trim().split('\n').at(-1)!;
    if (r.code !== 0) {
      throw new Error(`${r.code} error`, { cause: r.err.trim() });
    }
    this.#ids.push(id);
    const pid = Number(this.engine.call('inspect', '-f', '{{.State.Pid}}', id).out);
    if (listen.length > 0) this.#servers.push(await this.rig.place(listen, { pid } as Place));
    const enter = (flags: string[], command: string[]) => {
      const r = spawnSync('nsenter', ['-t', String(pid), ...flags, ...command], {
        encoding: 'utf8',
        timeout: 15_000,
      });
      return `${r.stdout}${r.stderr}`.trim();
    };
    const net = (...command: string[]) => enter(['-n'], command);
    return {
      id,
      pid,
      net,
      in: (...command) => enter(['-n', '-m'], command),
      ask: (address, port) =>
        net('sh', '-c', `busybox nc -w 2 ${address} ${port} </dev/null 2>/dev/null`).replaceAll(
          '::ffff:',
          '',
        ),
    };
  }

  /** What `docker port` says, without the numbers that are chosen by chance. */
  ports(c: Running): string {
    const lines = this.engine.call('port', c.id).out.trim().split('\n').sort();
    // Docker before 23 writes [::] without its brackets.
    return lines
      .map((l) => l.replace('-> :::', '-> [::]:').replace(/:(3[2-9]|[45]\d|60)\d{3}$/, ':CHOSEN'))
      .join(', ');
  }

  down(): void {
    for (const server of this.#servers) server.end();
    if (this.#ids.length > 0) {
      // Docker waits ten seconds, podman too, for a program that doesn't know SIGTERM.
      this.engine.call('kill', ...this.#ids);
      this.engine.call('rm', '-f', ...this.#ids);
    }
    this.#ids = [];
    this.#servers = [];
  }

  /** Addresses of this engine as every engine's. */
  plain(text: string): string {
    const n = this.engine.number;
    return text
      .replaceAll('198.51.100.1', 'HOST')
      .replaceAll('198.51.100.2', 'OTHER')
      .replaceAll(`10.9${n}.`, '10.9N.')
      .replaceAll(`fd00:9${n}:`, 'fd00:9N:');
  }
}

const yes = (answer: string, port = 80): string => (answer.startsWith(`${port} `) ? 'yes' : 'no');

/** A run that must fail: its exit code, and whether the message says why. */
function refused(says: RegExp, ...flags: string[]) {
  return (w: TableWorld): string => {
    const r = w.run('--rm', ...flags, 'box', 'true');
    if (r.code === 0) return 'accepted';
    return `${r.code} ${says.test(r.err) ? 'says why' : `says ${r.err.trim().split('\n')[0]}`}`;
  };
}

/** What a command in a container prints. */
function prints(flags: string[], ...command: string[]) {
  return (w: TableWorld): string => {
    const r = w.run('--rm', ...flags, 'box', ...command);
    return r.code === 0 ? r.out.trim().replace(/\s+/g, ' ') : `${r.code} error`;
  };
}

/** The resolv.conf without comments, in one line; the order of its lines has no meaning. */
const resolv = (...flags: string[]) => prints(flags, 'sh', '-c', 'grep -v ^# /etc/resolv.conf | sort');

/** Lines of the hosts file with a word. */
const hosts = (word: string, ...flags: string[]) => prints(flags, 'grep', word, '/etc/hosts');

function resolves(c: Running, name: string): string {
  return /^Address: *\d|^Name:/m.test(c.in('/bin/busybox', 'nslookup', '-type=a', name)) ? 'yes' : 'no';
}

/** A case and what was seen: one text for all three engines alike, or for those that differ their own. */
export interface Case {
  name: string;
  see(world: TableWorld): string | Promise<string>;
  /** nsbox's behaviour, and that of every engine not named below. */
  all: string;
  docker?: string;
  podman?: string;
  /** Reason of the difference, as in docs/networks.md. */
  why?: string;
}

export const CASES: Case[] = [
  {
    name: '-p 8080:80: from another host, its address kept',
    all: '80 OTHER',
    see: async (w) => {
      await w.up(['-p', '8080:80'], [80]);
      return w.other.ask('198.51.100.1', 8080);
    },
  },
  {
    name: '-p 8080:80: from 127.0.0.1, the own address, ::1, itself, a neighbour',
    all: 'yes yes yes yes yes',
    podman: 'yes yes no no yes',
    why: 'podman publishes on IPv4 alone, and a container does not reach its own published port',
    see: async (w) => {
      const c = await w.up(['-p', '8080:80'], [80]);
      const d = await w.up([]);
      const here = (address: string) => yes(w.rig.here.ask(address, 8080));
      return [
        here('127.0.0.1'),
        here('198.51.100.1'),
        here('::1'),
        yes(c.ask('198.51.100.1', 8080)),
        yes(d.ask('198.51.100.1', 8080)),
      ].join(' ');
    },
  },
  {
    name: '-p 127.0.0.1:8080:80: from localhost, not from another host',
    all: 'yes no',
    see: async (w) => {
      await w.up(['-p', '127.0.0.1:8080:80'], [80]);
      return `${yes(w.rig.here.ask('127.0.0.1', 8080))} ${yes(w.other.ask('198.51.100.1', 8080))}`;
    },
  },
  {
    name: '-p HOST:8080:80: from another host, not from 127.0.0.1',
    all: 'yes no',
    see: async (w) => {
      await w.up(['-p', '198.51.100.1:8080:80'], [80]);
      return `${yes(w.other.ask('198.51.100.1', 8080))} ${yes(w.rig.here.ask('127.0.0.1', 8080))}`;
    },
  },
  {
    name: '-p [::1]:8080:80: from ::1',
    all: 'yes',
    podman: 'no',
    why: 'podman has no relay, and the kernel translates nothing from ::1',
    see: async (w) => {
      await w.up(['-p', '[::1]:8080:80'], [80]);
      return yes(w.rig.here.ask('::1', 8080));
    },
  },
  {
    name: '-p 8080:80/udp: from another host and from 127.0.0.1',
    all: 'yes yes',
    see: async (w) => {
      await w.up(['-p', '8080:80/udp'], [80]);
      return `${yes(w.other.askUdp('198.51.100.1', 8080))} ${yes(w.rig.here.askUdp('127.0.0.1', 8080))}`;
    },
  },
  {
    name: '-p 8080:80/sctp: what port says',
    all: '80/sctp -> 0.0.0.0:8080, 80/sctp -> [::]:8080',
    docker: '125 error',
    podman: '80/sctp -> 0.0.0.0:8080',
    why: "Docker's proxy opens an SCTP socket, which this kernel may lack; podman publishes on IPv4 alone",
    see: async (w) => w.ports(await w.up(['-p', '8080:80/sctp'])),
  },
  {
    name: '-p 80: a port is chosen',
    all: '80/tcp -> 0.0.0.0:CHOSEN, 80/tcp -> [::]:CHOSEN',
    podman: '80/tcp -> 0.0.0.0:CHOSEN',
    why: 'podman publishes on IPv4 alone',
    see: async (w) => w.ports(await w.up(['-p', '80'])),
  },
  {
    name: '-p 127.0.0.1::80: a port is chosen on that address',
    all: '80/tcp -> 127.0.0.1:CHOSEN',
    see: async (w) => w.ports(await w.up(['-p', '127.0.0.1::80'])),
  },
  {
    name: '-p 8080-8081:80-81: a range',
    all: 'yes yes',
    see: async (w) => {
      await w.up(['-p', '8080-8081:80-81'], [80, 81]);
      return `${yes(w.other.ask('198.51.100.1', 8080))} ${yes(w.other.ask('198.51.100.1', 8081), 81)}`;
    },
  },
  {
    name: '-p 8080-8081:80: the first free port of a range, twice',
    all: '80/tcp -> 0.0.0.0:8080, 80/tcp -> [::]:8080; 80/tcp -> 0.0.0.0:8081, 80/tcp -> [::]:8081',
    podman: '125 error',
    why: 'podman wants ranges of one length',
    see: async (w) => {
      const first = await w.up(['-p', '8080-8081:80']);
      const second = await w.up(['-p', '8080-8081:80']);
      return `${w.ports(first)}; ${w.ports(second)}`;
    },
  },
  {
    name: '-P: ports of the image and of --expose',
    all: '80/tcp -> 0.0.0.0:CHOSEN, 80/tcp -> [::]:CHOSEN, 90/udp -> 0.0.0.0:CHOSEN, 90/udp -> [::]:CHOSEN',
    podman: '80/tcp -> 0.0.0.0:CHOSEN, 90/udp -> 0.0.0.0:CHOSEN',
    why: 'podman publishes on IPv4 alone',
    see: async (w) => w.ports(await w.up(['-P', '--expose', '90/udp'])),
  },
  {
    name: '-p: the port is taken by a program',
    all: '125 says why',
    podman: '126 says why',
    why: 'podman finds out when the container starts; 125 is what Docker and nsbox give when a container cannot be made',
    see: async (w) => {
      const holder = await w.rig.place([7070], { pid: process.pid } as Place);
      const seen = refused(/7070.*(already|in use)/s, '-p', '7070:80')(w);
      holder.end();
      return seen;
    },
  },
  {
    name: '-p: the port is taken by a container',
    all: '125 says why',
    podman: '126 says why',
    why: 'podman finds out when the container starts; 125 is what Docker and nsbox give when a container cannot be made',
    see: async (w) => {
      await w.up(['-p', '8080:80']);
      return refused(/8080.*(already|in use)/s, '-p', '8080:80')(w);
    },
  },
  {
    name: '-p: tcp and udp of one number are two ports',
    all: 'accepted',
    see: async (w) => {
      await w.up(['-p', '8080:80/tcp']);
      await w.up(['-p', '8080:80/udp']);
      return 'accepted';
    },
  },
  { name: '-p 70000:80', all: '125 says why', see: refused(/70000|port/i, '-p', '70000:80') },
  { name: '-p 80:abc', all: '125 says why', see: refused(/abc|port/i, '-p', '80:abc') },
  { name: '-p 80:80/xyz', all: '125 says why', see: refused(/xyz|proto/i, '-p', '80:80/xyz') },
  { name: '-p 1.2.3:80:80', all: '125 says why', see: refused(/1\.2\.3/, '-p', '1.2.3:80:80') },
  { name: '-p 8080-8081:80-83', all: '125 says why', see: refused(/range/i, '-p', '8080-8081:80-83') },
  {
    name: "-p with an address that is not the host's",
    all: '125 says why',
    podman: '126 says why',
    why: 'podman finds out when the container starts; 125 is what Docker and nsbox give when a container cannot be made',
    see: refused(/192\.0\.2\.9|assign/, '-p', '192.0.2.9:8080:80'),
  },
  {
    name: '--network host -p 8080:80',
    all: 'ok',
    see: prints(['--network', 'host', '-p', '8080:80'], 'echo', 'ok'),
  },
  {
    name: '--network none -p 8080:80',
    all: 'ok',
    see: prints(['--network', 'none', '-p', '8080:80'], 'echo', 'ok'),
  },
  {
    name: '--network none: links',
    all: 'lo',
    see: prints(['--network', 'none'], 'sh', '-c', 'cd /sys/class/net && ls'),
  },
  {
    name: "--network host: the host's links",
    all: 'yes',
    see: (w) => (prints(['--network', 'host'], 'ip', 'link')(w).includes(' lan') ? 'yes' : 'no'),
  },
  {
    name: '--network container:X: the same address',
    all: 'yes',
    see: async (w) => {
      const c = await w.up([]);
      const own = c.net('ip', '-4', '-o', 'addr', 'show', 'eth0').match(/inet (\S+)/)?.[1] ?? '?';
      const out = prints(['--network', `container:${c.id}`], 'ip', 'addr')(w);
      return out.includes(own) ? 'yes' : 'no';
    },
  },
  {
    name: '--network container:X -p 8080:80',
    all: '125 says why',
    podman: 'accepted',
    why: 'podman drops the ports with a warning; they would never be reached',
    see: async (w) => {
      const c = await w.up([]);
      return refused(/conflicting options|port/i, '--network', `container:${c.id}`, '-p', '8080:80')(w);
    },
  },
  {
    name: '--network nosuch',
    all: '125 says why',
    see: refused(/nosuch.*not found|no such network|unable to find network/i, '--network', 'nosuch'),
  },
  {
    name: '--network n1 --network n2: links',
    all: 'eth0 eth1 lo',
    docker: '125 error',
    why: 'Docker before 25 starts a container on one network',
    see: (w) => prints(['--network', 'n1', '--network', 'n2'], 'sh', '-c', 'cd /sys/class/net && ls')(w),
  },
  {
    name: 'networks are isolated; neighbours on one talk',
    all: 'no yes',
    podman: 'yes yes',
    why: 'podman isolates networks with --opt isolate=true only',
    see: async (w) => {
      await w.up(['--network', 'n1', '--ip', `10.9${w.engine.number}.1.9`], [80]);
      const same = await w.up(['--network', 'n1']);
      const far = await w.up(['--network', 'n2']);
      const to = `10.9${w.engine.number}.1.9`;
      return `${yes(far.ask(to, 80))} ${yes(same.ask(to, 80))}`;
    },
  },
  {
    name: 'an internal network: another host, a neighbour',
    all: 'no yes',
    see: async (w) => {
      const to = `10.9${w.engine.number}.3.9`;
      await w.up(['--network', 'shut', '--ip', to], [80]);
      const c = await w.up(['--network', 'shut']);
      return `${yes(c.ask('198.51.100.2', 9000), 9000)} ${yes(c.ask(to, 80))}`;
    },
  },
  {
    name: 'names on a network: name, alias, short id, hostname, unknown',
    all: 'yes yes yes yes no',
    podman: 'yes yes yes no no',
    why: 'aardvark-dns does not know the hostname',
    see: async (w) => {
      const c = await w.up([
        '--network',
        'n1',
        '--name',
        'web',
        '--network-alias',
        'svc',
        '--hostname',
        'hosty',
      ]);
      const d = await w.up(['--network', 'n1']);
      const all = ['web', 'svc', c.id.slice(0, 12), 'hosty', 'nosuch'];
      return all.map((name) => resolves(d, name)).join(' ');
    },
  },
  {
    name: 'names on the default network',
    all: 'no',
    see: async (w) => {
      await w.up(['--name', 'web2']);
      return resolves(await w.up([]), 'web2');
    },
  },
  {
    name: '--network-alias on the default network',
    all: 'accepted',
    see: refused(/alias/, '--network-alias', 'x'),
  },
  {
    name: '--ip on a network',
    all: '10.9N.1.77',
    see: (w) =>
      prints(
        ['--network', 'n1', '--ip', `10.9${w.engine.number}.1.77`],
        'sh',
        '-c',
        "ip -4 -o addr show eth0 | sed 's/.*inet //; s/\\/.*//'",
      )(w),
  },
  {
    name: '--ip on the default network, outside of its subnet',
    all: '125 says why',
    docker: 'accepted',
    podman: '126 says why',
    why: 'Docker 20.10 ignores --ip on its default network',
    see: refused(/subnet|user specified IP|requested/i, '--ip', '192.0.2.7'),
  },
  {
    name: '--ip outside the subnet',
    all: '125 says why',
    podman: '126 says why',
    why: 'podman finds out when the container starts; 125 is what Docker and nsbox give when a container cannot be made',
    see: refused(/subnet|not.*in range|does not belong|requested/i, '--network', 'n1', '--ip', '192.0.2.7'),
  },
  {
    name: '--ip that another container has',
    all: '125 says why',
    podman: '126 says why',
    why: 'podman finds out when the container starts; 125 is what Docker and nsbox give when a container cannot be made',
    see: async (w) => {
      const address = `10.9${w.engine.number}.1.78`;
      await w.up(['--network', 'n1', '--ip', address]);
      return refused(/already|in use|allocated/i, '--network', 'n1', '--ip', address)(w);
    },
  },
  {
    name: '--ip that is none',
    all: '125 says why',
    see: refused(/1\.2\.3/, '--network', 'n1', '--ip', '1.2.3'),
  },
  {
    name: '--ip with --network host',
    all: '125 says why',
    see: refused(/address|IP|conflict|bridge/i, '--network', 'host', '--ip', '10.1.2.3'),
  },
  {
    name: '--ip6 on a network',
    all: 'yes',
    see: (w) => {
      const ip = `fd00:9${w.engine.number}::77`;
      return prints(['--network', 'six', '--ip6', ip], 'ip', '-6', 'addr')(w).includes(`${ip}/64`)
        ? 'yes'
        : 'no';
    },
  },
  {
    name: '--mac-address',
    all: '02:00:00:00:00:07',
    see: prints(['--mac-address', '02:00:00:00:00:07'], 'cat', '/sys/class/net/eth0/address'),
  },
  {
    name: '--mac-address that is none',
    all: '125 says why',
    see: refused(/mac|address/i, '--mac-address', 'zz'),
  },
  {
    name: '--dns 203.0.113.1 on the default network',
    all: 'nameserver 203.0.113.1',
    see: resolv('--dns', '203.0.113.1', '--dns-search', '.'),
  },
  {
    name: '--dns-search and --dns-option',
    all: 'nameserver 203.0.113.1 options ndots:3 search example.org',
    see: resolv('--dns', '203.0.113.1', '--dns-search', 'example.org', '--dns-option', 'ndots:3'),
  },
  {
    name: '--dns on a network: who is asked',
    all: 'nameserver 10.9N.1.1',
    docker: 'nameserver 127.0.0.11',
    podman: 'nameserver 203.0.113.1',
    why: "Docker's server is inside of the namespace, ours is on the gateway; with podman --dns takes the names of containers away",
    see: (w) =>
      resolv(
        '--network',
        'n1',
        '--dns',
        '203.0.113.1',
        '--dns-search',
        '.',
      )(w).replace(/ options ndots:0/, ''),
  },
  { name: '--dns that is none', all: '125 says why', see: refused(/9\.9\.9/, '--dns', '9.9.9') },
  {
    name: '--dns with --network host',
    all: 'nameserver 203.0.113.1',
    see: resolv('--network', 'host', '--dns', '203.0.113.1', '--dns-search', '.'),
  },
  {
    name: '--add-host a:10.1.2.3',
    all: '10.1.2.3 addme',
    see: hosts('addme', '--add-host', 'addme:10.1.2.3'),
  },
  { name: '--add-host with IPv6', all: 'fd00::9 addme', see: hosts('addme', '--add-host', 'addme:fd00::9') },
  {
    name: '--add-host a:host-gateway',
    all: 'the gateway',
    podman: '125 error',
    why: 'podman 4.3 calls it host.containers.internal',
    see: async (w) => {
      const c = await w.up(['--add-host', 'me:host-gateway'], []);
      const line = c.in('/bin/busybox', 'grep', '-w', 'me', '/etc/hosts').split(/\s+/)[0];
      const gateway = c.net('ip', 'route').match(/default via (\S+)/)?.[1];
      return line === gateway
        ? 'the gateway'
        : line === '198.51.100.1'
          ? "an address of the host's"
          : `${line}`;
    },
  },
  {
    name: '--add-host without an address',
    all: '125 says why',
    see: refused(/add-host|hosts? entry|format/i, '--add-host', 'nocolon'),
  },
  {
    name: '--add-host with a bad address',
    all: '125 says why',
    see: refused(/1\.2\.3\.999|invalid/i, '--add-host', 'a:1.2.3.999'),
  },
  {
    name: '--hostname in /etc/hosts',
    all: 'own address',
    see: (w) => {
      const out = prints(['--network', 'n1', '--hostname', 'hosty'], 'grep', 'hosty', '/etc/hosts')(w);
      return out.startsWith(`10.9${w.engine.number}.1.`) ? 'own address' : out;
    },
  },
  {
    name: '--add-host with --network container:X',
    all: '125 says why',
    see: async (w) => {
      const c = await w.up([]);
      return refused(/conflicting|host/i, '--network', `container:${c.id}`, '--add-host', 'a:10.1.2.3')(w);
    },
  },
];
