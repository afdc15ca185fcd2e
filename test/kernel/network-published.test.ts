import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { create } from '../../src/index.js';
import { openNetworks } from '../../src/network/index.js';
import { CliRig } from '../support/cli.js';
import { eventually } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';
import { noBusybox } from '../support/rootfs.js';

/** Published ports as programs and people see them, on the whole way from the request. */
if (ownNetwork(import.meta.filename)) {
  const server = ['sh', '-c', 'while :; do echo hello | nc -l -p 80; done'];

  /** An image that exposes ports. */
  async function exposing(rig: CliRig): Promise<void> {
    execFileSync('ip', ['link', 'set', 'lo', 'up']);
    execFileSync('tar', ['-C', rig.box.rootfs, '-cf', `${rig.box.directory}/web.tar`, '.']);
    const changes = ['-c', 'EXPOSE 80', '-c', 'EXPOSE 53/udp'];
    await rig.ok('import', ...changes, `${rig.box.directory}/web.tar`, 'web:1');
  }

  test('the library publishes the ports that an image exposes', { skip: noBusybox }, async () => {
    await using rig = new CliRig('published');
    await exposing(rig);
    const { root, state } = rig.box;
    const web = await create({
      root,
      state,
      image: 'web:1',
      command: server,
      network: 'bridge',
      request: { publishAll: true },
    });
    const settings = openNetworks(makeContext({ root, state })).settings(web.id);
    const ports = (settings?.ports ?? []).filter((p) => p.hostIp === '0.0.0.0');
    assert.deepEqual(ports.map((p) => `${p.containerPort}/${p.protocol}`).sort(), ['53/udp', '80/tcp']);
    const { hostPort } = ports.find((p) => p.protocol === 'tcp')!;
    await eventually('an answer', () =>
      execFileSync('sh', ['-c', `busybox nc -w 2 127.0.0.1 ${hostPort} </dev/null || true`], {
        encoding: 'utf8',
      }).includes('hello'),
    );
    web.kill('SIGKILL');
    await web.wait();
    await web[Symbol.asyncDispose]();
  });

  test('ps, port and inspect: published while the program runs, as Docker', { skip: noBusybox }, async () => {
    await using rig = new CliRig('published');
    await exposing(rig);
    await rig.ok('create', '--name', 'web', '-p', '127.0.0.1:8080:80', '--expose', '90', 'web:1', ...server);
    const shown = async () => ({
      ps: await rig.ok('ps', '-a', '--format', '{{.Ports}}'),
      port: await rig.ok('port', 'web'),
      published: await rig.ok('ps', '-aq', '-f', 'publish=8080'),
      now: JSON.parse(await rig.ok('inspect', '-f', '{{json .NetworkSettings.Ports}}', 'web')),
      ip: await rig.ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'web'),
      asked: JSON.parse(await rig.ok('inspect', '-f', '{{json .HostConfig.PortBindings}}', 'web')),
      exposed: Object.keys(JSON.parse(await rig.ok('inspect', '-f', '{{json .Config.ExposedPorts}}', 'web'))),
    });
    const asked = { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] };
    const exposed = ['53/udp', '80/tcp', '90/tcp'];
    const none = { ps: '', port: '', published: '', now: {}, ip: '', asked, exposed };
    assert.deepEqual(await shown(), none, 'created');
    await rig.ok('start', 'web');
    const { published, ip, ...up } = await shown();
    assert.match(published, /^[0-9a-f]{12}$/);
    assert.match(ip, /^172\.\d+\.0\.2$/);
    assert.deepEqual(up, {
      ps: '53/udp, 127.0.0.1:8080->80/tcp, 90/tcp',
      port: '80/tcp -> 127.0.0.1:8080',
      now: { ...asked, '53/udp': null, '90/tcp': null },
      asked,
      exposed,
    });
    await rig.ok('kill', 'web');
    await rig.ok('wait', 'web');
    assert.deepEqual(await shown(), none, 'exited');
  });
}
