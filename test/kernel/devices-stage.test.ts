import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { after, before, test } from 'node:test';
import { driverFiles, emptyEdits, imageFiles, stageEdits } from '../../src/devices/index.js';
import { type Tree, writeTree } from '../support/device-tree.js';

let dir = '';
before(() => {
  dir = mkdtempSync('/tmp/nsbox-test-stage-');
  const base: Tree = new Map([
    ['/lib', { kind: 'link', target: 'usr/lib' }],
    ['/usr/lib/there.so', { kind: 'file', content: 'image' }],
    ['/usr/lib/gone.so', { kind: 'file', content: 'image' }],
    ['/usr/hidden/old', { kind: 'file', content: '' }],
  ]);
  writeTree(base, `${dir}/base`);
});
after(() => rmSync(dir, { recursive: true, force: true }));

test('an image through its layers: upper ones, whiteouts, links', { skip: rootless() }, () => {
  const top: Tree = new Map([
    ['/usr/lib/gone.so', { kind: 'char', major: 0, minor: 0 }],
    ['/usr/lib/new.so', { kind: 'link', target: '/lib/there.so' }],
    ['/usr/hidden', { kind: 'file', content: 'a file now' }],
  ]);
  writeTree(top, `${dir}/top`);
  const image = imageFiles([`${dir}/base`, `${dir}/top`]);
  assert.deepEqual(image.readDirectory('/usr/lib'), ['new.so', 'there.so']);
  assert.equal(image.lstat('/usr/lib/gone.so'), undefined);
  assert.equal(image.readText('/usr/lib/there.so'), 'image');
  assert.equal(image.readLink('/usr/lib/new.so'), '/lib/there.so');
  assert.equal(image.lstat('/usr/hidden/old'), undefined);
  assert.equal(image.readText('/usr/hidden'), 'a file now');
});

test('places for mounts and links go into a layer, where the image has nothing', { skip: rootless() }, () => {
  const edits = emptyEdits();
  const mount = (destination: string, source = `${dir}/base/usr/lib/there.so`) =>
    edits.mounts.push({ source, destination, options: ['bind'] });
  mount('/lib/driver.so');
  mount('/lib/there.so');
  mount('/opt/a/b', `${dir}/base`);
  mount('/dev/x');
  mount('/gone', `${dir}/no-such-source`);
  edits.symlinks.push(
    { path: '/lib/driver', target: 'driver.so' },
    { path: '/lib/there.so', target: 'x' },
    { path: '/dev/dri/by-path/y', target: '../card0' },
  );
  edits.trees.push({
    destination: '/opt/proc',
    files: [
      { path: 'version', content: 'v1\n', mode: 0o444 },
      { path: 'gpus/0/information', content: 'GPU\n', mode: 0o444 },
    ],
  });
  const cache = `${dir}/cache`;
  // What a process left behind that was killed; pid 2^22 is beyond the kernel's.
  mkdirSync(`${cache}/.tmp-4194305-x`, { recursive: true });
  const image = imageFiles([`${dir}/base`]);
  const staged = stageEdits(edits, cache, image);
  const layer = staged.layers[0] ?? '';
  assert.deepEqual(readdirSync(`${layer}/usr/lib`), ['driver', 'driver.so']);
  assert.equal(readlinkSync(`${layer}/usr/lib/driver`), 'driver.so');
  assert.equal(statSync(`${layer}/usr/lib/driver.so`).size, 0);
  assert.ok(statSync(`${layer}/opt/a/b`).isDirectory());
  assert.deepEqual(readdirSync(layer).sort(), ['opt', 'usr']);
  assert.deepEqual(staged.symlinks, [{ path: '/dev/dri/by-path/y', target: '../card0' }]);
  const tree = staged.mounts.at(-1);
  assert.equal(tree?.destination, '/opt/proc');
  assert.equal(readFileSync(`${tree?.source}/gpus/0/information`, 'utf8'), 'GPU\n');
  assert.equal(statSync(`${tree?.source}/version`).mode & 0o777, 0o444);
  assert.deepEqual(staged.trees, []);
  // Made once: the same edits, the same directory, and nothing unfinished left.
  assert.equal(stageEdits(edits, cache, image).layers[0], layer);
  assert.equal(readdirSync(cache).length, 1);
  const plain = stageEdits(edits, cache, undefined);
  assert.deepEqual(plain.layers, []);
  assert.equal(plain.symlinks.length, 3);
});

test('a tree for a place that this kernel lacks is left out', { skip: rootless() }, () => {
  const edits = emptyEdits();
  edits.trees.push({ destination: '/proc/nsbox/none', files: [{ path: 'a', content: 'b', mode: 0o444 }] });
  const staged = stageEdits(edits, `${dir}/none`, undefined);
  assert.deepEqual(staged.mounts, []);
  assert.ok(!existsSync(`${dir}/none`));
});

test("a driver root: what it has goes before, what it lacks of the kernel is the machine's", {
  skip: rootless(),
}, () => {
  const tree: Tree = new Map([
    ['/usr/lib/libcuda.so.1', { kind: 'file', content: 'theirs' }],
    ['/dev/nvidiactl', { kind: 'char', major: 195, minor: 255 }],
    ['/etc/cdi/x.json', { kind: 'file', content: '{}' }],
    ['/proc', { kind: 'directory' }],
  ]);
  writeTree(tree, `${dir}/driver`);
  const files = driverFiles(`${dir}/driver/`);
  assert.equal(files.onHost('/usr/lib/libcuda.so.1'), `${dir}/driver/usr/lib/libcuda.so.1`);
  assert.equal(files.lstat('/dev/null'), undefined);
  assert.equal(files.lstat('/dev/nvidiactl')?.major, 195);
  assert.ok(files.readText('/proc/devices')?.includes('Character devices:'));
  assert.equal(files.readText('/etc/cdi/x.json'), undefined);
  assert.equal(driverFiles('').onHost('/dev/null'), '/dev/null');
});

function rootless(): string | false {
  return process.geteuid?.() === 0 ? false : 'needs root';
}
