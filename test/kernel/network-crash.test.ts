import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { eventually, NetworkRig, networkState } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

if (ownNetwork(import.meta.filename)) {
  test('kill -9 at any moment of connect and disconnect: the next command repairs', async () => {
    await using rig = new NetworkRig();
    const before = networkState();
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
  });
}
