import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { kernelNames } from '../../src/network/paths.js';
import { CliRig, collect } from '../support/cli.js';
import { eventually, ip, NetworkRig, networkState } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

if (ownNetwork(import.meta.filename)) {
  test('50 starts at once, some of them killed: no address and no port twice, and nothing is left', async () => {
    await using rig = new CliRig('net-many');
    ip('link', 'set', 'lo', 'up');
    const before = networkState();
    await rig.ok('network', 'create', '--subnet', '10.71.0.0/26', 'small');
    const flags = ['-d', '--network', 'small', '-p', '0.0.0.0::80', '--rootfs', rig.box.rootfs];
    const runs = Array.from({ length: 50 }, (_, i) => {
      const child = rig.spawn(['run', '--name', `c${i}`, ...flags, 'sleep', '1000']);
      // Somewhere between its first line and its last.
      if (i % 7 === 3) setTimeout(() => child.kill('SIGKILL'), 100 + Math.random() * 3000);
      return collect(child, { timeoutMs: 200_000 });
    });
    const results = await Promise.all(runs);
    for (const [i, r] of results.entries()) {
      if (i % 7 !== 3) assert.equal(r.code, 0, r.stderr);
    }
    const format =
      '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} {{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}';
    const living = (await rig.ok('ps', '-q', '--no-trunc')).split('\n');
    assert.ok(living.length >= 43, `${living.length} run`);
    const lines = (await rig.ok('inspect', '-f', format, ...living)).split('\n');
    for (const [what, of] of [
      ['addresses', (l: string) => l.split(' ')[0]],
      ['ports', (l: string) => l.split(' ')[1]],
    ] as const) {
      assert.equal(new Set(lines.map(of)).size, living.length, what);
    }
    await rig.ok('rm', '-f', ...(await rig.ok('ps', '-aq')).split('\n'));
    await rig.ok('network', 'rm', 'small');
    await rig.ok('network', 'prune', '-f');
    await eventually('links gone', () => networkState().links === before.links);
    assert.equal(networkState().rules, before.rules);
    const state = `${rig.box.state}/network`;
    assert.deepEqual(readdirSync(`${state}/leases`), []);
    assert.deepEqual(readdirSync(`${state}/ports`), []);
    assert.deepEqual(readdirSync(`${state}/containers`), []);
  });

  test('200 containers on one network: the rules are those of one, each is reached and has its name', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'full', subnets: [{ subnet: '10.72.0.0/16' }] });
    const start = (i: number, listen: number[]) =>
      rig.container({
        containerName: `m${i}`,
        listen,
        requests: [{ network: 'full' }],
        ports: [{ hostIp: '0.0.0.0', hostPort: 10_000 + i, containerPort: 80, protocol: 'tcp' }],
      });
    const first = await start(0, [80]);
    const rules = () => rig.here.run('nft', '-t', 'list', 'ruleset');
    const before = rules();
    for (let i = 1; i < 199; i += 6) {
      await Promise.all(Array.from({ length: Math.min(6, 199 - i) }, (_, k) => start(i + k, [])));
    }
    const last = await start(199, [80]);
    assert.equal(rules(), before);
    assert.equal(
      rig.here
        .run('nft', 'list', 'map', 'inet', kernelNames(rig.ctx).table, 'publish4any')
        .match(/tcp \. 1\d{4}/g)?.length,
      200,
    );
    assert.equal(rig.here.ask('127.0.0.1', 10_199), '80 10.72.0.1');
    assert.equal(last.ask(first.ip, 80), `80 ${last.ip}`);
    const lookup = (name: string) => last.run('busybox', 'nslookup', '-type=a', name, '10.72.0.1');
    for (const i of [0, 99, 199]) assert.match(lookup(`m${i}`), /Address.*10\.72\.0\.\d+/);
    assert.match(lookup('m200'), /NXDOMAIN/);
  });
}
