import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { testProgram } from './load.js';
import { ip, NetworkRig, type Place } from './network.js';

/**
 * Two hosts, which are network namespaces joined by veth, and what only some kernels have between them. Run by
 * test/kernel where this machine's kernel can, and by the test VM (test/vm/network.test.ts), whose kernel can all.
 */
export interface NetworkScenario {
  name: string;
  /** Why this kernel can't. */
  missing: () => string | undefined;
  run: () => Promise<void>;
}

const IN_VM = 'the test VM has it, see test/vm/network.test.ts';

function noLinks(kind: string): string | undefined {
  ip('link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe2');
  const r = spawnSync('ip', ['link', 'add', 'link', 'probe0', 'name', 'probe1', 'type', kind]);
  ip('link', 'del', 'probe0');
  return r.status === 0 ? undefined : `this kernel has no ${kind} links; ${IN_VM}`;
}

function noSctp(): string | undefined {
  const { status } = spawnSync(testProgram('sctp'), ['ask', '127.0.0.1', '1']);
  return status === 3 ? `this kernel has no SCTP; ${IN_VM}` : undefined;
}

async function onTheLink(driver: 'macvlan' | 'ipvlan'): Promise<void> {
  await using rig = new NetworkRig();
  const other = await rig.otherHost([9000]);
  await rig.networks.create({
    name: 'lan',
    driver,
    subnets: [{ subnet: '198.51.100.0/24', gateway: '198.51.100.2', ipRange: '198.51.100.64/26' }],
    options: { parent: 'lan' },
  });
  const c = await rig.container({ requests: [{ network: 'lan' }] });
  assert.match(c.ip, /^198\.51\.100\.6\d$/);
  assert.equal(other.ask(c.ip, 80), '80 198.51.100.2');
  assert.equal(c.ask('198.51.100.2', 9000), `9000 ${c.ip}`);
  const d = await rig.container({ requests: [{ network: 'lan' }] });
  assert.equal(d.ask(c.ip, 80), `80 ${d.ip}`);
}

async function layer3(): Promise<void> {
  await using rig = new NetworkRig();
  const other = await rig.otherHost([9000]);
  await rig.networks.create({
    name: 'l3',
    driver: 'ipvlan',
    subnets: [{ subnet: '10.9.0.0/24' }],
    options: { parent: 'lan', ipvlan_mode: 'l3' },
  });
  const c = await rig.container({ requests: [{ network: 'l3' }] });
  // Such a link answers no ARP: the way there is over its host.
  other.run('ip', 'route', 'add', '10.9.0.0/24', 'via', '198.51.100.1');
  assert.equal(other.ask(c.ip, 80), '80 198.51.100.2');
  assert.equal(c.ask('198.51.100.2', 9000), `9000 ${c.ip}`);
}

async function sctpPort(): Promise<void> {
  await using rig = new NetworkRig();
  const other = await rig.otherHost([]);
  const port = { hostPort: 8080, containerPort: 80, protocol: 'sctp' as const };
  const web = await rig.container({ listen: [], ports: [port] });
  const neighbour = await rig.container({ listen: [] });
  const server = spawn('nsenter', ['-t', String(web.pid), '-n', testProgram('sctp'), 'listen', '80'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise((resolve, reject) => {
      server.stdout.once('data', resolve);
      server.once('exit', reject);
    });
    const ask = (at: Pick<Place, 'run'>, address: string, ...from: string[]) =>
      at.run(testProgram('sctp'), 'ask', address, '8080', ...from).replace('::ffff:', '');
    assert.equal(ask(other, '198.51.100.1'), '80 198.51.100.2', 'another host, source kept');
    assert.equal(ask(neighbour, '198.51.100.1'), '80 172.29.0.1', 'a neighbour');
    // Bound to one address: an association names all that it may use, and the kernel translates one.
    assert.equal(ask(rig.here, '198.51.100.1', '198.51.100.1'), '80 198.51.100.1', 'this host');
    assert.equal(ask(rig.here, '127.0.0.1', '127.0.0.1'), '80 172.29.0.1', 'localhost');
  } finally {
    server.kill('SIGKILL');
  }
}

export const NETWORK_SCENARIOS: readonly NetworkScenario[] = [
  {
    name: "macvlan: a container on the host's link is reached from the other host",
    missing: () => noLinks('macvlan'),
    run: () => onTheLink('macvlan'),
  },
  {
    name: "ipvlan l2: a container on the host's link is reached from the other host",
    missing: () => noLinks('ipvlan'),
    run: () => onTheLink('ipvlan'),
  },
  {
    name: 'ipvlan l3: a container is reached from the other host by a route, without a gateway',
    missing: () => noLinks('ipvlan'),
    run: layer3,
  },
  {
    name: 'SCTP: a published port leads other hosts, this one and neighbours to the container',
    missing: noSctp,
    run: sctpPort,
  },
];
