import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DetachFilter, parseDetachKeys, parseInstant } from '../../src/engine/index.js';
import {
  decodeKeeperMessage,
  encodeClientMessage,
  encodeFrame,
  FrameDecoder,
  STREAM,
} from '../../src/kernel/index.js';

test('detach keys as Docker writes them', () => {
  assert.deepEqual([...parseDetachKeys('ctrl-p,ctrl-q')], [16, 17]);
  assert.deepEqual(
    [...parseDetachKeys('a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_')],
    [97, 0, 27, 28, 29, 30, 31],
  );
  assert.deepEqual([...parseDetachKeys('')], []);
  assert.throws(() => parseDetachKeys('ctrl-1'), /invalid detach keys 'ctrl-1': unknown key 'ctrl-1'/);
  assert.throws(() => parseDetachKeys('ab'), /unknown key 'ab'/);
});

test('the detach sequence is found across reads; what only began like it goes to the program', () => {
  const filter = new DetachFilter(parseDetachKeys('ctrl-p,ctrl-q'));
  assert.deepEqual(filter.push(Buffer.from('ab\x10')), { data: Buffer.from('ab'), detached: false });
  assert.deepEqual(filter.push(Buffer.from('c')), { data: Buffer.from('\x10c'), detached: false });
  assert.deepEqual(filter.push(Buffer.from('\x10\x10')), { data: Buffer.from('\x10'), detached: false });
  assert.deepEqual(filter.push(Buffer.from('\x11rest')), { data: Buffer.from(''), detached: true });
});

test('whatever is typed in whatever pieces: nothing is lost, and the sequence is found where it is', () => {
  const keys = 'a,a,b,a';
  fc.assert(
    fc.property(fc.array(fc.constantFrom('a', 'b', 'c')), fc.array(fc.nat(5)), (letters, cuts) => {
      const text = letters.join('');
      const filter = new DetachFilter(parseDetachKeys(keys));
      let out = '';
      let detached = false;
      let at = 0;
      for (let i = 0; at < text.length && !detached; i++) {
        const size = (cuts[i % Math.max(1, cuts.length)] ?? 0) + 1;
        const result = filter.push(Buffer.from(text.slice(at, at + size)));
        out += result.data.toString();
        detached = result.detached;
        at += size;
      }
      const found = text.indexOf('aaba');
      assert.equal(detached, found >= 0);
      if (detached) assert.equal(out, text.slice(0, found));
      else
        assert.ok(
          text.startsWith(out) && text.length - out.length < 4 && 'aaba'.startsWith(text.slice(out.length)),
        );
    }),
  );
});

test('frames come out whole from whatever pieces', () => {
  const payload = Buffer.from([2, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  const bytes = Buffer.concat([
    encodeFrame(STREAM.stdout, Buffer.from('hello')),
    encodeFrame(STREAM.control, payload),
    encodeFrame(STREAM.stdout, Buffer.alloc(0)),
    encodeFrame(STREAM.stderr, Buffer.from('x'.repeat(1000))),
  ]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (sizes) => {
      const got = { 1: '', 2: '' };
      const controls: Buffer[] = [];
      const decoder = new FrameDecoder({
        data: (stream, data) => {
          got[stream] += data.toString();
        },
        control: (p) => controls.push(Buffer.from(p)),
      });
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length]!;
        decoder.push(bytes.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(got, { 1: 'hello', 2: 'x'.repeat(1000) });
      assert.deepEqual(controls, [payload]);
    }),
  );
  assert.deepEqual(decodeKeeperMessage(payload), {
    type: 'exit',
    exitCode: 7,
    signal: 0,
    oomKilled: true,
    restarting: false,
  });
  assert.equal(decodeKeeperMessage(Buffer.from([99])), undefined);
});

test('requests are laid out as native/init/keep_clients.h says', () => {
  assert.equal(
    encodeClientMessage({
      type: 'attach',
      stdin: true,
      stdout: true,
      stderr: false,
      size: { rows: 2, columns: 3 },
    }).toString('hex'),
    `030000000000000a${'01'}03${'02000000'}${'03000000'}`,
  );
  assert.equal(
    encodeClientMessage({ type: 'stop' }).toString('hex'),
    `0300000000000009${'04'}${'00000000'}${'feffffff'}`,
  );
});

test('instants: seconds, durations, dates', () => {
  const now = 1_700_000_000_000_000_000n;
  assert.equal(parseInstant('1700000000', now), now);
  assert.equal(parseInstant('1.5', now), 1_500_000_000n);
  assert.equal(parseInstant('10m', now), now - 600_000_000_000n);
  assert.equal(parseInstant('1h30m0.5s', now), now - 5_400_500_000_000n);
  assert.equal(parseInstant('2023-11-14T22:13:20.123456789Z', now), now + 123_456_789n);
  assert.equal(parseInstant('2023-11-14T23:13:20+01:00', now), now);
  assert.equal(parseInstant('2023-11-14', now), BigInt(new Date(2023, 10, 14).getTime()) * 1_000_000n);
  assert.throws(() => parseInstant('soon', now), /invalid time 'soon'/);
});
