import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { CliRig } from '../support/cli.js';
import { treeFacts } from '../support/images.js';

const BUSYBOX = path.join(packageRoot(), 'dist/images/busybox.tar');
const NET = ['--network', 'none'];

test('commit: renamed directories and changed modes are whole, --change and -m are in the image', async () => {
  await using rig = new CliRig('image-commit');
  await rig.ok('load', '-q', '-i', BUSYBOX);
  const script =
    'mkdir -p /d/e; echo kept > /d/e/f; mv /etc /etc.old; mv /d /g; chmod 711 /bin/busybox; rm -rf /home';
  await rig.ok('run', '--name', 'work', ...NET, 'busybox', 'sh', '-c', script);
  const id = await rig.ok('inspect', '--format', '{{.Id}}', 'work');
  const upper = treeFacts(path.join(rig.box.root, 'containers', id, 'upper'));
  for (const [name, facts] of upper) {
    assert.doesNotMatch(String(facts['xattrs'] ?? ''), /redirect|metacopy/, name);
  }
  assert.ok((upper.get('/bin/busybox')!['size'] as number) > 100_000, 'all of the file');
  const plan = await rig.ok('explain', ...NET, 'busybox', 'true');
  assert.match(plan, /redirect_dir=off, metacopy=off|redirect_dir=off.*metacopy=off/);

  await rig.ok(
    'commit',
    ...['-a', 'Ada', '-m', 'moved'],
    ...['--change', 'CMD ["cat", "/g/e/f"]', '--change', 'ENV A=1 B="two words"', '--change', 'WORKDIR /g'],
    ...[
      '--change',
      'USER 7:8',
      '--change',
      'EXPOSE 80/tcp',
      '--change',
      'LABEL by=commit',
      '--change',
      'STOPSIGNAL 9',
    ],
    ...['--change', 'VOLUME /data', 'work', 'made:1'],
  );
  assert.equal(await rig.ok('run', '--rm', ...NET, 'made:1'), 'kept');
  const seen = await rig.ok(
    'run',
    '--rm',
    ...NET,
    'made:1',
    'sh',
    '-c',
    'id -u; pwd; echo "$A $B"; ls -d /etc.old/passwd; ls -d /home /d 2>/dev/null; ls -ld /bin/busybox | cut -c1-10',
  );
  assert.deepEqual(seen.split('\n'), ['7', '/g', '1 two words', '/etc.old/passwd', '-rwx--x--x']);
  const config = JSON.parse(
    await rig.ok('image', 'inspect', '--format', '{{json .Config}}', 'made:1'),
  ) as Record<string, unknown>;
  assert.deepEqual(config['ExposedPorts'], { '80/tcp': {} });
  assert.deepEqual(config['Labels'], { by: 'commit' });
  assert.equal(config['StopSignal'], '9');
  assert.deepEqual(config['Volumes'], { '/data': {} });
  assert.match(await rig.ok('history', 'made:1'), /moved/);
  const wrong = await rig.nsbox(['commit', '--change', 'RUN true', 'work']);
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.stderr, /RUN/);

  // What takes how much, what may go, and what nsbox does not do.
  assert.match(await rig.ok('system', 'df'), /^Images\s+3\s+1\s/m);
  const refused = await rig.nsbox(['search', 'nginx']);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /search/);
  assert.equal(refused.stderr.trim().split('\n').length, 1);
  assert.equal((await rig.nsbox(['rmi', 'busybox'])).code, 1, 'a container was made from it');
  await rig.ok('rm', 'work');
  await rig.ok('image', 'prune', '-a', '-f');
  assert.equal(await rig.ok('images', '-q', 'made'), '');
});
