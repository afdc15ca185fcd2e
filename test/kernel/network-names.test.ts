import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually, NetworkRig, type Place } from '../support/network.js';
import { ownNetwork } from '../support/own-network.js';

/** Addresses that busybox's nslookup prints. */
function lookup(place: Pick<Place, 'run'>, name: string, server: string): string[] {
  const out = place.run('busybox', 'nslookup', name, server);
  return out
    .split('\n')
    .slice(2)
    .filter((l) => /^Address/.test(l))
    .map((l) => l.replace(/^Address[ \d]*: */, '').trim());
}

if (ownNetwork(import.meta.filename)) {
  test('names, aliases and short ids resolve on user networks, others go upstream', async () => {
    await using rig = new NetworkRig();
    const other = await rig.otherHost([]);
    const notes = `${rig.directory}/asked`;
    writeFileSync(notes, '');
    await rig.program('net-upstream.js', notes);
    await rig.networks.create({ name: 'app', dns: ['198.51.100.1'] });
    await rig.networks.create({ name: 'apart' });
    const a = await rig.container({ containerName: 'Web', requests: [{ network: 'app', aliases: ['svc'] }] });
    const b = await rig.container({ containerName: 'db', requests: [{ network: 'app', aliases: ['svc'] }] });
    const far = await rig.container({ containerName: 'far', requests: [{ network: 'apart' }] });
    const gateway = a.settings.endpoints[0]!.ipv4!.gateway!;
    assert.match(rig.networks.files(a.settings).resolvConf, new RegExp(`^nameserver ${gateway}\n`));
    assert.deepEqual(lookup(a, 'db', gateway), [b.ip]);
    assert.deepEqual(lookup(b, 'web', gateway), [a.ip]);
    assert.deepEqual(lookup(a, 'db.app', gateway), [b.ip]);
    assert.deepEqual(lookup(a, b.id.slice(0, 12), gateway), [b.ip]);
    assert.deepEqual(lookup(a, 'svc', gateway).sort(), [a.ip, b.ip].sort());
    const first = new Set(Array.from({ length: 6 }, () => lookup(a, 'svc', gateway)[0]));
    assert.equal(first.size, 2, 'rotated');
    assert.match(a.run('busybox', 'nslookup', b.ip, gateway), /name = db\.app/);
    // Unknown names without a dot are nobody's; those of other networks are unknown here.
    assert.match(a.run('busybox', 'nslookup', 'nosuch', gateway), /NXDOMAIN/);
    assert.match(a.run('busybox', 'nslookup', 'far', gateway), /NXDOMAIN/);
    assert.equal(readFileSync(notes, 'utf8'), '');
    assert.deepEqual(lookup(a, 'example.org', gateway), ['203.0.113.7']);
    assert.match(a.run('busybox', 'nslookup', 'no.such.example', gateway), /NXDOMAIN/);
    assert.match(a.run('busybox', 'nslookup', '-type=a', 'silent.example', gateway), /SERVFAIL|timed out/);
    // Nobody else is answered: not another host, not another network.
    other.run('ip', 'route', 'add', '172.16.0.0/12', 'via', '198.51.100.1');
    assert.match(other.run('busybox', 'timeout', '2', 'busybox', 'nslookup', 'db', gateway), /^(?!.*172\.)/s);
    assert.match(
      far.run('busybox', 'timeout', '2', 'busybox', 'nslookup', 'db', gateway),
      /^(?!.*Address.*172\.30\.0\.3)/s,
    );
    // With its container a name goes.
    await rig.remove(b);
    await eventually('db is forgotten', () => /NXDOMAIN/.test(a.run('busybox', 'nslookup', 'db', gateway)));
  });

  test('over TCP and with EDNS; an answer that is too long says so', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'app', subnets: [{ subnet: '10.5.0.0/16' }] });
    const a = await rig.container({ requests: [{ network: 'app', aliases: ['many'] }] });
    for (let i = 0; i < 39; i++) {
      // Names need records, not links.
      const id = String(i).padStart(64, '0');
      const s = await rig.networks.prepare({
        containerId: id,
        containerName: `m${i}`,
        hostname: 'm',
        requests: [{ network: 'app', aliases: ['many'] }],
      });
      const { writeSettings } = await import('../../src/network/settings.js');
      writeSettings(rig.ctx, s);
    }
    const script = `
      import dgram from 'node:dgram'; import net from 'node:net'; import packet from ${JSON.stringify(import.meta.resolve('dns-packet'))};
      const q = (edns) => packet.encode({ id: 7, type: 'query', flags: packet.RECURSION_DESIRED, questions: [{ type: 'A', name: 'many' }],
        additionals: edns ? [{ type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] }] : [] });
      const udp = (edns) => new Promise((r) => { const s = dgram.createSocket('udp4'); s.on('message', (m) => { s.close(); r(packet.decode(m)); }); s.send(q(edns), 53, '10.5.0.1'); });
      const tcp = () => new Promise((r) => { const s = net.connect(53, '10.5.0.1', () => s.write(packet.streamEncode({ ...packet.decode(q(false)) }))); let b = Buffer.alloc(0);
        s.on('data', (d) => { b = Buffer.concat([b, d]); if (b.length >= 2 + b.readUInt16BE(0)) { s.destroy(); r(packet.streamDecode(b)); } }); });
      let p, times = [];
      for (let i = 0; i < 200; i++) { const t = performance.now(); p = await udp(false); times.push(performance.now() - t); }
      const e = await udp(true), t = await tcp();
      console.log(JSON.stringify({ cut: p.flag_tc, plain: p.answers.length, edns: e.answers.length, opt: e.additionals.length, tcp: t.answers.length, median: times.sort((x, y) => x - y)[100] }));`;
    await eventually('all are known', () => {
      const r = JSON.parse(a.run(process.execPath, '--input-type=module', '-e', script)) as Record<
        string,
        unknown
      >;
      if (r['tcp'] !== 40) return false;
      assert.deepEqual({ ...r, median: 0 }, { cut: true, plain: 0, edns: 40, opt: 1, tcp: 40, median: 0 });
      assert.ok((r['median'] as number) < 5, `median ${r['median']} ms`);
      return true;
    });
    for (let i = 0; i < 39; i++) await rig.networks.release(String(i).padStart(64, '0'));
  });

  test('the names process is one, restarts by itself, and ends when nobody needs it', async () => {
    await using rig = new NetworkRig();
    await rig.networks.create({ name: 'app' });
    const [a, b] = await Promise.all([
      rig.container({ containerName: 'a', requests: [{ network: 'app' }] }),
      rig.container({ containerName: 'b', requests: [{ network: 'app' }] }),
    ]);
    const gateway = a.settings.endpoints[0]!.ipv4!.gateway!;
    const processes = () =>
      rig.here
        .run('ps', '-eo', 'pid,ppid,args')
        .split('\n')
        .filter((l) => l.includes(rig.ctx.state) && !l.includes('ps -eo'))
        .map((l) => l.trim().split(/\s+/).slice(0, 2).map(Number) as [number, number]);
    const pid = () => Number(readFileSync(`${rig.ctx.state}/network/names.pid`, 'utf8').split(':')[0]);
    const parentOf = (child: number) => processes().find(([p]) => p === child)?.[1];
    const answers = () => lookup(a, 'b', gateway)[0] === b.ip;
    assert.deepEqual(lookup(a, 'b', gateway), [b.ip]);
    await eventually('one process and its supervisor', () => processes().length === 2);
    // Killed, it is back without any command.
    const first = pid();
    const supervisor = parentOf(first)!;
    process.kill(first, 'SIGKILL');
    await eventually('another answers', () => pid() !== first && answers(), 20_000);
    assert.equal(parentOf(pid()), supervisor);
    // Without its supervisor it makes room for another pair.
    const second = pid();
    process.kill(supervisor, 'SIGKILL');
    await eventually('another pair', () => pid() !== second && processes().length === 2, 20_000);
    await eventually('which answers', answers, 20_000);
    // Both killed at once: the next container starts them.
    const both = processes().map(([p]) => p);
    // Stopped first: between the two ends the second would see the first one's and start another pair.
    rig.here.run('kill', '-STOP', ...both.map(String));
    rig.here.run('kill', '-9', ...both.map(String));
    await eventually('killed', () => processes().length === 0);
    const c = await rig.container({ containerName: 'c', requests: [{ network: 'app' }] });
    assert.deepEqual(lookup(a, 'c', gateway), [c.ip]);
    for (const container of [a, b, c]) await rig.remove(container);
    await eventually('ended', () => processes().length === 0, 15_000);
    assert.deepEqual(rig.warnings, []);
  });

  test('a program on port 53 of all addresses is gone around', async () => {
    await using rig = new NetworkRig();
    const socket = createSocket('udp4').unref();
    await new Promise<void>((resolve) => socket.bind(53, '0.0.0.0', resolve));
    await rig.networks.create({ name: 'app' });
    const a = await rig.container({ containerName: 'a', requests: [{ network: 'app' }] });
    const gateway = a.settings.endpoints[0]!.ipv4!.gateway!;
    assert.deepEqual(lookup(a, 'a', gateway), [a.ip]);
    socket.close();
  });
}
