import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { measure, type Side } from '../../bench/harness.js';
import { program, Timer } from '../../bench/timer.js';

/** The harness on real work: processor time of the same program, so that a busy machine is no reason to fail. */

test('a real A/A row finds nothing, and 5 % more work is found', { timeout: 120_000 }, async (t) => {
  const timer = new Timer();
  t.after(() => timer.close());
  const work = program('work');
  const side = (name: string, amount: number): Side => ({
    name,
    run: async () => {
      const r = await timer.run([work, 'integer', String(amount)]);
      return r.user + r.system;
    },
  });
  const amount = 1e7;
  const row = await measure({
    suite: 'cpu',
    id: 'integer',
    title: 'integer',
    unit: 'ns',
    base: 'bare',
    rounds: 31,
    sides: [side('bare', amount), side('nsbox', amount), side('slowed', amount * 1.05)],
  });
  const verdictOf = (name: string) => row.sides.find((s) => s.side === name)?.ratio?.verdict;
  assert.equal(row.sides.find((s) => s.side === 'nsbox')?.samples.length, 31);
  assert.equal(verdictOf('nsbox'), 'none');
  if (row.noise > 0.04)
    return t.skip(
      `this machine is too busy now: bare against bare differs by ±${(row.noise * 100).toFixed(1)} %`,
    );
  assert.equal(verdictOf('slowed'), 'cost');
});

test('a real A/A suite: at most 5 % of its rows claim a difference', { timeout: 240_000 }, async (t) => {
  const timer = new Timer();
  t.after(() => timer.close());
  const work = program('work');
  const modes = ['integer', 'float', 'allocate', 'getpid'] as const;
  const amounts = { integer: 2e6, float: 1e6, allocate: 1e5, getpid: 3e4 };
  let claims = 0;
  for (let i = 0; i < 20; i++) {
    const mode = modes[i % modes.length] as (typeof modes)[number];
    const run = async (): Promise<number> => {
      const r = await timer.run([work, mode, String(amounts[mode])]);
      return r.user + r.system;
    };
    const row = await measure(
      {
        suite: 'aa',
        id: `${mode}-${i}`,
        title: mode,
        unit: 'ns',
        base: 'bare',
        rounds: 9,
        sides: [
          { name: 'bare', run },
          { name: 'nsbox', run },
        ],
      },
      { seed: i },
    );
    if (row.sides.find((s) => s.side === 'nsbox')?.ratio?.verdict !== 'none') claims++;
  }
  assert.ok(claims <= 1, `${claims} of 20 rows claim a difference between a program and itself`);
});

test('a row ends with its time, and a side that never ends is left out', async () => {
  let calls = 0;
  const row = await measure(
    {
      suite: 's',
      id: 'r',
      title: 'r',
      unit: 'ns',
      base: 'bare',
      rounds: 1000,
      sides: [
        { name: 'bare', run: async () => ++calls },
        { name: 'stuck', run: () => new Promise<number>(() => {}) },
      ],
    },
    { budget: 0, patience: 50 },
  );
  assert.equal(row.sides.find((s) => s.side === 'bare')?.samples.length, 6);
  assert.equal(row.sides.find((s) => s.side === 'stuck')?.failed, 'no end after 0.05 s');
});

test('the timer gives wall and processor time, the status, and the last line; a wrong status is an error', async (t) => {
  const timer = new Timer();
  t.after(() => timer.close());
  const r = await timer.run(['sh', '-c', 'echo first; echo "the last"; exec sleep 0.05']);
  assert.ok(r.wall >= 50e6 && r.wall < 5e9, String(r.wall));
  assert.ok(r.user + r.system < 50_000);
  assert.equal(r.last, 'the last');
  await assert.rejects(timer.run(['sh', '-c', 'echo why >&2; exit 3']), /sh ended with exit status 3: why/);
  assert.equal((await timer.run(['sh', '-c', 'exit 3'], 3)).status, 3);
  assert.equal((await timer.run(['true'])).last, '');
  await assert.rejects(timer.run(['/no/such/program']), /exit status 127/);
});

test('the floor starts a program, and leaves nothing behind', async (t) => {
  const { makePlace } = await import('../../bench/nsbox.js');
  const { spawnSync } = await import('node:child_process');
  const { readdirSync } = await import('node:fs');
  const place = await makePlace('/tmp');
  const scratch = mkdtempSync(`${place.directory}/floor-`);
  t.after(async () => {
    rmSync(scratch, { recursive: true, force: true });
    await place.remove();
  });
  const r = spawnSync(program('floor'), [place.rootfs, scratch, '-'], { input: '\n\n\n', encoding: 'utf8' });
  assert.equal(r.status, 0, r.stderr);
  assert.equal(r.stdout.trim().split('\n').length, 3);
  assert.deepEqual(readdirSync(scratch), []);
});
