import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { eventually, NetworkRig, networkState } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

const tcp = (hostPort: number, containerPort: number) => ({
  hostPort,
  containerPort,
  protocol: 'tcp' as const,
});
const udp = (hostPort: number, containerPort: number) => ({
  hostPort,
  containerPort,
  protocol: 'udp' as const,
  hostIp: '0.0.0.0',
});

if (ownNetwork(import.meta.filename)) {
  test("firewall=bypass passes the host's own forward and input policy, and nothing else does", async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    rig.here.run(
      'nft',
      `add table inet fw
       add chain inet fw in { type filter hook input priority 0; policy drop; }
       add rule inet fw in iifname "lo" accept
       add rule inet fw in ct state established,related accept
       add chain inet fw onward { type filter hook forward priority 10; policy drop; }
       add table ip fw4
       add chain ip fw4 onward { type filter hook forward priority -5; policy drop; }`,
    );
    const before = networkState();
    await rig.networks.create({ name: 'open', options: { firewall: 'bypass' } });
    await rig.networks.create({ name: 'usual' });
    const requests = [{ network: 'open' }];
    const web = await rig.container({ requests, containerName: 'web', ports: [tcp(8080, 80)] });
    const usual = await rig.container({ requests: [{ network: 'usual' }], ports: [tcp(8081, 80)] });
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2', 'published');
    assert.equal(web.ask('198.51.100.2', 9000), '9000 198.51.100.1', 'outwards');
    const gateway = web.settings.endpoints[0]!.ipv4!.gateway!;
    assert.match(web.run('busybox', 'nslookup', 'web', gateway), new RegExp(`Address.*${web.ip}`), 'names');
    assert.equal(other.ask('198.51.100.1', 8081), '', 'a network without the option stays closed');
    assert.equal(usual.ask('198.51.100.2', 9000), '');
    other.run('ip', 'route', 'add', '172.16.0.0/12', 'via', '198.51.100.1');
    assert.equal(other.ask(web.ip, 80), '', 'what is not published stays closed');
    // One rule in a chain, whatever the number of networks; a firewall that is loaded anew gets it with the next start.
    await rig.networks.create({ name: 'open2', options: { firewall: 'bypass' } });
    const second = await rig.container({ requests: [{ network: 'open2' }], ports: [tcp(8082, 80)] });
    const marks = () => rig.here.run('nft', 'list', 'ruleset').match(/meta mark & 0x10000000/g)?.length;
    assert.equal(marks(), 3);
    assert.equal(other.ask('198.51.100.1', 8082), '80 198.51.100.2');
    rig.here.run('nft', 'flush chain inet fw onward; flush chain ip fw4 onward');
    assert.equal(other.ask('198.51.100.1', 8080), '');
    const third = await rig.container({ requests, listen: [] });
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    rig.here.run('nft', 'flush chain inet fw onward');
    await rig.networks.reload();
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2', 'after network reload');
    for (const c of [web, usual, second, third]) await rig.remove(c);
    await rig.networks.prune(() => false);
    await eventually('the rules are as before', () => networkState().rules === before.rules);
    rig.here.run('nft', 'delete table inet fw; delete table ip fw4');
  });

  test('firewall=bypass among the rules of iptables', async (t) => {
    const version = spawnSync('iptables', ['--version'], { encoding: 'utf8' }).stdout ?? '';
    if (!version.includes('nf_tables'))
      return t.skip(`needs iptables over nftables, here: ${version.trim() || 'none'}`);
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    rig.here.run('iptables', '-P', 'FORWARD', 'DROP');
    rig.here.run(
      'iptables',
      '-A',
      'FORWARD',
      '-m',
      'comment',
      '--comment',
      'mine',
      '-j',
      'ACCEPT',
      '-s',
      '192.0.2.1',
    );
    await rig.networks.create({ name: 'open', options: { firewall: 'bypass' } });
    await rig.container({ requests: [{ network: 'open' }], ports: [tcp(8080, 80)] });
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    // iptables still reads its table, ours among its rules.
    const rules = rig.here.run('iptables', '-S', 'FORWARD');
    assert.match(
      rules,
      /^-P FORWARD DROP\n-A FORWARD .*mark.*0x10000000.*ACCEPT\n-A FORWARD -s 192\.0\.2\.1/m,
    );
    rig.here.run('iptables', '-F', 'FORWARD');
    rig.here.run('iptables', '-P', 'FORWARD', 'ACCEPT');
  });

  test("Docker's options: enable_icc, enable_ip_masquerade, host_binding_ipv4, name, mtu; others are named", async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    const bridge = (name: string) => `com.docker.network.bridge.${name}`;
    await rig.networks.create({
      name: 'apart',
      ipv6: true,
      options: {
        [bridge('enable_icc')]: 'false',
        [bridge('name')]: 'apart0',
        'com.docker.network.driver.mtu': '1400',
        [bridge('host_binding_ipv4')]: '127.0.0.1',
      },
    });
    const requests = [{ network: 'apart' }];
    const a = await rig.container({ requests, containerName: 'a', ports: [tcp(8080, 80)] });
    const b = await rig.container({ requests, containerName: 'b' });
    assert.equal(b.ask(a.ip, 80), '', 'no word between the two');
    assert.equal(b.ask(a.ip6, 80), '');
    b.run('ip', 'route', 'add', a.ip, 'via', b.settings.endpoints[0]!.ipv4!.gateway!);
    assert.equal(b.ask(a.ip, 80), '', 'nor by way of the host');
    b.run('ip', 'route', 'del', a.ip);
    assert.equal(b.ask('198.51.100.2', 9000), '9000 198.51.100.1', 'outwards as ever');
    assert.match(a.run('ip', 'link', 'show', 'eth0'), /mtu 1400/);
    assert.match(rig.here.run('ip', '-br', 'link', 'show', 'apart0'), /^apart0 +UP/);
    assert.match(rig.here.ask('127.0.0.1', 8080), /^80 /);
    assert.equal(other.ask('198.51.100.1', 8080), '', 'published on the address of the option');
    await rig.networks.create({ name: 'plain', options: { [bridge('enable_ip_masquerade')]: '0' } });
    const c = await rig.container({ requests: [{ network: 'plain' }] });
    other.run('ip', 'route', 'add', '172.16.0.0/12', 'via', '198.51.100.1');
    assert.equal(c.ask('198.51.100.2', 9000), `9000 ${c.ip}`, 'its own address');
    for (const [key, value] of [
      [bridge('enable_icc'), 'maybe'],
      [bridge('inhibit_ipv4'), 'true'],
      ['firewall', 'none'],
    ] as const) {
      await assert.rejects(
        rig.networks.create({ name: 'bad', options: { [key]: value } }),
        (e: Error) => e.message.includes(JSON.stringify(key)) || e.message.includes(`${key}: "${value}"`),
      );
    }
  });

  test('a UDP client that keeps its port finds the next container', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    await rig.networks.create({ name: 'n', subnets: [{ subnet: '10.9.0.0/24' }] });
    const start = (ip: string) => rig.container({ requests: [{ network: 'n', ip }], ports: [udp(8080, 80)] });
    const first = await start('10.9.0.5');
    assert.equal(other.askUdp('198.51.100.1', 8080, 5000), '80 198.51.100.2');
    assert.match(rig.here.askUdp('127.0.0.1', 8080, 5001), /^80 /);
    await rig.remove(first);
    // Nobody answers, and the kernel remembers the flow to nobody.
    assert.equal(other.askUdp('198.51.100.1', 8080, 5000), '');
    const second = await start('10.9.0.6');
    assert.equal(other.askUdp('198.51.100.1', 8080, 5000), '80 198.51.100.2', 'after the port was closed');
    assert.match(rig.here.askUdp('127.0.0.1', 8080, 5001), /^80 /);
    // One that ends unseen: its port is taken over by the next.
    second.end();
    await eventually(
      'its link is gone',
      () => !rig.here.run('ip', 'link').includes(second.settings.endpoints[0]!.hostInterface),
    );
    assert.equal(other.askUdp('198.51.100.1', 8080, 5000), '');
    await start('10.9.0.7');
    assert.equal(other.askUdp('198.51.100.1', 8080, 5000), '80 198.51.100.2', 'after an end that nobody saw');
    // Flows of the host to the same port of another host are left alone.
    const elsewhere = await rig.place([8080], other);
    assert.equal(rig.here.askUdp('198.51.100.2', 8080, 5002), '8080 198.51.100.1');
    elsewhere.end();
  });

  test('the name of a container follows its rename', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'app', subnets: [{ subnet: '10.8.0.0/24' }] });
    const requests = [{ network: 'app' }];
    const a = await rig.container({ requests, containerName: 'old' });
    const b = await rig.container({ requests, containerName: 'b' });
    const lookup = (name: string) => b.run('busybox', 'nslookup', name, '10.8.0.1');
    assert.match(lookup('old'), new RegExp(`Address.*${a.ip}`));
    rig.networks.rename(a.id, 'new');
    await eventually('the new name is known', () => lookup('new').includes(a.ip));
    assert.match(lookup('old'), /NXDOMAIN/);
  });
}
