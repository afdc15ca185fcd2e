import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type TarEntry, TarReader } from '../../src/image/index.js';
import { type Member, makeTar } from '../support/images.js';

interface Read {
  entry: TarEntry;
  pieces: { at: number; data: Buffer }[];
}

/** Reads an archive in chunks of the given sizes, over and over. */
function read(tar: Buffer, sizes: readonly number[] = [tar.length]): Read[] {
  const out: Read[] = [];
  let ended = 0;
  const reader = new TarReader({
    entry: (entry) => void out.push({ entry, pieces: [] }),
    data: (chunk, at) => void out.at(-1)!.pieces.push({ at, data: Buffer.from(chunk) }),
    end: () => void ended++,
  });
  for (let at = 0, i = 0; at < tar.length; i++) {
    const n = Math.max(1, sizes[i % sizes.length]!);
    reader.write(tar.subarray(at, at + n));
    at += n;
  }
  reader.end();
  assert.equal(ended, out.length);
  return out;
}

const content = (r: Read) => Buffer.concat(r.pieces.map((p) => p.data));

test('binary xattrs survive, newlines, NULs and bytes that are no UTF-8 included', () => {
  // tar-stream and node-tar read PAX values as UTF-8, which mangles security.capability.
  const value = Buffer.from('0100000200200000000000000000000000000aff', 'hex');
  const tar = makeTar([{ path: 'ping', xattrs: new Map([['security.capability', value]]), content: 'x' }]);
  const [file] = read(tar);
  assert.deepEqual(file!.entry.xattrs!.get('security.capability'), value);
});

test('writer and reader agree on any member, however the stream is cut', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((a) => {
    const b = Buffer.from(a).map((c) => (c === 0 || c === 0x2f ? 0x61 : c));
    return Buffer.from(b);
  });
  const member = fc.record({
    path: bytes,
    content: fc.uint8Array({ maxLength: 2000 }).map((a) => Buffer.from(a)),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
    gid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
    mtime: fc.record({
      sec: fc.integer({ min: -(2 ** 33), max: 2 ** 35 }),
      nsec: fc.integer({ min: 0, max: 999_999_999 }),
    }),
    xattrs: fc
      .dictionary(
        fc.constantFrom('user.a', 'security.capability', 'user.ü'),
        fc.uint8Array({ maxLength: 64 }),
      )
      .map((d) => new Map(Object.entries(d).map(([k, v]) => [k, Buffer.from(v)]))),
  });
  fc.assert(
    fc.property(
      fc.array(member, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1 }),
      (members, cuts) => {
        const got = read(makeTar(members as Member[]), cuts);
        assert.equal(got.length, members.length);
        for (const [i, m] of members.entries()) {
          const e = got[i]!.entry;
          assert.deepEqual(e.path, m.path);
          assert.deepEqual(content(got[i]!), m.content);
          assert.deepEqual([e.mode, e.uid, e.gid, e.mtime], [m.mode, m.uid, m.gid, { ...m.mtime }]);
          assert.deepEqual(e.xattrs ?? new Map(), m.xattrs);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('damaged archives end in an ImageError, never in another error or a hang', () => {
  const tar = makeTar([
    { path: 'a'.repeat(150), content: 'hello', xattrs: new Map([['user.x', Buffer.from('y')]]) },
    { path: 'd', type: 'directory' },
    { path: 'l', type: 'symlink', linkPath: 'a' },
  ]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: tar.length - 1 }), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 8,
      }),
      fc.integer({ min: 0, max: tar.length }),
      (edits, length) => {
        const bad = Buffer.from(tar.subarray(0, length));
        for (const [at, value] of edits) if (at < bad.length) bad[at] = value;
        try {
          read(bad, [700]);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'IMAGE_CORRUPT', String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('what is no tar at all is said so', () => {
  assert.throws(() => read(Buffer.from('hello world, this is text\n'.repeat(40))), /no tar archive/);
  assert.throws(() => read(Buffer.from('short')), /no tar archive/);
});

test('a member that is cut off is an error, a missing end is not', () => {
  const whole = makeTar([{ path: 'f', content: 'x'.repeat(600) }], false);
  assert.equal(read(whole).length, 1);
  assert.throws(() => read(whole.subarray(0, 900)), /ends in the middle/);
  // `umoci insert` leaves the padding of its last member out.
  assert.equal(content(read(whole.subarray(0, 512 + 600))[0]!).length, 600);
  assert.throws(() => read(whole.subarray(0, 512 + 700)), /ends in the middle/);
});

test('headers that claim absurd sizes are refused before memory is taken', () => {
  const tar = makeTar([{ path: 'a'.repeat(150), content: '' }]);
  // The PAX header is the first block: its size becomes 8 GiB - 1.
  tar.write('77777777777\0', 124, 'latin1');
  tar.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of tar.subarray(0, 512)) sum += byte;
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  assert.throws(() => read(tar), /header of \d+ bytes/);
});
