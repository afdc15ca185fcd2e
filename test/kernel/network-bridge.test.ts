import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { ConflictError, type NsboxError } from '../../src/base/index.js';
import { eventually, NetworkRig, networkState } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

if (ownNetwork(import.meta.filename)) {
  test('containers on the default bridge reach each other and, masqueraded, other hosts', async () => {
    await using rig = new NetworkRig();
    const before = networkState();
    const other = await rig.otherHost([9000]);
    const a = await rig.container();
    const b = await rig.container();
    assert.equal(a.ip, '172.29.0.2');
    assert.equal(b.ip, '172.29.0.3');
    assert.equal(a.ask(b.ip, 80), `80 ${a.ip}`);
    assert.equal(a.ask('198.51.100.2', 9000), '9000 198.51.100.1');
    assert.match(a.run('ip', 'route'), /default via 172\.29\.0\.1 dev eth0/);
    assert.match(a.run('ip', '-br', 'link', 'show', 'lo'), /LOOPBACK,UP/);
    // Unpublished ports are closed to other hosts, also to one that knows the way.
    other.run('ip', 'route', 'add', '172.29.0.0/16', 'via', '198.51.100.1');
    assert.equal(other.ask(a.ip, 80), '');
    assert.equal(rig.here.ask(a.ip, 80), '80 172.29.0.1');
    await rig.remove(a);
    await rig.remove(b);
    other.end();
    await rig.networks.prune(() => false);
    await eventually('links gone', () => networkState().links === before.links);
    assert.equal(networkState().rules, before.rules);
  });

  test('the files of a container name it and what it was given', async () => {
    await using rig = new NetworkRig();
    const c = await rig.container({
      hostname: 'web',
      domainname: 'example.org',
      extraHosts: ['db:10.1.2.3', 'host:host-gateway'],
      dns: ['9.9.9.9'],
      dnsSearch: ['example.org'],
      dnsOptions: ['ndots:2'],
    });
    const files = rig.networks.files(c.settings);
    assert.match(files.hosts, /^127\.0\.0\.1\tlocalhost$/m);
    assert.match(files.hosts, /^10\.1\.2\.3\tdb$/m);
    assert.match(files.hosts, /^172\.29\.0\.1\thost$/m);
    assert.match(files.hosts, /^172\.29\.0\.2\tweb\.example\.org web$/m);
    assert.equal(files.resolvConf, 'nameserver 9.9.9.9\nsearch example.org\noptions ndots:2\n');
    assert.equal(files.hostname, 'web\n');
  });

  test('no address twice among 50 processes at once, some of them killed', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'small', subnets: [{ subnet: '10.200.0.0/26' }] });
    const index = new URL('../../src/network/index.js', import.meta.url).href;
    const base = new URL('../../src/base/index.js', import.meta.url).href;
    const program = `
      const { openNetworks } = await import(${JSON.stringify(index)});
      const { makeContext, newId } = await import(${JSON.stringify(base)});
      const n = openNetworks(makeContext(${JSON.stringify({ root: rig.ctx.root, state: rig.ctx.state })}));
      for (let i = 0; i < 6; i++) {
        const id = newId();
        const s = await n.prepare({ containerId: id, containerName: '', hostname: '', requests: [{ network: 'small' }] });
        console.log(s.endpoints[0].ipv4.address);
        if (process.argv[1] === 'die' && i === 2) process.kill(process.pid, 'SIGKILL');
      }
      setTimeout(() => {}, 60000);`;
    const run = (mode: string) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program, mode], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let out = '';
      child.stdout.on('data', (d) => {
        out += d;
      });
      return { child, lines: () => out.trim().split('\n').filter(Boolean) };
    };
    const all = Array.from({ length: 10 }, (_, i) => run(i < 2 ? 'die' : 'live'));
    await eventually('54 addresses', () => all.flatMap((r) => r.lines()).length === 54, 30_000);
    const addresses = all.flatMap((r) => r.lines());
    assert.equal(new Set(addresses).size, 54);
    // What the killed ones held comes back; what the living hold stays.
    await rig.networks.recover(new Set());
    const rest: string[] = [];
    for (let i = 0; i < 13; i++) {
      const s = await rig.networks.prepare({
        containerId: String(i).padStart(64, '0'),
        containerName: `r${i}`,
        hostname: 'h',
        requests: [{ network: 'small' }],
      });
      rest.push(s.endpoints[0]!.ipv4!.address);
    }
    const living = all.slice(2).flatMap((r) => r.lines());
    assert.equal(new Set([...living, ...rest]).size, 48 + 13);
    await assert.rejects(
      rig.networks.prepare({
        containerId: 'f'.repeat(64),
        containerName: 'x',
        hostname: 'h',
        requests: [{ network: 'small' }],
      }),
      (e: NsboxError) => e.code === 'NETWORK' && /no free address left on network small/.test(e.message),
    );
    for (const { child } of all) child.kill('SIGKILL');
    for (let i = 0; i < 13; i++) await rig.networks.release(String(i).padStart(64, '0'));
    await eventually('the dead are gone', async () => {
      await rig.networks.recover(new Set());
      return (await rig.networks.remove('small').catch(() => undefined)) !== undefined;
    });
  });

  test('an address or network that is in use is refused with who has it', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'n', subnets: [{ subnet: '10.201.0.0/24' }] });
    const c = await rig.container({ containerName: 'first', requests: [{ network: 'n', ip: '10.201.0.9' }] });
    assert.equal(c.ip, '10.201.0.9');
    const ask = (ip: string) =>
      rig.networks.prepare({
        containerId: 'e'.repeat(64),
        containerName: 'x',
        hostname: 'h',
        requests: [{ network: 'n', ip }],
      });
    await assert.rejects(
      ask('10.201.0.9'),
      /address 10\.201\.0\.9 on network n is already in use by container/,
    );
    await assert.rejects(ask('10.201.0.1'), /already in use by the network itself/);
    await assert.rejects(ask('10.202.0.1'), /not in the subnet 10\.201\.0\.0\/24/);
    await assert.rejects(rig.networks.remove('n'), /network n has active endpoints \(first\)/);
    await assert.rejects(rig.networks.create({ name: 'n' }), ConflictError);
    await assert.rejects(
      rig.networks.create({ name: 'm', subnets: [{ subnet: '10.201.0.0/16' }] }),
      /overlaps that of network n/,
    );
    await assert.rejects(
      rig.networks.create({ name: 'm', options: { nosuch: '1' } }),
      /unknown network option/,
    );
    await assert.rejects(rig.networks.get('nosuch'), /No such network: nosuch/);
  });

  test('networks are isolated, an internal one reaches nothing outside', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    await rig.networks.create({ name: 'one' });
    await rig.networks.create({ name: 'two' });
    await rig.networks.create({ name: 'shut', internal: true });
    const one = await rig.container({ requests: [{ network: 'one' }] });
    const two = await rig.container({ requests: [{ network: 'two' }] });
    const shut = await rig.container({ requests: [{ network: 'shut' }] });
    const neighbour = await rig.container({ requests: [{ network: 'shut' }] });
    assert.equal(one.ask('198.51.100.2', 9000), '9000 198.51.100.1');
    assert.equal(one.ask(two.ip, 80), '');
    assert.equal(shut.ask(neighbour.ip, 80), `80 ${shut.ip}`);
    assert.equal(shut.run('ip', 'route', 'show', 'default'), '');
    // Also with a route of its own it gets nowhere.
    shut.run('ip', 'route', 'add', 'default', 'via', shut.settings.endpoints[0]!.ipv4!.gateway!);
    assert.equal(shut.ask('198.51.100.2', 9000), '');
    assert.equal(shut.ask(one.ip, 80), '');
    assert.equal(one.ask(shut.ip, 80), '');
    other.run('ip', 'route', 'add', '172.16.0.0/12', 'via', '198.51.100.1');
    assert.equal(other.ask(shut.ip, 80), '');
  });

  test('a container on several networks; attach and detach while it runs', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'one' });
    await rig.networks.create({ name: 'two', ipv6: true });
    const a = await rig.container({ requests: [{ network: 'one' }] });
    const b = await rig.container({ requests: [{ network: 'two' }] });
    assert.equal(a.ask(b.ip, 80), '');
    const settings = await rig.networks.attach(a.id, { network: 'two', aliases: ['x'] }, a.netns);
    assert.equal(settings.endpoints[1]?.interface, 'eth1');
    assert.match(a.ask(b.ip, 80), /^80 172/);
    assert.match(a.ask(b.ip6, 80), /^80 fd/);
    await assert.rejects(
      rig.networks.attach(a.id, { network: 'two' }, a.netns),
      /already exists in network two/,
    );
    await rig.networks.detach(a.id, 'two', a.netns);
    assert.equal(a.ask(b.ip, 80), '');
    assert.doesNotMatch(a.run('ip', '-br', 'link'), /eth1/);
    await assert.rejects(rig.networks.detach(a.id, 'two', a.netns), /not connected to network two/);
    await rig.networks.attach(a.id, { network: 'two' }, a.netns);
    await rig.networks.detach(a.id, 'one', a.netns);
    assert.match(a.run('ip', 'route'), /default via 172\.\d+\.0\.1 dev eth1/);
    await rig.networks.attach(a.id, { network: 'one' }, a.netns);
    const members = (await rig.networks.inspect('one')) as {
      Containers: Record<string, { IPv4Address: string }>;
    };
    assert.equal(members.Containers[a.id]?.IPv4Address.slice(0, 4), a.ip.slice(0, 4));
    assert.match(await rig.networks.graph([], 'dot'), /c0.*[\s\S]*eth0/);
    assert.match(await rig.networks.graph(['one'], 'mermaid'), /^graph LR\n/);
  });

  test('flushed rules and a deleted bridge come back', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([9000]);
    const a = await rig.container({ ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] });
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    rig.here.run('nft', 'flush', 'ruleset');
    assert.equal(other.ask('198.51.100.1', 8080), '');
    await rig.networks.reload();
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    rig.here.run('nft', 'flush', 'ruleset');
    await rig.container(); // the next start sees that the table is gone
    assert.equal(other.ask('198.51.100.1', 8080), '80 198.51.100.2');
    assert.equal(a.ask('198.51.100.2', 9000), '9000 198.51.100.1');
  });

  test('the subnet of a network keeps clear of the host, mtu and gateway are as asked', async () => {
    await using rig = new NetworkRig();
    rig.here.run('ip', 'link', 'add', 'par0', 'type', 'veth');
    rig.here.run('ip', 'addr', 'add', '172.29.7.1/24', 'dev', 'par0');
    rig.here.run('ip', 'link', 'set', 'par0', 'up');
    const a = await rig.container();
    assert.match(a.ip, /^172\.30\./);
    await rig.networks.create({
      name: 'asked',
      subnets: [{ subnet: '10.77.0.0/24', gateway: '10.77.0.254', ipRange: '10.77.0.128/28' }],
      options: { mtu: '1400' },
    });
    const b = await rig.container({ requests: [{ network: 'asked', mac: '02:00:00:00:00:07' }] });
    assert.equal(b.ip, '10.77.0.128');
    assert.match(b.run('ip', 'link', 'show', 'eth0'), /mtu 1400[\s\S]*02:00:00:00:00:07/);
    assert.match(b.run('ip', 'route'), /default via 10\.77\.0\.254/);
    await assert.rejects(
      rig.networks.create({ name: 'bad', subnets: [{ subnet: '172.29.0.0/16' }] }),
      /to which this host has a route/,
    );
  });
}
