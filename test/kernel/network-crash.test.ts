import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sweepTemporary } from '../../src/state/index.js';
import { eventually, NetworkRig, networkState } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

if (ownNetwork(import.meta.filename)) {
  test('kill -9 at any moment of connect and disconnect: the next command repairs', async () => {
    await using rig = new NetworkRig();
    const before = networkState();
    const namespaces = () => rig.here.run('lsns', '-t', 'net', '-n', '-o', 'NS').split('\n').length;
    const namespacesBefore = namespaces();
    await rig.networks.create({ name: 'one', subnets: [{ subnet: '10.61.0.0/24' }] });
    await rig.networks.create({ name: 'two', subnets: [{ subnet: '10.62.0.0/24' }] });
    const c = await rig.container({
      requests: [{ network: 'one' }],
      ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: '0.0.0.0' }],
    });
    for (let i = 0; i < 12; i++) {
      const child = spawn(
        process.execPath,
        [
          path.join(import.meta.dirname, '../support/net-crash.js'),
          rig.ctx.root,
          rig.ctx.state,
          c.id,
          String(c.pid),
        ],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      );
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 120));
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    }
    // Whatever the last one left, these lead to the state that is asked for.
    const on = () => c.run('ip', '-br', 'addr').includes('10.62.0.');
    await rig.networks.detach(c.id, 'two', c.netns).catch(() => undefined);
    await rig.networks.recover(new Set([c.id]));
    await rig.networks.attach(c.id, { network: 'two' }, c.netns);
    assert.ok(on());
    await rig.networks.detach(c.id, 'two', c.netns);
    assert.ok(!on());
    assert.equal(rig.here.ask('127.0.0.1', 8080), '80 10.61.0.1');
    await rig.remove(c);
    await rig.networks.remove('one');
    await rig.networks.remove('two');
    await rig.networks.prune(() => false);
    await eventually('links gone', () => networkState().links === before.links);
    assert.equal(networkState().rules, before.rules);
    // Neither namespaces nor claims are left; the lock files are there, and nobody holds them.
    const state = `${rig.ctx.state}/network`;
    sweepTemporary(`${state}/containers`); // as every command does first
    for (const d of ['leases', 'ports', 'containers']) assert.deepEqual(readdirSync(`${state}/${d}`), [], d);
    await eventually('the namespace is gone', () => namespaces() === namespacesBefore);
    for (const file of [`${state}/lock`, `${rig.ctx.root}/networks/.lock`]) {
      assert.equal(rig.here.run('flock', '-n', file, 'echo', 'free'), 'free', file);
    }
    await eventually(
      'the names process has ended',
      () => rig.here.run('flock', '-n', `${state}/names.lock`, 'echo', 'free') === 'free',
      15_000,
    );
  });
}
