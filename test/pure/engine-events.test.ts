import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { type ContainerRecord, emitEvent, readEvents } from '../../src/engine/index.js';
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
