/**
 * What a network costs: the same servers and the same clients from the same Debian files over the host's loopback, over
 * the host's network in containers, between two containers of a bridge, and through a published port; in nsbox, docker
 * and podman. Further: what wiring adds to a start, whether many containers slow it down, and names.
 */
import { execFileSync, spawn } from 'node:child_process';
import { create, type Sandbox } from '../../src/index.js';
import { bare, bareNumber, debian, number } from '../debian.js';
import { firstLine, type Rate, type Row, type Side } from '../harness.js';
import { commandLine, runHere } from '../nsbox.js';
import { type Engine, removal } from '../peers.js';
import type { Setup } from '../setup.js';

/** An address of this host that isn't localhost: of the range for benchmarks (RFC 2544), in the bench's own namespace. */
const HOST_ADDRESS = '198.18.0.1';

/** All servers, on ports from $1 on; ends when the web server does. */
const SERVERS = `
/net server $1 &
iperf3 -s -p $(($1 + 1)) >/dev/null 2>&1 &
redis-server --port $(($1 + 2)) --bind 0.0.0.0 --protected-mode no --save "" --dir /tmp --logfile /dev/null >/dev/null &
mkdir -p /tmp/www
head -c 1024 /dev/zero > /tmp/www/page
cat > /tmp/nginx.conf <<CONF
daemon off; user root; worker_processes 1; pid /tmp/nginx.pid; error_log stderr crit;
events { worker_connections 512; }
http { access_log off; client_body_temp_path /tmp; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u;
  scgi_temp_path /tmp/s; keepalive_requests 100000000; server { listen $(($1 + 3)); root /tmp/www; } }
CONF
exec nginx -c /tmp/nginx.conf`;
const PORTS = [0, 1, 2, 3];

/** A client: $1 address, $2 first port, $3 amount. Its last line is the nanoseconds of one of what it counts. */
const IPERF = (streams: number): string => `
iperf3 -c $1 -p $(($2 + 1)) -n $3 -P ${streams} -J | awk '/"sum_received"/ { on = 1 } on && /"seconds"/ { s = $2 + 0 }
  on && /"bytes"/ { b = $2 + 0 } on && /}/ { on = 0 } END { if (b > 0) printf "%.0f\\n", s / b * 1e9 * 1073741824 }'`;

interface Metric {
  id: string;
  title: string;
  script: string;
  amount: (quick: boolean) => string;
  rate?: Rate;
  /** What a quick run does of it; nothing, unless told. */
  quick?: 'nsbox' | 'peers';
}

const gibibyte: Rate = { amount: 8 * 2 ** 30, unit: 'bit/s' };
const each: Rate = { amount: 1, unit: '/s' };
const METRICS: Metric[] = [
  {
    id: 'tcp-1',
    title: 'TCP, one stream: time for a GiB',
    script: IPERF(1),
    amount: (quick) => (quick ? '128M' : '1G'),
    rate: gibibyte,
    quick: 'nsbox',
  },
  {
    id: 'tcp-8',
    title: 'TCP, eight streams: time for a GiB',
    script: IPERF(8),
    amount: () => '1G',
    rate: gibibyte,
  },
  {
    id: 'rr',
    title: 'A byte there and back: latency',
    script: 'exec /net rr $1 $2 $3',
    amount: (quick) => (quick ? '2000' : '10000'),
    quick: 'peers',
  },
  {
    id: 'connect',
    title: 'A connection, a byte there and back, and its end',
    script: 'exec /net connect $1 $2 $3',
    amount: () => '3000',
  },
  {
    id: 'redis',
    title: 'redis: GET by redis-benchmark, 20 clients: time for a request',
    script: `redis-benchmark -h $1 -p $(($2 + 2)) -n $3 -c 20 -t get --csv | tr -d '"' | awk -F, '/^GET/ { printf "%.0f\\n", 1e9 / $2 }'`,
    amount: (quick) => (quick ? '4000' : '50000'),
    rate: each,
    quick: 'nsbox',
  },
  {
    id: 'nginx',
    title: 'nginx: a page of 1 KiB by wrk, 16 connections: time for a request',
    // wrk knows whole seconds alone, and sums up when it is interrupted.
    script: `timeout -s INT $3 wrk -t 1 -c 16 -d 60s http://$1:$(($2 + 3))/page | awk '/^Requests.sec/ { printf "%.0f\\n", 1e9 / $2 }'`,
    amount: () => '2',
    rate: each,
  },
];

/** Where a client reaches the servers, and where the client is. */
interface Setting {
  name: string;
  address: string;
  port: number;
  client(script: string, args: readonly string[]): Promise<number>;
  peer: boolean;
}

/** A server or client container of an engine. */
class Containers {
  readonly engine: Engine;
  readonly #made: string[] = [];
  readonly #networks: string[] = [];

  constructor(engine: Engine) {
    this.engine = engine;
  }

  async run(tree: string, options: readonly string[], command: readonly string[]): Promise<string> {
    const name = `bench-${process.pid}-${this.#made.length}`;
    const argv = ['run', '-d', '--name', name, ...this.engine.options, ...options];
    this.#made.push(name);
    await this.engine.timer.run([...this.engine.client, ...argv, ...this.engine.image(tree), ...command]);
    return name;
  }

  async network(name: string): Promise<void> {
    await this.engine.timer.run([...this.engine.client, 'network', 'create', name]);
    this.#networks.push(name);
  }

  inspect(name: string, format: string): Promise<string> {
    return this.engine.timer.output([...this.engine.client, 'inspect', '--format', format, name]);
  }

  async exec(name: string, command: readonly string[]): Promise<number> {
    return number(await this.engine.timer.output([...this.engine.client, 'exec', name, ...command]));
  }

  async close(): Promise<void> {
    const ask = (...argv: string[]) =>
      this.engine.timer.run([...this.engine.client, ...argv]).catch(() => {});
    if (this.#made.length > 0) await ask(...removal(this.engine), ...this.#made);
    for (const network of this.#networks) await ask('network', 'rm', network);
  }
}

/** The four ways into a container of one engine. `base` is the first of the host's ports that it may take. */
async function settingsOf(
  containers: Containers,
  tree: string,
  data: string,
  base: number,
  name: string,
): Promise<Setting[]> {
  const onHost: Setting['client'] = (script, args) =>
    bareNumber(tree, data, ['sh', '-c', script, 'sh', ...args]);
  const within =
    (container: string): Setting['client'] =>
    (script, args) =>
      containers.exec(container, ['sh', '-c', script, 'sh', ...args]);
  const idle = ['sleep', '1000000'];
  const servers = ['sh', '-c', SERVERS, 'sh'];

  const publish = PORTS.flatMap((p) => ['-p', `${base + 10 + p}:${10_000 + p}`]);
  const server = await containers.run(tree, publish, [...servers, '10000']);
  const client = await containers.run(tree, [], idle);
  const address = await containers.inspect(
    server,
    '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
  );
  await containers.run(tree, ['--network=host'], [...servers, String(base)]);
  const hostClient = await containers.run(tree, ['--network=host'], idle);
  const label = (setting: string): string => `${name} ${setting}`;
  const peer = name !== 'nsbox';
  return [
    { name: label('--network=host'), address: '127.0.0.1', port: base, client: within(hostClient), peer },
    { name: label('bridge'), address, port: 10_000, client: within(client), peer },
    { name: label('-p, by address'), address: HOST_ADDRESS, port: base + 10, client: onHost, peer },
    { name: label('-p, by localhost'), address: '127.0.0.1', port: base + 10, client: onHost, peer },
  ];
}

export async function networkRows(setup: Setup): Promise<Row[]> {
  const { place, timer } = setup;
  execFileSync('ip', ['address', 'replace', `${HOST_ADDRESS}/32`, 'dev', 'lo']);
  const tree = await debian(place);
  const data = place.scratch;
  const own: Engine = {
    name: 'nsbox',
    client: commandLine(place),
    options: [],
    image: (directory) => ['--rootfs', directory],
    timer,
  };
  const all = [own, ...setup.peers.engines].map((e) => ({ name: e.name, containers: new Containers(e) }));
  const servers = bare(tree, data, ['sh', '-c', SERVERS, 'sh', '11000']);
  const child = spawn(servers[0] as string, servers.slice(1), { stdio: 'ignore' });
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    await Promise.all(all.map((a) => a.containers.close()));
  };
  try {
    const settings: Setting[] = [
      {
        name: 'bare',
        address: '127.0.0.1',
        port: 11_000,
        client: (script, args) => bareNumber(tree, data, ['sh', '-c', script, 'sh', ...args]),
        peer: false,
      },
    ];
    for (const [i, { name, containers }] of all.entries()) {
      try {
        settings.push(...(await settingsOf(containers, tree, data, 12_000 + 1000 * i, name)));
      } catch (error) {
        if (name === 'nsbox') throw error;
        setup.skip(`${name}, network`, firstLine(error));
      }
    }
    const ready = await reachable(settings, setup);
    const rows: Row[] = [];
    for (const m of METRICS) {
      if (setup.quick && !m.quick) setup.skip(m.title, '--quick');
      else rows.push(metricRow(setup, m, ready));
    }
    rows.push(wiringRow(setup));
    if (setup.quick) setup.skip('A start as the 200th on a network', '--quick');
    else rows.push(manyRow(setup));
    rows.push(await namesRow(setup, all, tree));
    const last = rows.at(-1);
    if (last) last.close = close;
    return rows;
  } catch (error) {
    await close();
    throw error;
  }
}

/** Settings through which all servers answer; the others are told of. */
async function reachable(settings: readonly Setting[], setup: Setup): Promise<Setting[]> {
  const out: Setting[] = [];
  for (const s of settings) {
    const wait = '/net wait "$@" >/dev/null && echo 1';
    try {
      await s.client(wait, [s.address, '15', ...PORTS.map((p) => String(s.port + p))]);
      out.push(s);
    } catch (error) {
      if (s.name === 'bare') throw new Error(`the servers do not start: ${firstLine(error)}`);
      setup.skip(`${s.name}, network`, firstLine(error));
    }
  }
  return out;
}

function metricRow(setup: Setup, metric: Metric, settings: readonly Setting[]): Row {
  const { quick } = setup;
  const used = settings.filter(
    (s) => !quick || !s.peer || (metric.quick === 'peers' && /bridge|address/.test(s.name)),
  );
  return {
    suite: 'network',
    id: metric.id,
    title: metric.title,
    unit: 'ns',
    base: 'bare',
    rounds: quick ? 6 : 15,
    ...(metric.rate ? { rate: metric.rate } : {}),
    sides: used.map(
      (s): Side => ({
        name: s.name,
        run: () => s.client(metric.script, [s.address, String(s.port), metric.amount(quick)]),
      }),
    ),
  };
}

const elapsed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start);
};

/**
 * What joining the default bridge adds to a start. While the kernel takes the last one's namespace apart it holds the lock
 * of all links for milliseconds; starts that follow one another at once would wait for that, and show it as theirs.
 */
function wiringRow(setup: Setup): Row {
  const start = (network: string) => async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return elapsed(() => runHere(setup.place, ['/true'], { network }));
  };
  return {
    suite: 'network',
    id: 'wiring',
    title: 'A start, wired into a bridge',
    unit: 'ns',
    base: 'no network',
    rounds: setup.quick ? 15 : 60,
    sides: [
      { name: 'no network', run: start('none') },
      { name: 'bridge', run: start('bridge') },
    ],
  };
}

/** The start of the 200th container of a network beside that of the first. */
function manyRow(setup: Setup): Row {
  const { place, timer } = setup;
  const others: Sandbox[] = [];
  const names = ['bench-few', 'bench-many'] as const;
  const start = (network: string) => () => elapsed(() => runHere(place, ['/true'], { network }));
  let ready: Promise<void> | undefined;
  /** Made when it is first measured: 200 containers are of no use to the rows before. */
  const fill = (): Promise<void> => {
    ready ??= (async () => {
      for (const name of names) await timer.run(commandLine(place, 'network', 'create', name));
      const { rootfs, root, state } = place;
      const options = { rootfs, root, state, network: names[1], command: ['sleep', '1000000'] };
      while (others.length < 199)
        others.push(...(await Promise.all(Array.from({ length: 10 }, () => create(options)))).slice(0, 199));
      for (const extra of others.splice(199)) await extra[Symbol.asyncDispose]();
    })();
    return ready;
  };
  return {
    suite: 'network',
    id: 'many',
    title: 'A start on a network of its own, and as the 200th on one',
    unit: 'ns',
    base: 'the first',
    rounds: setup.quick ? 15 : 40,
    sides: [
      { name: 'the first', run: () => fill().then(start(names[0])) },
      { name: 'the 200th', run: () => fill().then(start(names[1])) },
    ],
    close: async () => {
      await Promise.all(others.map((s) => s[Symbol.asyncDispose]()));
      for (const name of names) await timer.run(commandLine(place, 'network', 'rm', name)).catch(() => {});
    },
  };
}

/** A container asks for another's name. */
async function namesRow(
  setup: Setup,
  all: readonly { name: string; containers: Containers }[],
  tree: string,
): Promise<Row> {
  const sides: Side[] = [];
  for (const { name, containers } of all) {
    try {
      const network = `bench-names-${process.pid}`;
      await containers.network(network);
      const options = ['--network', network];
      const target = await containers.run(tree, options, ['sleep', '1000000']);
      const client = await containers.run(tree, options, ['sleep', '1000000']);
      const ask = (): Promise<number> =>
        containers.exec(client, ['/net', 'dns', target, setup.quick ? '500' : '2000']);
      await ask();
      sides.push({ name, run: ask });
    } catch (error) {
      if (name === 'nsbox') throw error;
      setup.skip(`${name}, names`, firstLine(error));
    }
  }
  return {
    suite: 'network',
    id: 'names',
    title: "A container's name, asked for by another",
    unit: 'ns',
    base: 'nsbox',
    rounds: setup.quick ? 7 : 21,
    sides,
  };
}
