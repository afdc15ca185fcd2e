import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CliRig, collect } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox;

describe('files of containers made from an image', { skip }, () => {
  const rig = skip ? undefined! : new CliRig('files');
  const at = (name: string) => path.join(rig.box.directory, name);
  before(async () => {
    rig.box.write('data/kept', 'from the image\n');
    rig.box.write('data/gone', 'x');
    execFileSync('chown', ['-R', '5:6', path.join(rig.box.rootfs, 'data')]);
    await rig.ok('import', '-c', 'CMD ["sh"]', '-c', 'LABEL a=b', rig.box.rootfs, 'box');
  });
  after(() => rig?.[Symbol.asyncDispose]());
  const create = (name: string, ...args: string[]) =>
    rig.ok('create', '--name', name, '--network', 'none', ...args);
  const tar = (args: string[], input?: Buffer) => execFileSync('tar', args, { input, encoding: 'utf8' });

  it('diff says what changed', async () => {
    const script =
      'echo x > /tmp/new; rm /data/gone; mkdir -p /made/deep; echo y >> /etc/passwd; rm -r /app; mkdir /app; chown 1:1 /made';
    await create('work', '-v', '/vol', 'box', 'sh', '-c', script);
    assert.equal(await rig.ok('diff', 'work'), '');
    await rig.ok('start', '-a', 'work');
    const changes = (await rig.ok('diff', 'work')).split('\n');
    for (const line of [
      'C /tmp',
      'A /tmp/new',
      'D /data/gone',
      'A /made',
      'A /made/deep',
      'C /etc/passwd',
      'C /app',
      'A /vol',
    ]) {
      assert.ok(changes.includes(line), `${line} in ${changes}`);
    }
    assert.ok(!changes.some((c) => c.endsWith('/data/kept')));
  });

  it('diff lists no mount point that every container has', async () => {
    // An image of one directory: no /proc, /dev or /etc/hosts; it changes nothing but what it is told to.
    const bare = at('bare');
    mkdirSync(path.join(bare, 'bin'), { recursive: true });
    copyFileSync(path.join(rig.box.rootfs, 'bin/busybox'), path.join(bare, 'bin/busybox'));
    mkdirSync(path.join(bare, 'etc'));
    await rig.ok('import', bare, 'bare');
    const run = (name: string, script: string) =>
      rig.ok('run', '--network', 'none', '--name', name, 'bare', '/bin/busybox', 'sh', '-c', script);
    await run('idle', 'true');
    assert.equal(await rig.ok('diff', 'idle'), '');
    await run('busy', '/bin/busybox chmod 700 /etc; echo x >/etc/other');
    assert.equal(await rig.ok('diff', 'busy'), 'C /etc\nA /etc/other');
    await run('mode', '/bin/busybox chmod 700 /etc');
    assert.equal(await rig.ok('diff', 'mode'), 'C /etc');
    await rig.ok('rm', 'idle', 'busy', 'mode');
    await rig.ok('rmi', 'bare');
  });

  it('cp reads and writes a stopped container, ids and layers in order', async () => {
    await rig.ok('cp', 'work:/data/kept', at('kept'));
    assert.equal(readFileSync(at('kept'), 'utf8'), 'from the image\n');
    assert.equal(statSync(at('kept')).uid, 0);
    await rig.ok('cp', '-a', 'work:/data/kept', at('owned'));
    assert.deepEqual([statSync(at('owned')).uid, statSync(at('owned')).gid], [5, 6]);
    assert.equal((await rig.nsbox(['cp', 'work:/data/gone', at('no')])).code, 1);
    await rig.ok('cp', at('kept'), 'work:/data/fresh');
    await rig.ok('cp', '-a', at('owned'), 'work:/data/owned');
    const id = await rig.ok('commit', '-m', 'more', 'work', 'box:more');
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    const ls = await rig.ok(
      'run',
      '--rm',
      '--network',
      'none',
      'box:more',
      'stat',
      '-c',
      '%u:%g %n',
      '/data/fresh',
      '/data/owned',
      '/data/kept',
      '/made',
    );
    assert.deepEqual(ls.split('\n'), ['0:0 /data/fresh', '5:6 /data/owned', '5:6 /data/kept', '1:1 /made']);
    const gone = await rig.nsbox(['run', '--rm', '--network', 'none', 'box:more', 'ls', '/data/gone']);
    assert.equal(gone.code, 1);
    // Nothing of the base has been touched.
    assert.equal(await rig.ok('run', '--rm', '--network', 'none', 'box', 'ls', '/data'), 'gone\nkept');
  });

  it('cp streams tars', async () => {
    const out = rig.spawn(['cp', 'work:/made', '-'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const pieces: Buffer[] = [];
    out.stdout!.on('data', (chunk: Buffer) => pieces.push(chunk));
    await collect(out);
    assert.match(
      tar(['tvf', '-', '--numeric-owner'], Buffer.concat(pieces)),
      / 1\/1 .* made\/\n.* made\/deep\/\n$/,
    );
    writeFileSync(at('streamed'), 'S');
    const archive = execFileSync('tar', [
      'cf',
      '-',
      '--owner=3',
      '--group=4',
      '-C',
      rig.box.directory,
      'streamed',
    ]);
    const r = await rig.nsbox(['cp', '-', 'work:/made'], { input: archive });
    assert.equal(r.code, 0, r.stderr);
    await rig.ok('cp', '-a', 'work:/made/streamed', at('back'));
    assert.deepEqual([readFileSync(at('back'), 'utf8'), statSync(at('back')).uid], ['S', 3]);
    const bad = await rig.nsbox(['cp', '-', 'work:/made'], { input: archive.subarray(0, 700) });
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /^nsbox: [^\n]+\n$/);
    const evil = execFileSync('tar', [
      'cPf',
      '-',
      '--transform=s,.*,../../../../evil,',
      '-C',
      rig.box.directory,
      'streamed',
    ]);
    await rig.nsbox(['cp', '-', 'work:/made'], { input: evil });
    assert.ok(!existsSync('/evil') && !existsSync(at('evil')));
  });

  it('export writes everything but mounts, with ids as inside', async () => {
    await rig.ok(
      'run',
      '-d',
      '--name',
      'live',
      '--network',
      'none',
      '-v',
      'vol1:/data',
      'box',
      'sleep',
      '100',
    );
    for (const name of ['work', 'live']) {
      await rig.ok('export', '-o', at(`${name}.tar`), name);
      const list = tar(['tvf', at(`${name}.tar`), '--numeric-owner']);
      assert.match(list, / 0\/0 .* bin\/busybox\n/, name);
      assert.ok(!list.includes('proc/self'), name);
    }
    assert.match(tar(['tvf', at('work.tar'), '--numeric-owner']), / 5\/6 .* data\/kept\n/);
    assert.ok(!tar(['tf', at('live.tar')]).includes('data/kept'));
  });

  it('volumes are filled from the image, with owners', async () => {
    const text = await rig.ok('exec', 'live', 'stat', '-c', '%u:%g', '/data', '/data/kept');
    assert.equal(text, '5:6\n5:6');
    await rig.ok('cp', at('kept'), 'live:/data/copied');
    assert.equal(await rig.ok('exec', 'live', 'stat', '-c', '%u', '/data/copied'), '0');
  });

  it('volumes of another container are mounted with --volumes-from', async () => {
    const from = (spec: string, script: string) =>
      rig.nsbox(['run', '--rm', '--network', 'none', '--volumes-from', spec, 'box', 'sh', '-c', script]);
    assert.match((await from('live', 'cat /data/kept')).stdout, /from the image/);
    assert.match((await from('live:ro', 'touch /data/x')).stderr, /Read-only/);
    assert.match((await from('nosuch', 'true')).stderr, /No such container: nosuch/);
    assert.match((await from('live:odd', 'true')).stderr, /invalid --volumes-from/);
  });

  it('is accounted for and pruned', async () => {
    const df = await rig.ok('system', 'df', '--format', '{{.Type}} {{.TotalCount}} {{.Active}}');
    assert.match(df, /^Images \d+ 1\nContainers 2 1\nLocal Volumes 2 2$/);
    assert.match(await rig.ok('system', 'df', '-v'), /Images space usage:[\s\S]*box +more/);
    assert.match(await rig.ok('ps', '-as', '--format', '{{.Size}}'), /B \(virtual|B/);
    await rig.ok('rm', '-f', '-v', 'live', 'work');
    const pruned = await rig.ok('system', 'prune', '-af', '--volumes');
    assert.match(pruned, /untagged: box:more/);
    assert.match(pruned, /Total reclaimed space: [\d.]+MB$/);
    assert.equal(await rig.ok('volume', 'ls', '-q'), 'vol1');
  });
});
