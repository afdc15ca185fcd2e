import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConflictError } from '../../src/base/index.js';
import { kernelNames } from '../../src/network/paths.js';
import { eventually, NetworkRig } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

const tcp = (hostPort: number | undefined, containerPort: number, hostIp?: string) => ({
  hostPort,
  containerPort,
  protocol: 'tcp' as const,
  hostIp,
});

if (ownNetwork(import.meta.filename)) {
  test('a published port is reached from everywhere, and sees who asks', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    await rig.networks.create({ name: 'elsewhere' });
    const web = await rig.container({
      ports: [tcp(8080, 80), { hostPort: 8080, containerPort: 80, protocol: 'udp' }],
    });
    const neighbour = await rig.container();
    const stranger = await rig.container({ requests: [{ network: 'elsewhere' }] });
    const host = '198.51.100.1';
    assert.equal(other.ask(host, 8080), '80 198.51.100.2', 'another host, source kept');
    assert.equal(other.askUdp(host, 8080), '80 198.51.100.2', 'UDP, source kept');
    assert.equal(rig.here.ask(host, 8080), `80 ${host}`, 'the host by its own address');
    assert.equal(rig.here.ask('127.0.0.1', 8080), '80 172.29.0.1', 'localhost');
    assert.equal(rig.here.askUdp('127.0.0.1', 8080), '80 172.29.0.1', 'localhost, UDP');
    assert.match(rig.here.ask('::1', 8080), /^80 /, 'localhost, IPv6');
    assert.match(rig.here.askUdp('::1', 8080), /^80 /, 'localhost, IPv6 and UDP');
    assert.match(other.ask('fd00:51::1', 8080), /^80 /, 'IPv6 to a container that has none');
    assert.equal(web.ask(host, 8080), '80 172.29.0.1', 'the container itself');
    assert.equal(web.ask('172.29.0.1', 8080), '80 172.29.0.1', 'itself by the gateway');
    assert.equal(neighbour.ask(host, 8080), '80 172.29.0.1', 'a neighbour');
    assert.equal(stranger.ask(host, 8080), `80 ${stranger.ip}`, 'a container of another network');
    assert.equal(stranger.ask(web.ip, 80), '', 'whose own address stays closed');
    await rig.remove(web);
    assert.equal(other.ask(host, 8080), '', 'closed with its container');
    assert.equal(rig.here.ask('127.0.0.1', 8080), '');
  });

  test('IPv6 networks publish without a relay', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    await rig.networks.create({ name: 'six', ipv6: true });
    const web = await rig.container({ requests: [{ network: 'six' }], ports: [tcp(8080, 80)] });
    assert.match(web.ip6, /^fd/);
    assert.equal(other.ask('fd00:51::1', 8080), '80 fd00:51::2', 'source kept');
    assert.match(rig.here.ask('::1', 8080), /^80 /);
    assert.equal(rig.here.ask('fd00:51::1', 8080), '80 fd00:51::1');
    assert.match(web.ask('fd00:51::1', 8080), /^80 fd/, 'hairpin');
    assert.equal(web.ask('fd00:51::2', 9000), '9000 fd00:51::1', 'masqueraded');
  });

  test('addresses, ranges, -P and ports chosen by us', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    const a = await rig.container({
      listen: [80, 81],
      ports: [tcp(8080, 80, '127.0.0.1'), tcp(9080, 80), tcp(9081, 81)],
    });
    assert.equal(rig.here.ask('127.0.0.1', 8080), '80 172.29.0.1');
    assert.equal(other.ask('198.51.100.1', 8080), '', 'only on the address asked for');
    assert.equal(other.ask('198.51.100.1', 9081), '81 198.51.100.2');
    const b = await rig.container({ publishAll: true, exposed: ['80/tcp', '53/udp'] });
    const ports = b.settings.ports.filter((p) => p.hostIp === '0.0.0.0');
    assert.deepEqual(ports.map((p) => `${p.containerPort}/${p.protocol}`).sort(), ['53/udp', '80/tcp']);
    const chosen = ports.find((p) => p.protocol === 'tcp')!.hostPort;
    assert.ok(chosen >= 1024);
    assert.equal(other.ask('198.51.100.1', chosen), '80 198.51.100.2');
    void a;
  });

  test('SCTP: the port leads to the container in the map', async () => {
    await using rig = new NetworkRig();
    const web = await rig.container({
      listen: [],
      ports: [{ hostIp: '0.0.0.0', hostPort: 8080, containerPort: 80, protocol: 'sctp' }],
    });
    const map = rig.here.run('nft', 'list', 'map', 'inet', kernelNames(rig.ctx).table, 'publish4any');
    assert.match(map, new RegExp(`sctp \\. 8080 : ${web.ip} \\. 80`));
  });

  test('a taken port is refused with the name of who has it, and nothing is kept', async () => {
    await using rig = new NetworkRig();
    const holder = await rig.place([7070], { ...rig.here, pid: process.pid } as never);
    const ask = (hostPort: number, protocol: 'tcp' | 'udp' = 'tcp', hostIp?: string) =>
      rig.networks.prepare({
        containerId: 'd'.repeat(64),
        containerName: 'x',
        hostname: 'h',
        requests: [],
        ports: [tcp(7171, 80), { hostPort, containerPort: 80, protocol, hostIp }],
      });
    await assert.rejects(
      ask(7070),
      (e) =>
        e instanceof ConflictError &&
        new RegExp(
          `0\\.0\\.0\\.0:7070/tcp: port is already allocated: process ${holder.pid} \\(node\\)`,
        ).test(e.message),
    );
    await assert.rejects(ask(7070, 'udp'), /process \d+ \(node\) listens/);
    const web = await rig.container({ containerName: 'web', ports: [tcp(7272, 80)] });
    await assert.rejects(ask(7272), new RegExp(`container ${web.id.slice(0, 12)} has published it`));
    await assert.rejects(ask(7272, 'tcp', '127.0.0.1'), /has published it/);
    await ask(7272, 'udp'); // another protocol is another port
    await rig.networks.release('d'.repeat(64));
    // A container that ended unseen holds nothing.
    web.end();
    await eventually(
      'its link is gone',
      () => !rig.here.run('ip', 'link').includes(web.settings.endpoints[0]!.hostInterface),
    );
    await rig.container({ ports: [tcp(7272, 80)] });
    assert.equal(rig.here.ask('127.0.0.1', 7272), '80 172.29.0.1');
  });

  test("the host's firewall comes first", async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    const web = await rig.container({ ports: [tcp(8080, 80)] });
    rig.here.run(
      'nft',
      'add table inet fw; add chain inet fw f { type filter hook forward priority 10; policy drop; }',
    );
    assert.equal(other.ask('198.51.100.1', 8080), '');
    assert.equal(web.ask('198.51.100.2', 9000), '');
    rig.here.run('nft', 'delete table inet fw');
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    // Packets of containers to the host's loopback addresses are dropped, although route_localnet is on.
    const service = await rig.place([6060], { ...rig.here, pid: process.pid } as never);
    web.run('ip', 'route', 'add', '127.0.0.9/32', 'via', '172.29.0.1');
    web.run('sh', '-c', 'ip link set lo down; echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet');
    assert.equal(rig.here.ask('127.0.0.9', 6060), '6060 127.0.0.1');
    assert.equal(web.ask('127.0.0.9', 6060), '');
    service.end();
  });

  test('published containers are elements of maps, not rules', async () => {
    await using rig = new NetworkRig();
    await rig.container({ listen: [], ports: [tcp(20_000, 80, '0.0.0.0')] });
    const rules = () => rig.here.run('nft', '-t', 'list', 'ruleset');
    const before = rules();
    for (let i = 1; i < 20; i++) await rig.container({ listen: [], ports: [tcp(20_000 + i, 80, '0.0.0.0')] });
    assert.equal(rules(), before);
  });
}
