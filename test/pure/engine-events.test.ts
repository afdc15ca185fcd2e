import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { makeContext } from '../../src/base/index.js';
import { type ContainerRecord, emitEvent, readEvents } from '../../src/engine/index.js';
import { openLogFiles } from '../../src/engine/log-files.js';
import { emptyRequest } from '../../src/spec/index.js';

test('the events file is renamed where it grows, and a reader has both', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-events-'));
  try {
    const ctx = makeContext({ root: directory, state: path.join(directory, 'state') });
    const record = {
      id: 'a'.repeat(64),
      name: 'box',
      request: { ...emptyRequest(), labels: { filler: 'x'.repeat(4000) } },
    } as unknown as ContainerRecord;
    const total = 400; // 1.7 MB
    for (let n = 0; n < total; n++) {
      emitEvent(ctx, 'update', record, { n: String(n) });
    }
    const files = readdirSync(ctx.state).filter((f) => f.startsWith('events'));
    assert.equal(files.length, 2, files.join(' '));
    for (const f of files) assert.ok(statSync(path.join(ctx.state, f)).size < 1.1e6);
    const later: number[] = [];
    for await (const event of readEvents(ctx, { since: 1n, until: BigInt(Date.now() + 1) * 1_000_000n })) {
      later.push(Number(event.Actor.Attributes['n']));
    }
    assert.deepEqual(later, [...Array(total).keys()]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a reader that follows has every event, whatever file a writer had open when the file was renamed', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-events-'));
  try {
    const ctx = makeContext({ root: directory, state: path.join(directory, 'state') });
    mkdirSync(ctx.state);
    const file = path.join(ctx.state, 'events.jsonl');
    const line = (n: number): string =>
      `${JSON.stringify({ Type: 'container', Action: 'update', Actor: { ID: 'a', Attributes: { n: String(n) } }, scope: 'local', time: 1, timeNano: n })}\n`;
    const stop = new AbortController();
    const events = readEvents(ctx, { since: 1n, signal: stop.signal });
    const next = async (): Promise<number> => Number((await events.next()).value?.Actor.Attributes['n']);

    appendFileSync(file, line(1));
    assert.equal(await next(), 1);
    // Read to its end by now; a writer adds to it, it is renamed, and a new one begins.
    const early = openSync(file, 'a');
    const late = openSync(file, 'a');
    writeSync(early, line(2));
    renameSync(file, `${file}.1`);
    appendFileSync(file, line(3));
    assert.deepEqual([await next(), await next()], [2, 3]);
    // One that opened it before the rename writes after the reader has gone on to the new one; half a line at first.
    writeSync(late, line(4).slice(0, 20));
    appendFileSync(file, line(5));
    assert.equal(await next(), 5);
    writeSync(late, line(4).slice(20));
    assert.equal(await next(), 4);
    // Twice renamed before the reader looks: the one in between has only the name .1 by then.
    renameSync(file, `${file}.1`);
    appendFileSync(file, line(6));
    renameSync(file, `${file}.1`);
    appendFileSync(file, line(7));
    assert.deepEqual([await next(), await next()], [6, 7]);
    for (const fd of [early, late]) closeSync(fd);
    stop.abort();
    assert.equal((await events.next()).done, true);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('files opened while others rename them are consecutive: none is missed', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-events-'));
  // Each file says its number.
  const rotate = `
    const { renameSync, writeFileSync } = require('node:fs');
    const { workerData: file } = require('node:worker_threads');
    for (let n = 2; n <= 3000; n++) {
      renameSync(file + '.1', file + '.2');
      renameSync(file, file + '.1');
      writeFileSync(file + '.new', n + '\\n');
      renameSync(file + '.new', file);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.2);
    }`;
  let rotating: Worker | undefined;
  try {
    const file = path.join(directory, 'log');
    appendFileSync(`${file}.1`, '0\n');
    appendFileSync(file, '1\n');
    rotating = new Worker(rotate, { eval: true, workerData: file });
    let ended = false;
    rotating.on('exit', () => {
      ended = true;
    });
    let looks = 0;
    while (!ended) {
      const files = openLogFiles(directory, 'log');
      const numbers = files.flatMap((f) => [...f.lines()].map(Number));
      for (const f of files) f[Symbol.dispose]();
      const first = numbers[0] ?? 0;
      assert.deepEqual(
        numbers,
        numbers.map((_, i) => first + i),
      );
      if (++looks % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(looks > 0);
  } finally {
    await rotating?.terminate();
    rmSync(directory, { recursive: true, force: true });
  }
});
