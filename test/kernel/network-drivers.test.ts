import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { openNetworks } from '../../src/network/index.js';
import { eventually, ip, NetworkRig } from '../support/network.js';
import { NETWORK_SCENARIOS } from '../support/network-scenarios.js';
import { ownNetwork } from '../support/own-network.js';

if (ownNetwork(import.meta.filename)) {
  for (const { name, missing, run } of NETWORK_SCENARIOS) {
    test(name, async (t) => {
      const why = missing();
      if (why) return t.skip(why);
      await run();
    });
  }

  test('macvlan without a parent is among containers only; a parent that is not there is named', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'inner', driver: 'macvlan' });
    const x = await rig.container({ requests: [{ network: 'inner' }] });
    const y = await rig.container({ requests: [{ network: 'inner' }] });
    assert.equal(x.ask(y.ip, 80), `80 ${x.ip}`);
    await assert.rejects(
      rig.networks.create({ name: 'bad', driver: 'macvlan', options: { macvlan_mode: 'odd' } }),
      /invalid macvlan_mode "odd"/,
    );
    await rig.networks.create({ name: 'nolink', driver: 'macvlan', options: { parent: 'nosuch0' } });
    await assert.rejects(
      rig.container({ requests: [{ network: 'nolink' }] }),
      /this host has no link nosuch0/,
    );
    for (const container of [x, y]) await rig.remove(container);
    await eventually('removed', async () => {
      await rig.networks.prune(() => false);
      return !ip('-br', 'link').includes('dm-');
    });
  });

  test('vxlan: containers of two hosts talk on one network', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    const away = await rig.place([80]);
    const network = (ipRange: string, peer: string) => ({
      name: 'wide',
      driver: 'vxlan',
      subnets: [{ subnet: '10.5.0.0/16', ipRange }],
      peers: [peer],
    });
    await assert.rejects(
      rig.networks.create({ name: 'wide', driver: 'vxlan', peers: ['198.51.100.2'] }),
      /needs --subnet, the same on every host, and --ip-range/,
    );
    await rig.networks.create(network('10.5.1.0/24', '198.51.100.2'));
    const here = await rig.container({ requests: [{ network: 'wide' }] });
    const there = other
      .run(
        process.execPath,
        path.join(import.meta.dirname, '../support/network-host.js'),
        `${rig.directory}/other-root`,
        `${rig.directory}/other-state`,
        String(away.pid),
        JSON.stringify(network('10.5.2.0/24', '198.51.100.1')),
        JSON.stringify({ network: 'wide' }),
      )
      .split('\n')
      .at(-1)!;
    assert.match(here.ip, /^10\.5\.1\./);
    assert.match(there, /^10\.5\.2\.\d+$/);
    assert.equal(here.ask(there, 80), `80 ${here.ip}`);
    assert.equal(away.ask(here.ip, 80), `80 ${there}`);
    assert.match(here.run('ip', 'link', 'show', 'eth0'), /mtu 1450/);
  });

  test('CNI: a list of plugins wires and unwires', async (t) => {
    const plugins = ['/usr/lib/cni', '/opt/cni/bin'].find((d) => existsSync(`${d}/bridge`));
    if (!plugins) return t.skip('needs containernetworking-plugins');
    await using rig = new NetworkRig();
    const conf = `${rig.directory}/net.d`;
    mkdirSync(conf);
    const list = {
      cniVersion: '0.4.0',
      name: 'plug',
      plugins: [
        {
          type: 'bridge',
          bridge: 'cnitest0',
          isGateway: true,
          ipam: {
            type: 'host-local',
            dataDir: `${rig.directory}/cni`,
            ranges: [[{ subnet: '10.88.7.0/24' }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
        { type: 'tuning', mtu: 1400 },
      ],
    };
    writeFileSync(`${conf}/10-plug.conflist`, JSON.stringify(list));
    writeFileSync(
      `${conf}/20-bad.conflist`,
      JSON.stringify({ cniVersion: '0.4.0', name: 'bad', plugins: [list.plugins[0], { type: 'nosuch' }] }),
    );
    const networks = openNetworks(
      makeContext({
        root: rig.ctx.root,
        state: rig.ctx.state,
        env: { NETCONFPATH: conf, CNI_PATH: plugins, PATH: process.env['PATH'] },
      }),
    );
    await networks.create({ name: 'plug', driver: 'cni' });
    await assert.rejects(networks.create({ name: 'nolist', driver: 'cni' }), /No such network: nolist/);
    const place = await rig.place([80]);
    const prepare = (network: string, id: string) =>
      networks.prepare({ containerId: id, containerName: 'c', hostname: 'c', requests: [{ network }] });
    const settings = await prepare('plug', 'a'.repeat(64));
    await networks.connect(settings, place.netns);
    const address = settings.endpoints[0]!.ipv4!.address;
    assert.match(address, /^10\.88\.7\./);
    assert.equal(rig.here.ask(address, 80), '80 10.88.7.1');
    assert.match(place.run('ip', 'link', 'show', 'eth0'), /mtu 1400/);
    assert.equal(networks.settings('a'.repeat(64))?.endpoints[0]?.ipv4?.address, address);
    await networks.release('a'.repeat(64));
    assert.doesNotMatch(place.run('ip', '-br', 'link'), /eth0/);
    await networks.create({ name: 'bad', driver: 'cni' });
    const second = await prepare('bad', 'c'.repeat(64));
    await assert.rejects(networks.connect(second, place.netns), /cannot find the CNI plugin nosuch in/);
    await networks.release('c'.repeat(64));
    assert.doesNotMatch(place.run('ip', '-br', 'link'), /eth0/);
    ip('link', 'del', 'cnitest0');
  });
}
