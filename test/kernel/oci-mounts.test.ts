import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { OciWorld } from '../support/oci-bundle.js';

const world = new OciWorld();
after(() => world.close());

const source = path.join(world.directory, 'source');
mkdirSync(source);
writeFileSync(path.join(source, 'file'), 'from the host');

/** A file with mounts, as the command takes it. */
function list(name: string, mounts: unknown): string {
  const file = path.join(world.directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(mounts));
  return file;
}

function running(): string {
  const id = world.id();
  assert.equal(world.create(id, world.bundle()).code, 0);
  assert.equal(world.call(['start', id]).code, 0);
  return id;
}

function inside(id: string, script: string): string {
  const r = world.call(['exec', id, 'sh', '-c', script]);
  return r.stdout + r.stderr;
}

/** What is mounted at a place, the topmost last: its type and options, from the container's own table. */
const at = (id: string, place: string) =>
  inside(id, 'cat /proc/1/mounts')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, where]) => where === place)
    .map(([, , type, options]) => `${type} ${options}`);

test('mounts add and remove: binds and filesystems, for every process of the container', () => {
  const id = running();
  const file = list('both', [
    { destination: '/data', type: 'bind', source, options: ['rbind', 'ro'] },
    { destination: '/new/place', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'size=64k'] },
  ]);
  const before = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.deepEqual(world.call(['mounts', 'add', id, file]), { code: 0, stdout: '', stderr: '' });
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), before, 'nothing of it shows on the host');
  assert.equal(inside(id, 'cat /data/file; cat /proc/1/root/data/file'), 'from the hostfrom the host');
  assert.match(inside(id, 'echo x > /data/file'), /Read-only file system/);
  assert.match(at(id, '/new/place').join(), /^tmpfs rw,nosuid,noexec,.*size=64k/);
  assert.match(inside(id, 'dd if=/dev/urandom of=/new/place/x bs=1k count=100'), /No space left/);

  assert.deepEqual(world.call(['mounts', 'remove', id, file]), { code: 0, stdout: '', stderr: '' });
  assert.deepEqual(at(id, '/data'), []);
  assert.deepEqual(at(id, '/new/place'), []);
  assert.equal(inside(id, 'ls /data'), '');
  assert.equal(readFileSync(path.join(source, 'file'), 'utf8'), 'from the host');
});

test('how a bind mount notes the times of access is as its options say', () => {
  const id = running();
  for (const [option, shown] of [
    ['noatime', /noatime/],
    ['strictatime', /^(?!.*(no|rel)atime)/],
    ['relatime', /relatime/],
    ['nodiratime', /nodiratime/],
  ] as const) {
    const file = list(option, [{ destination: '/data', type: 'bind', source, options: ['bind', option] }]);
    const added = world.call(['mounts', 'add', id, file]);
    assert.equal(added.code, 0, added.stderr);
    assert.match(at(id, '/data').at(-1) ?? '', shown, option);
    assert.equal(world.call(['mounts', 'remove', id, list('place', [{ destination: '/data' }])]).code, 0);
  }
});

test('mounts remove takes the topmost; what is not there is an error', () => {
  const id = running();
  const tmpfs = (options: string[]) =>
    list(options.join(), [{ destination: '/data', type: 'tmpfs', source: 'tmpfs', options }]);
  assert.equal(world.call(['mounts', 'add', id, tmpfs(['size=16k'])]).code, 0);
  assert.equal(world.call(['mounts', 'add', id, tmpfs(['size=32k'])]).code, 0);
  // Of a mount to take away the destination is enough.
  const place = list('place', [{ destination: '/data' }]);
  assert.equal(at(id, '/data').length, 2);
  assert.equal(world.call(['mounts', 'remove', id, place]).code, 0);
  assert.match(at(id, '/data').join(), /size=16k/);
  assert.equal(world.call(['mounts', 'remove', id, place]).code, 0);
  const again = world.call(['mounts', 'remove', id, place]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /\/data/);
  assert.match(again.stderr, /invalid argument|not mounted|nothing is mounted/i);
});

test('a symlink of the container at the destination leads nowhere outside of it', () => {
  const id = running();
  const outside = path.join(world.directory, 'outside');
  mkdirSync(outside);
  symlinkSync(outside, path.join(world.rootfs, 'data', 'link'));
  inside(id, `mkdir -p ${outside}`);
  const file = list('link', [{ destination: '/data/link', type: 'bind', source, options: ['bind'] }]);
  assert.equal(world.call(['mounts', 'add', id, file]).code, 0);
  assert.equal(inside(id, `cat ${outside}/file`), 'from the host', 'below the root of the container');
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(outside));
});

test('mounts says what it can not do', () => {
  const id = world.id();
  const none = list('none', []);
  const says = (argv: string[], text: RegExp) => {
    const r = world.call(['mounts', ...argv]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, text);
  };
  says(['add', id, none], /does not exist/);
  assert.equal(world.create(id, world.bundle()).code, 0);
  says(['add', id, none], /container not running: .* created state/);
  assert.equal(world.call(['start', id]).code, 0);
  says(['add', id], /requires exactly 3 argument/);
  says(['replace', id, none], /unknown command replace/);
  says(['add', id, '/nowhere'], /read \/nowhere.*no such file or directory/i);
  says(['add', id, list('object', { destination: '/data' })], /mounts must be an array/);
  says(['add', id, list('odd', [{ destination: 5 }])], /destination/);
  says(
    [
      'add',
      id,
      list('gone', [{ destination: '/data', type: 'bind', source: '/nowhere', options: ['bind'] }]),
    ],
    /\/nowhere.*no such file or directory/i,
  );
  says(
    ['add', id, list('type', [{ destination: '/data', type: 'nosuchfs', source: 'x' }])],
    /nosuchfs.*no such device/i,
  );
  assert.deepEqual(at(id, '/data'), []);
  assert.equal(world.state(id)?.['status'], 'running');
});
