import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliRig } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox;

describe('a container’s life', { skip }, () => {
  const rig = skip ? undefined! : new CliRig('life');
  after(() => rig?.[Symbol.asyncDispose]());
  const fails = async (code: number, message: RegExp, ...args: string[]) => {
    const r = await rig.nsbox(args);
    assert.match(r.stderr, message, args.join(' '));
    assert.match(r.stderr, /^nsbox: [^\n]*\n$/, 'one line');
    assert.equal(r.code, code, args.join(' '));
  };

  it('is listed, filtered and formatted', async () => {
    const id = await rig.start(['--name', 'web', '-l', 'role=front', '-v', 'site:/srv'], 'sleep', '1000');
    await rig.start(['--name', 'done', '-l', 'role=back'], 'sh', '-c', 'exit 3');
    assert.equal(await rig.ok('wait', 'done'), '3');
    const made = await rig.ok(
      'create',
      '--name',
      'made',
      '--network',
      'none',
      '--rootfs',
      rig.box.rootfs,
      'true',
    );
    assert.match(made, /^[0-9a-f]{64}$/);

    const table = (await rig.ok('ps', '-a')).split('\n');
    assert.match(table[0]!, /^CONTAINER ID {3}IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES$/);
    assert.match(table[1]!, /"true" .* Created +made$/);
    assert.match(table[2]!, /"sh -c 'exit 3'"|"sh -c exit 3" .*Exited \(3\) .* ago +done$/);
    assert.match(table[3]!, new RegExp(`^${id.slice(0, 12)} .*"sleep 1000" .*Up .* web$`));
    const names = async (...flags: string[]) =>
      (await rig.ok('ps', '--format', '{{.Names}}', ...flags)).split('\n');
    assert.deepEqual(await names(), ['web']);
    assert.deepEqual(await names('-a'), ['made', 'done', 'web']);
    assert.deepEqual(await names('-l'), ['made']);
    assert.deepEqual(await names('-n', '2'), ['made', 'done']);
    assert.deepEqual(await names('-f', 'status=exited'), ['done']);
    assert.deepEqual(await names('-f', 'exited=3'), ['done']);
    assert.deepEqual(await names('-a', '-f', 'label=role'), ['done', 'web']);
    assert.deepEqual(await names('-a', '-f', 'label=role=back'), ['done']);
    assert.deepEqual(await names('-a', '-f', 'name=e$'), ['made', 'done']);
    assert.deepEqual(await names('-f', 'before=made', '-f', 'since=web'), ['done']);
    assert.deepEqual(await names('-f', 'volume=site'), ['web']);
    assert.equal(await rig.ok('ps', '-q', '--no-trunc'), id);
    assert.equal(
      await rig.ok('ps', '--format', '{{.ID}} {{.Label "role"}} {{.Mounts}} {{.State}}'),
      `${id.slice(0, 12)} front site running`,
    );
    assert.equal(JSON.parse(await rig.ok('ps', '--format', 'json')).Names, 'web');
    await fails(1, /invalid filter 'status=odd'/, 'ps', '-f', 'status=odd');
    await fails(1, /there is no field "Foo"/, 'ps', '--format', '{{.Foo}}');
  });

  it('is inspected in Docker’s shape', async () => {
    const [web] = JSON.parse(await rig.ok('inspect', 'web'));
    assert.equal(web.Name, '/web');
    assert.equal(web.State.Status, 'running');
    assert.match(readlinkSync(`/proc/${web.State.Pid}/exe`), /busybox/);
    assert.deepEqual([web.Path, web.Args], ['sleep', ['1000']]);
    assert.equal(web.Mounts[0].Name, 'site');
    assert.equal(web.HostConfig.NetworkMode, 'none');
    const format = '{{.State.ExitCode}} {{json .Config.Labels}} {{index .Config.Cmd 0}}';
    assert.equal(await rig.ok('inspect', '-f', format, 'done'), '3 {"role":"back"} sh');
    await fails(1, /No such container: nosuch/, 'container', 'inspect', '--type', 'container', 'nosuch');
    assert.equal(await rig.ok('inspect', '-f', '{{.Name}}', 'site'), 'site');
  });

  it('runs further programs', async () => {
    const echo = await rig.nsbox(
      ['exec', '-i', '-eX=1', '-w', '/srv', 'web', 'sh', '-c', 'cat; echo $X; pwd; echo e >&2; exit 4'],
      {
        input: 'in\n',
      },
    );
    assert.deepEqual([echo.code, echo.stdout, echo.stderr], [4, 'in\n1\n/srv\n', 'e\n']);
    assert.equal(await rig.ok('exec', '-u', 'app', 'web', 'id', '-u'), '1000');
    await fails(127, /"nosuch".*not found/, 'exec', 'web', 'nosuch');
    await fails(1, /No such container: nosuch/, 'exec', 'nosuch', 'true');
    await fails(1, /is not running/, 'exec', 'done', 'true');
    await rig.ok('exec', '-d', 'web', 'sh', '-c', 'echo bg > /tmp/bg');
    for (let i = 0; i < 50 && !existsSync(path.join(rig.box.rootfs, 'tmp/bg')); i++) await sleep(20);
    assert.equal(await rig.ok('exec', 'web', 'cat', '/tmp/bg'), 'bg');
    assert.match(await rig.ok('top', 'web'), /^UID +PID[\s\S]*sleep 1000$/);
  });

  it('copies files both ways', async () => {
    const at = (name: string) => path.join(rig.box.directory, name);
    mkdirSync(at('tree/sub'), { recursive: true });
    writeFileSync(at('tree/a'), 'A', { mode: 0o640 });
    writeFileSync(at('tree/sub/b'), 'B');
    symlinkSync('/etc/shadow', at('tree/evil'));
    for (const name of ['web', 'done']) {
      await rig.ok('cp', at('tree'), `${name}:/tmp`);
      await rig.ok('cp', `${at('tree')}/.`, `${name}:/tmp/new`);
      await rig.ok('cp', at('tree/a'), `${name}:/tmp/renamed`);
      await rig.ok('cp', at('tree/a'), `${name}:/srv/vol`);
      await rig.ok('cp', `${name}:/tmp/tree`, at(`back-${name}`));
      assert.equal(readFileSync(at(`back-${name}/sub/b`), 'utf8'), 'B');
      assert.equal(readlinkSync(at(`back-${name}/evil`)), '/etc/shadow');
      assert.equal(statSync(at(`back-${name}/a`)).mode & 0o777, 0o640);
      await rig.ok('cp', `${name}:/tmp/new/.`, at(`contents-${name}`));
      assert.equal(readFileSync(at(`contents-${name}/a`), 'utf8'), 'A');
      await fails(1, /no such file or directory: .*:\/nosuch/, 'cp', `${name}:/nosuch`, at('x'));
      await fails(1, /no such file or directory: .*\/nosuch/, 'cp', at('nosuch'), `${name}:/tmp`);
      await fails(1, /the directory .* must exist/, 'cp', at('tree/a'), `${name}:/tmp/nodir/`);
      await fails(1, /cannot copy the directory/, 'cp', at('tree'), `${name}:/tmp/renamed`);
    }
    assert.equal(
      await rig.ok('exec', 'web', 'sh', '-c', 'stat -c %u:%g /tmp/tree/a /tmp/renamed /srv/vol | sort -u'),
      '0:0',
    );
    await fails(1, /copying between containers/, 'cp', 'web:/tmp', 'done:/tmp');
    await fails(1, /at least one container/, 'cp', '/a', '/b');
    // Links in the container lead to places in it, never to the host's.
    await rig.ok('exec', 'web', 'busybox', 'ln', '-s', '/../../../../../..', '/tmp/up');
    await rig.ok('cp', at('tree/a'), 'web:/tmp/up/landed');
    assert.ok(existsSync(path.join(rig.box.rootfs, 'landed')));
    assert.ok(!existsSync('/landed'));
  });

  it('is logged', async () => {
    await rig.start(
      ['--name', 'talk'],
      'sh',
      '-c',
      'for i in 1 2 3; do echo out $i; done; echo err >&2; sleep 0.3; echo late',
    );
    const followed = await rig.nsbox(['logs', '-f', 'talk']);
    assert.equal(followed.stdout, 'out 1\nout 2\nout 3\nlate\n');
    assert.equal(followed.stderr, 'err\n');
    assert.equal((await rig.nsbox(['logs', '-n', '1', 'talk'])).stdout, 'late\n');
    assert.match(
      (await rig.nsbox(['logs', '-t', '-n', '1', 'talk'])).stdout,
      /^\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z late\n$/,
    );
    await fails(1, /invalid value for --tail/, 'logs', '--tail', 'x', 'talk');
  });

  it('is paused, stopped, started, restarted, killed, renamed', async () => {
    await rig.ok('pause', 'web');
    assert.match(await rig.ok('ps', '--format', '{{.Status}}'), /\(Paused\)$/);
    await fails(1, /already paused/, 'pause', 'web');
    await fails(1, /is paused/, 'exec', 'web', 'true');
    await rig.ok('unpause', 'web');
    await fails(1, /is not paused/, 'unpause', 'web');
    assert.equal(await rig.ok('stop', '-t', '0', 'web'), 'web');
    assert.equal(await rig.ok('stop', 'web'), 'web');
    await fails(1, /is not running/, 'kill', 'web');
    assert.equal(await rig.ok('start', 'web'), 'web');
    const pid = () => rig.ok('inspect', '-f', '{{.State.Pid}}', 'web');
    const before = await pid();
    assert.equal(await rig.ok('restart', '-t', '0', 'web'), 'web');
    assert.notEqual(await pid(), before);
    await rig.ok('rename', 'web', 'site');
    await fails(1, /No such container: web/, 'inspect', '--type', 'container', 'web');
    await fails(1, /name "\/done" is already in use/, 'rename', 'site', 'done');
    await fails(1, /same name/, 'rename', 'site', 'site');
    const waiting = rig.nsbox(['wait', 'site']);
    await sleep(300);
    assert.equal(await rig.ok('kill', 'site'), 'site');
    assert.equal((await waiting).stdout, '137\n');
    const again = await rig.nsbox(['start', '-a', 'done']);
    assert.equal(again.code, 3);
  });

  it('is told in events', async () => {
    const lines = (
      await rig.ok('events', '--since', '10m', '--until', '0s', '--filter', 'label=role=front')
    ).split('\n');
    assert.match(lines[0]!, /^\d{4}-[\d-]+T[\d:.]+Z container create [0-9a-f]{64} \(.*name=web.*\)$/);
    const actions = lines.map((l) => l.split(' ')[2]);
    for (const action of ['start', 'pause', 'unpause', 'die', 'rename', 'kill'])
      assert.ok(actions.includes(action), action);
    const one = await rig.ok(
      'events',
      '--since',
      '10m',
      '--until',
      '0s',
      '--format',
      '{{.Action}} {{.Actor.Attributes.name}}',
    );
    assert.match(one, /^create web$/m);
  });

  it('ends: rm, prune', async () => {
    await rig.start(['--name', 'busy', '-v', '/anon', '-v', 'kept:/kept'], 'sleep', '100');
    await fails(1, /cannot remove container "\/busy": container is running/, 'rm', 'busy');
    await fails(1, /volume is in use/, 'volume', 'rm', 'kept');
    assert.equal(await rig.ok('rm', '-f', '-v', 'busy'), 'busy');
    const both = await rig.nsbox(['rm', 'nosuch', 'made']);
    assert.deepEqual(
      [both.code, both.stdout, both.stderr],
      [1, 'made\n', 'nsbox: No such container: nosuch\n'],
    );
    assert.deepEqual((await rig.ok('volume', 'ls', '-q')).split('\n'), ['kept', 'site']);
    const refused = await rig.nsbox(['container', 'prune'], { input: 'n\n' });
    assert.match(refused.stdout, /WARNING! This will remove all stopped containers\.\nAre you sure/);
    assert.match(
      await rig.ok('container', 'prune', '-f'),
      /^Deleted Containers:\n[0-9a-f\n]{195,}\nTotal reclaimed space: [\d.]+k?M?B$/,
    );
    assert.equal(await rig.ok('ps', '-aq'), '');
    assert.equal(await rig.ok('volume', 'prune', '-f'), 'Total reclaimed space: 0B');
    assert.match(await rig.ok('volume', 'prune', '-af'), /^Deleted Volumes:\nkept\nsite\n/);
  });
});
