import assert from 'node:assert/strict';
import {
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { lstatat, mknodat, openat2, openOverlay, readdirFd, S_IFCHR } from '../../src/kernel/index.js';

const dir = mkdtempSync('/tmp/nsbox-test-mounts-');
after(() => rmSync(dir, { recursive: true, force: true }));
const at = (...parts: string[]) => path.join(dir, ...parts);
for (const d of ['a', 'b', 'upper', 'work']) mkdirSync(at(d));
writeFileSync(at('a/one'), 'one');
writeFileSync(at('a/gone'), 'gone');
writeFileSync(at('b/two'), 'two');
chownSync(at('b/two'), 7, 8);

describe('overlay views', () => {
  it('merge layers without appearing in the mount table', () => {
    const parent = openat2(-100, at('b'), constants.O_RDONLY | constants.O_DIRECTORY);
    mknodat(parent, 'gone', S_IFCHR | 0o000, 0, 0);
    closeSync(parent);
    const before = readFileSync('/proc/self/mountinfo', 'utf8');
    const fd = openOverlay({ lowers: [at('a'), at('b')] });
    const names = readdirFd(fd).map((e) => e.name.toString());
    assert.deepEqual(names.sort(), ['one', 'two']);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), before);
    assert.throws(() => openat2(fd, 'new', constants.O_CREAT | constants.O_WRONLY), { code: 'EROFS' });
    closeSync(fd);
  });

  it('shift ids for a container with a range, also on copy-up', () => {
    const fd = openOverlay({
      lowers: [at('a'), at('b')],
      upper: { directory: at('upper'), work: at('work') },
      idRange: { start: 100000, size: 65536 },
    });
    const two = lstatat(fd, 'two')!;
    assert.deepEqual([two.uid, two.gid], [100007, 100008]);
    const file = openat2(fd, 'two', constants.O_WRONLY | constants.O_APPEND);
    writeSync(file, '!');
    closeSync(file);
    closeSync(fd);
    const upper = openat2(-100, at('upper'), constants.O_RDONLY | constants.O_DIRECTORY);
    assert.equal(lstatat(upper, 'two')!.uid, 100007);
    closeSync(upper);
    assert.equal(readFileSync(at('upper/two'), 'utf8'), 'two!');
  });

  it('are the same over layers that are attached for the moment, which this process never sees', () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8');
    const cwd = process.cwd();
    const fds = readdirSync('/proc/self/fd').length;
    const fd = openOverlay({
      lowers: [at('a'), at('b')],
      upper: { directory: at('upper'), work: at('work') },
      idRange: { start: 100000, size: 65536 },
      attached: true,
    });
    const two = lstatat(fd, 'two')!;
    assert.deepEqual([two.uid, two.gid], [100007, 100008]);
    assert.equal(lstatat(fd, 'one')!.uid, 100000);
    closeSync(openat2(fd, 'three', constants.O_CREAT | constants.O_WRONLY, 0o600));
    closeSync(fd);
    assert.ok(existsSync(at('upper/three')));
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), before);
    assert.equal(process.cwd(), cwd);
    assert.equal(readdirSync('/proc/self/fd').length, fds);
  });

  it('show a single layer, read-only and shifted', () => {
    const fd = openOverlay({ lowers: [at('b')], idRange: { start: 200000, size: 65536 } });
    assert.equal(lstatat(fd, 'two')!.uid, 200007);
    assert.throws(() => openat2(fd, 'new', constants.O_CREAT | constants.O_WRONLY), { code: 'EROFS' });
    closeSync(fd);
  });

  it('name the layer that is missing', () => {
    for (const attached of [false, true]) {
      assert.throws(() => openOverlay({ lowers: [at('a'), at('nosuch')], attached }), {
        code: 'ENOENT',
        path: at('nosuch'),
      });
    }
  });
});
