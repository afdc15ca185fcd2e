import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { openVolumes } from '../../src/engine/volumes.js';
import { openOverlay } from '../../src/kernel/index.js';

const dir = mkdtempSync('/tmp/nsbox-test-volumes-');
after(() => rmSync(dir, { recursive: true, force: true }));
const ctx = makeContext({ root: path.join(dir, 'root'), state: path.join(dir, 'state'), env: {}, cwd: dir });
const volumes = openVolumes(ctx);
const nobody = () => [];

const image = path.join(dir, 'image');
mkdirSync(path.join(image, 'data/sub'), { recursive: true });
writeFileSync(path.join(image, 'data/file'), 'content');
writeFileSync(path.join(image, 'data/sub/prog'), '#!');
chownSync(path.join(image, 'data/file'), 33, 34);
chmodSync(path.join(image, 'data/sub/prog'), 0o4755);
linkSync(path.join(image, 'data/file'), path.join(image, 'data/sub/link'));
symlinkSync('../../etc/passwd', path.join(image, 'data/soft'));
execFileSync('truncate', ['-s', '10M', path.join(image, 'data/sparse')]);
execFileSync('setfattr', ['-n', 'user.x', '-v', '0xff00fe', path.join(image, 'data/file')]);
chownSync(path.join(image, 'data'), 33, 33);
chmodSync(path.join(image, 'data'), 0o1770);
utimesSync(path.join(image, 'data/file'), 1000, 2000);
symlinkSync('/data', path.join(image, 'way'));

describe('volumes', () => {
  it('are made once, listed, found and removed', async () => {
    const a = await volumes.create({ name: 'alpha', labels: { a: 'b' } });
    assert.equal(a.mountpoint, path.join(dir, 'root/volumes/alpha/_data'));
    assert.deepEqual((await volumes.create({ name: 'alpha' })).labels, { a: 'b' });
    const anonymous = await volumes.create();
    assert.match(anonymous.name, /^[0-9a-f]{64}$/);
    assert.deepEqual(
      volumes
        .list()
        .map((v) => v.name)
        .sort(),
      [anonymous.name, 'alpha'].sort(),
    );
    await assert.rejects(
      volumes.remove('alpha', () => ['c1']),
      { code: 'CONFLICT', message: /volume is in use - \[c1\]/ },
    );
    await volumes.remove('alpha', nobody);
    await volumes.removeAnonymous([anonymous.name, 'nosuch'], nobody);
    assert.deepEqual(volumes.list(), []);
    assert.throws(() => volumes.get('alpha'), { code: 'NOT_FOUND', message: 'No such volume: alpha' });
    for (const name of ['../x', '.x', 'x/y', '-a', 'x']) {
      await assert.rejects(volumes.create({ name }), { code: 'INVALID_ARGUMENT' }, name);
    }
    await assert.rejects(volumes.create({ name: 'vv', options: { type: 'nfs' } }), { code: 'UNSUPPORTED' });
  });

  it('are filled once from the image, exactly', async () => {
    await volumes.create({ name: 'filled' });
    const rootFd = openSync(image, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const many = await Promise.all(
        Array.from({ length: 5 }, () => volumes.prepare('filled', { rootFd, path: '/way' })),
      );
      const at = (name: string) => path.join(many[0]!.mountpoint, name);
      assert.deepEqual(readdirSync(at('')).sort(), ['file', 'soft', 'sparse', 'sub']);
      const file = lstatSync(at('file'));
      assert.deepEqual([file.uid, file.gid, file.mtimeMs, file.nlink], [33, 34, 2_000_000, 2]);
      assert.equal(lstatSync(at('sub/link')).ino, file.ino);
      assert.equal(lstatSync(at('sub/prog')).mode & 0o7777, 0o4755);
      assert.equal(readlinkSync(at('soft')), '../../etc/passwd');
      assert.equal(lstatSync(at('sparse')).blocks, 0);
      assert.match(
        execFileSync('getfattr', ['-e', 'hex', '-n', 'user.x', at('file')], { encoding: 'utf8' }),
        /0xff00fe/,
      );
      const top = lstatSync(at(''));
      assert.deepEqual([top.uid, top.mode & 0o7777], [33, 0o1770]);

      writeFileSync(at('file'), 'changed');
      await volumes.prepare('filled', { rootFd, path: '/data' });
      assert.equal(readFileSync(at('file'), 'utf8'), 'changed');

      await volumes.create({ name: 'nothing' });
      await volumes.prepare('nothing', { rootFd, path: '/no/such' });
      await volumes.prepare('nothing');
      assert.deepEqual(readdirSync(volumes.get('nothing').mountpoint), []);
    } finally {
      closeSync(rootFd);
    }
  });

  it('are filled from the merged view of layers', async () => {
    const second = path.join(dir, 'second');
    mkdirSync(path.join(second, 'data'), { recursive: true });
    writeFileSync(path.join(second, 'data/more'), '');
    const rootFd = openOverlay({ lowers: [image, second] });
    try {
      await volumes.create({ name: 'merged' });
      const { mountpoint } = await volumes.prepare('merged', { rootFd, path: 'data' });
      assert.deepEqual(readdirSync(mountpoint).sort(), ['file', 'more', 'soft', 'sparse', 'sub']);
    } finally {
      closeSync(rootFd);
    }
  });

  it('sweep what a crash left', async () => {
    const directory = path.join(dir, 'root/volumes');
    mkdirSync(path.join(directory, '.new-half/_data'), { recursive: true });
    mkdirSync(path.join(directory, '.gone-1/_data'), { recursive: true });
    await volumes.sweep();
    assert.deepEqual(
      readdirSync(directory).filter((n) => /^\.(new|gone)/.test(n)),
      [],
    );
  });

  it('go with a container that has gone without removing them', async () => {
    const of = async (container: string, remove: boolean) => volumes.create({ owner: { container, remove } });
    const rm = await of('gone', true);
    const never = await of('gone', false);
    const kept = await of('gone', false);
    await volumes.prepare(kept.name);
    const alive = await of('there', true);
    const named = await volumes.create({ name: 'named', owner: { container: 'gone', remove: true } });
    await volumes.recover((id) => id === 'gone', nobody);
    const left = volumes.list().map((v) => v.name);
    assert.deepEqual(
      [rm, never, kept, alive, named].map((v) => left.includes(v.name)),
      [false, false, true, true, true],
    );
  });

  it('are made once by many processes', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => volumes.create({ name: 'one' })));
    assert.equal(new Set(made.map((v) => v.created)).size, 1);
  });
});
