import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { unmount } from '../../src/kernel/index.js';
import { CliRig } from '../support/cli.js';
import { makeTar } from '../support/images.js';

/** A rig with an image of two layers, and one of a single layer. */
async function rigWithImages(name: string): Promise<CliRig> {
  const rig = new CliRig(name);
  const at = (file: string) => path.join(rig.box.directory, file);
  writeFileSync(
    at('one.tar'),
    makeTar([
      { path: 'etc/', type: 'directory' },
      { path: 'etc/a', content: 'below' },
      { path: 'tool', content: '#!/bin/sh\n', mode: 0o4755 },
    ]),
  );
  await rig.ok('import', at('one.tar'), 'one:1');
  return rig;
}

const mounted = (directory: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${directory} `);

/** What a failed test would leave mounted. */
function release(directory: string): void {
  while (mounted(directory)) unmount(directory);
}

test('image mount prints a place with the files, read-only; each mount asks for its unmount', async () => {
  await using rig = await rigWithImages('image-mount');
  const directory = await rig.ok('image', 'mount', 'one:1');
  try {
    assert.equal(readFileSync(path.join(directory, 'etc/a'), 'utf8'), 'below');
    assert.throws(() => writeFileSync(path.join(directory, 'etc/b'), ''), { code: 'EROFS' });
    assert.equal(await rig.ok('image', 'mount'), `one:1 ${directory}`);
    const [row] = JSON.parse(`[${await rig.ok('image', 'mount', '--format', 'json')}]`) as Record<
      string,
      string
    >[];
    assert.equal(row!['Mountpoint'], directory);
    assert.equal(await rig.ok('image', 'mount', 'one:1'), directory);
    const id = await rig.ok('image', 'unmount', 'one:1');
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.ok(mounted(directory), 'one is left');

    // It keeps its layers whatever is removed.
    const refused = await rig.nsbox(['rmi', '-f', 'one:1']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is mounted \(`nsbox image unmount one:1` first\)/);
    await rig.ok('image', 'prune', '-a', '-f');
    assert.equal(readFileSync(path.join(directory, 'etc/a'), 'utf8'), 'below');
    assert.match(await rig.ok('images', '-q', 'one:1'), /./);

    // Not while somebody looks into it.
    const open = openSync(path.join(directory, 'etc/a'), 'r');
    const busy = await rig.nsbox(['image', 'unmount', 'one:1']);
    closeSync(open);
    assert.equal(busy.code, 1);
    assert.match(busy.stderr, /is in use at/);
    assert.equal(await rig.ok('image', 'unmount', '--all'), id);
    assert.ok(!mounted(directory));
    assert.equal(await rig.ok('image', 'mount'), '');
    assert.match((await rig.nsbox(['image', 'unmount', 'one:1'])).stderr, /is not mounted/);
    await rig.ok('rmi', 'one:1');
  } finally {
    release(directory);
  }
});

test('what umount(8), a reboot or kill -9 left is put right by the next command', async () => {
  await using rig = await rigWithImages('image-mount-kill');
  const directory = await rig.ok('image', 'mount', 'one:1');
  try {
    unmount(directory);
    assert.equal(await rig.ok('image', 'mount'), '', 'the record went with the mount');
    await rig.ok('image', 'mount', 'one:1');
    unmount(directory);
    await rig.ok('image', 'mount', 'one:1');
    await rig.ok('image', 'unmount', 'one:1');
    assert.deepEqual(readdirSync(path.join(rig.box.state, 'image-mounts')), ['lock']);

    for (let i = 0; i < 15; i++) {
      const child = rig.spawn(['image', i % 2 ? 'unmount' : 'mount', 'one:1'], { stdio: 'ignore' });
      const closed = new Promise((r) => child.once('close', r));
      await new Promise((r) => setTimeout(r, 60 + Math.random() * 100));
      child.kill('SIGKILL');
      await closed;
      const list = await rig.ok('image', 'mount');
      assert.equal(list !== '', mounted(directory), `round ${i}: ${list}`);
    }
    await rig.nsbox(['image', 'unmount', '-f', 'one:1']);
    assert.ok(!mounted(directory));
    await rig.ok('rmi', 'one:1');
    assert.deepEqual(readdirSync(path.join(rig.box.root, 'layers')), []);
  } finally {
    release(directory);
    rmSync(directory, { recursive: true, force: true });
  }
});
