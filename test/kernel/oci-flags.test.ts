import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const world = new OciWorld();
after(() => world.close());
const env = { ...process.env, NSBOX_STATE: path.join(world.directory, 'state') };

const shell = (script: string) =>
  world.bundle((s) => {
    s.process!.args = ['sh', '-c', script];
  });

/** Runs the runtime with a file open as fd 3. */
function withFile(file: string, args: string[], extra: NodeJS.ProcessEnv = {}) {
  return spawnSync(
    'sh',
    ['-c', 'exec 3<"$1"; shift; exec "$@"', 'sh', file, NSBOX_OCI, '--root', world.root, ...args],
    { encoding: 'utf8', env: { ...env, ...extra }, timeout: 90_000 },
  );
}

test('--preserve-fds and LISTEN_FDS hand files on, and nothing else', () => {
  const file = path.join(world.directory, 'handed');
  writeFileSync(file, 'from outside');
  const bundle = shell('cat <&3; echo; echo "$LISTEN_FDS $LISTEN_PID"');
  const kept = withFile(file, ['run', '--preserve-fds', '1', '--bundle', bundle, world.id()]);
  assert.equal(kept.stdout, 'from outside\n \n', kept.stderr);
  const listens = withFile(file, ['run', '--bundle', bundle, world.id()], { LISTEN_FDS: '1' });
  assert.equal(listens.stdout, 'from outside\n1 1\n', listens.stderr);
  const none = withFile(file, [
    'run',
    '--bundle',
    shell('[ -e /proc/self/fd/3 ] && readlink /proc/$$/fd/3'),
    world.id(),
  ]);
  assert.doesNotMatch(none.stdout, /handed/);
});

test('--no-pivot: the root is the container root all the same', () => {
  const r = world.call([
    'run',
    '--no-pivot',
    '--bundle',
    shell('ls /bin/busybox; ls -d /usr 2>&1; pwd'),
    world.id(),
  ]);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /^\/bin\/busybox\nls: \/usr: No such file or directory\n\/\n$/);
});

test('a session keyring of its own, unless --no-new-keyring', {
  skip: existsSync('/proc/keys') ? false : 'this kernel has no /proc/keys',
}, () => {
  const bundle = shell('cat /proc/keys');
  const id = world.id();
  assert.match(world.call(['run', '--bundle', bundle, id]).stdout, new RegExp(`_ses\\.${id}`));
  const shared = world.id();
  const r = world.call(['run', '--no-new-keyring', '--bundle', bundle, shared]);
  assert.equal(r.code, 0, r.stderr);
  assert.ok(!r.stdout.includes(`_ses.${shared}`), r.stdout);
});

test('delete --regex takes what matches, and only that', () => {
  const ids = [world.id(), world.id(), world.id()];
  const bundle = world.bundle();
  for (const id of ids) assert.equal(world.create(id, bundle).code, 0);
  const r = world.call(['delete', '--force', '--regex', `^(${ids[0]}|${ids[2]})$`]);
  assert.equal(r.code, 0, r.stderr);
  assert.equal(world.call(['list', '-q']).stdout, `${ids[1]}\n`);
  world.call(['delete', '--force', ids[1]!]);
});

test('exec --cgroup puts the command into a group below the container', () => {
  const id = world.id();
  assert.equal(world.create(id, world.bundle()).code, 0);
  world.call(['start', id]);
  const pid = world.state(id)!['pid'] as number;
  const own = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))![1]!;
  const mount = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((l) => l.includes(' - cgroup2 '))!
    .split(' ')[4]!;
  mkdirSync(path.join(mount, own, 'below'));
  const r = world.call(['exec', '--cgroup', 'below', id, 'cat', '/proc/self/cgroup']);
  assert.match(r.stdout, /^0::.*\/below$/m, r.stderr);
  assert.equal(world.call(['exec', '--cgroup', 'missing', id, 'true']).code, 255);
  assert.equal(world.call(['delete', '--force', id]).code, 0);
  assert.equal(existsSync(path.join(mount, own)), false);
});

test('--cgroup-manager disabled: no group is made', () => {
  const id = world.id();
  const r = world.call([
    '--cgroup-manager',
    'disabled',
    'run',
    '--bundle',
    shell('cat /proc/self/cgroup'),
    id,
  ]);
  assert.equal(r.code, 0, r.stderr);
  assert.ok(!r.stdout.includes(id), r.stdout);
});

test('events: figures at an interval until the container ends', async () => {
  const id = world.id();
  assert.equal(world.create(id, world.bundle()).code, 0);
  world.call(['start', id]);
  const child = spawn(NSBOX_OCI, ['--root', world.root, 'events', '--interval', '50ms', id], { env });
  let lines: string[] = [];
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
    lines = text.split('\n').filter(Boolean);
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  await world.until(() => lines.length >= 3, 'three lines of figures');
  world.call(['kill', id, 'KILL']);
  assert.equal(await ended, 0);
  for (const line of lines) {
    const event = JSON.parse(line) as { type: string; id: string; data: Record<string, unknown> };
    assert.deepEqual([event.type, event.id], ['stats', id]);
    assert.ok(event.data['cpu'] && event.data['memory'] && event.data['pids']);
  }
  assert.notEqual(world.call(['events', '--interval', 'soon', id]).code, 0);
  world.call(['delete', '--force', id]);
});

test('kill --all reaches every process where the pid namespace is shared', async () => {
  const id = world.id();
  const bundle = world.bundle((s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'pid');
    s.process!.args = ['sh', '-c', 'sleep 1000 & sleep 1000 & wait'];
  });
  assert.equal(world.create(id, bundle).code, 0);
  world.call(['start', id]);
  const pids = () => JSON.parse(world.call(['ps', '-f', 'json', id]).stdout) as number[];
  await world.until(() => pids().length === 3, 'three processes');
  const all = pids();
  assert.equal(world.call(['kill', '--all', id, 'KILL']).code, 0);
  await world.until(() => world.state(id)?.['status'] === 'stopped');
  const lives = (pid: number) => {
    try {
      return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };
  await world.until(() => !all.some(lives), 'the end of all');
  assert.equal(world.call(['delete', id]).code, 0);
});

test('the log as text, in a file and on stderr', () => {
  const log = path.join(world.directory, 'log.txt');
  const r = world.call(['--log', log, '--log-format', 'text', 'start', 'nosuch']);
  assert.equal(r.code, 1);
  assert.match(readFileSync(log, 'utf8'), /^time="[^"]+" level=error msg="[^\n]*does not exist/m);
});
