import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext, parseFilters } from '../../src/base/index.js';
import {
  type ContainerRecord,
  containerPaths,
  EVENT_FILTERS,
  emitEvent,
  eventsFile,
  type LogEntry,
  type LogOptions,
  logRenderer,
  readEvents,
  readLogs,
} from '../../src/engine/index.js';
import { emptyRequest } from '../../src/spec/index.js';

const record: ContainerRecord = {
  version: 1,
  id: 'a'.repeat(64),
  name: 'web',
  created: '2026-01-01T00:00:00.000Z',
  request: { ...emptyRequest(), labels: { tier: 'front' } },
  mounts: [],
  argv: ['true'],
  cgroup: '/nsbox/a',
};

class Place implements Disposable {
  readonly directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-logs-'));
  readonly ctx = makeContext({ root: `${this.directory}/root`, state: `${this.directory}/state` });
  readonly log = containerPaths(this.ctx, record.id).log;
  constructor() {
    mkdirSync(path.dirname(this.log), { recursive: true });
  }
  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const line = (n: number, stream = 'stdout'): string =>
  `${JSON.stringify({ log: `line ${n}\n`, stream, time: `2026-01-01T00:00:${String(n % 60).padStart(2, '0')}.5Z` })}\n`;
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => line(from + i)).join('');

async function collect(place: Place, options: LogOptions = {}): Promise<LogEntry[]> {
  const out: LogEntry[] = [];
  for await (const entry of readLogs(place.ctx, record, options)) out.push(entry);
  return out;
}
const numbers = (entries: LogEntry[]): number[] => entries.map((e) => Number(e.text.slice(5)));

test('all of a log, across rotated files, oldest first', async () => {
  using place = new Place();
  assert.deepEqual(await collect(place), []);
  writeFileSync(`${place.log}.10`, lines(0, 5));
  writeFileSync(`${place.log}.2`, lines(5, 10));
  writeFileSync(`${place.log}.1`, lines(10, 15));
  writeFileSync(place.log, lines(15, 20));
  assert.deepEqual(numbers(await collect(place)), [...Array(20).keys()]);
});

test('the last lines are found from the end, across files and blocks', async () => {
  using place = new Place();
  writeFileSync(`${place.log}.1`, lines(0, 3000));
  writeFileSync(place.log, lines(3000, 3005));
  for (const n of [0, 1, 4, 5, 6, 7, 1000, 2500, 3004, 3005, 4000]) {
    const got = numbers(await collect(place, { tail: n }));
    const want = [...Array(3005).keys()].slice(Math.max(0, 3005 - n));
    assert.deepEqual(got, n === 0 ? [] : want, `--tail ${n}`);
  }
});

test('since and until; lines cut short by a crash are left out', async () => {
  using place = new Place();
  writeFileSync(place.log, `${lines(0, 10)}{"log":"torn\n${lines(10, 20)}{"log":"unfinished`);
  const at = (second: number): bigint => BigInt(Date.UTC(2026, 0, 1, 0, 0, second)) * 1_000_000n;
  assert.deepEqual(numbers(await collect(place, { since: at(5), until: at(12) })), [5, 6, 7, 8, 9, 10, 11]);
  assert.equal((await collect(place)).length, 20);
});

test('following goes on through rotations and misses nothing', async () => {
  using place = new Place();
  writeFileSync(place.log, lines(0, 3));
  const stop = new AbortController();
  const got: number[] = [];
  // No monitor listens here, so that following would end at once: the state file says that one is on its way.
  const socket = containerPaths(place.ctx, record.id).socket;
  mkdirSync(path.dirname(socket), { recursive: true });
  const { createServer } = await import('node:net');
  const connections = new Set<{ destroy(): void }>();
  const server = createServer((c) => connections.add(c.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(`${place.directory}/s`, resolve));
  renameSync(`${place.directory}/s`, socket);
  const reading = (async () => {
    for await (const entry of readLogs(place.ctx, record, { follow: true, signal: stop.signal })) {
      got.push(Number(entry.text.slice(5)));
    }
  })();
  const seen = async (n: number): Promise<void> => {
    for (let i = 0; got.length < n; i++) {
      assert.ok(i < 1000, `only ${got.length} of ${n}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await seen(3);
  const half = line(3);
  appendFileSync(place.log, half.slice(0, 20));
  await new Promise((resolve) => setTimeout(resolve, 20));
  appendFileSync(place.log, half.slice(20));
  await seen(4);
  for (let round = 0; round < 20; round++) {
    const from = 4 + round * 10;
    appendFileSync(place.log, lines(from, from + 5));
    renameSync(place.log, `${place.log}.1`);
    writeFileSync(place.log, lines(from + 5, from + 10));
    // Two rotations in a row can't both be kept with one predecessor: the reader must keep up here.
    await seen(from + 10);
  }
  assert.deepEqual(
    got,
    [...Array(204).keys()].map((n) => n),
  );
  for (const c of connections) c.destroy();
  await reading; // the monitor has gone: so has the program
  server.close();
});

test('timestamps have nine digits; a long line gets them once', () => {
  const render = logRenderer({ timestamps: true, details: true });
  const entry = (text: string): LogEntry => ({
    stream: 'stdout',
    text,
    time: '2026-01-01T00:00:00.12Z',
    attributes: { b: '1 2', a: 'x' },
  });
  assert.equal(render(entry('part one ')), '2026-01-01T00:00:00.120000000Z a=x,b=1%202 part one ');
  assert.equal(render(entry('part two\n')), 'part two\n');
  assert.equal(render(entry('next\n')), '2026-01-01T00:00:00.120000000Z a=x,b=1%202 next\n');
});

test('events: past ones, filters, and following', async () => {
  using place = new Place();
  emitEvent(place.ctx, 'create', record);
  emitEvent(place.ctx, 'die', record, { exitCode: '3' });
  appendFileSync(eventsFile(place.ctx), '{"torn\n');
  const until = BigInt(Date.now() + 1) * 1_000_000n;
  const past = async (...texts: string[]): Promise<string[]> => {
    const out: string[] = [];
    const filters = parseFilters(texts, EVENT_FILTERS);
    for await (const e of readEvents(place.ctx, { since: 0n, until, filters })) out.push(e.Action);
    return out;
  };
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(await past(), ['create', 'die']);
  assert.deepEqual(await past('event=die'), ['die']);
  assert.deepEqual(await past('container=web', 'label=tier=front'), ['create', 'die']);
  assert.deepEqual(await past('container=other'), []);
  assert.deepEqual(await past('type=image'), []);
  await assert.rejects(past('colour=red'), /invalid filter 'colour'/);

  const stop = new AbortController();
  const live: string[] = [];
  const reading = (async () => {
    for await (const e of readEvents(place.ctx, { signal: stop.signal })) {
      live.push(e.Action);
      if (live.length === 2) stop.abort();
    }
  })();
  await new Promise((resolve) => setTimeout(resolve, 20));
  emitEvent(place.ctx, 'start', record);
  renameSync(eventsFile(place.ctx), `${eventsFile(place.ctx)}.1`);
  emitEvent(place.ctx, 'stop', record);
  await reading;
  assert.deepEqual(live, ['start', 'stop']);
});
