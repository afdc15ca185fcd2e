import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Health, type HealthResult, nextHealth } from '../../src/engine/health.js';
import { healthPlan, mergeHealthcheck } from '../../src/spec/index.js';

const STARTED = '2026-01-01T00:00:00Z';

/** A check that began so many seconds after the start. */
function result(seconds: number, ExitCode: number): HealthResult {
  const at = new Date(Date.parse(STARTED) + seconds * 1000).toISOString();
  return { Start: at, End: at, ExitCode, Output: '' };
}

/** The status after each of the checks. */
function statuses(plan: { retries: number; startPeriodMs: number }, checks: [number, number][]): string[] {
  let health: Health = { Status: 'starting', FailingStreak: 0, Log: [] };
  return checks.map(([seconds, code]) => {
    health = nextHealth(health, result(seconds, code), plan, STARTED);
    return `${health.Status} ${health.FailingStreak}`;
  });
}

describe('health of a container', () => {
  it('needs one success, or so many failures in a row', () => {
    const plan = { retries: 3, startPeriodMs: 0 };
    assert.deepEqual(
      statuses(plan, [
        [1, 1],
        [2, 0],
        [3, 1],
        [4, -1],
        [5, 0],
        [6, 1],
        [7, 2],
        [8, 137],
        [9, 1],
        [10, 0],
      ]),
      [
        'starting 1',
        'healthy 0',
        'healthy 1',
        'healthy 2',
        'healthy 0',
        'healthy 1',
        'healthy 2',
        'unhealthy 3',
        'unhealthy 4',
        'healthy 0',
      ],
    );
    assert.deepEqual(
      statuses(plan, [
        [1, 1],
        [2, 1],
        [3, 1],
      ]),
      ['starting 1', 'starting 2', 'unhealthy 3'],
    );
  });

  it('is lenient within the start period, until the first success', () => {
    const plan = { retries: 1, startPeriodMs: 10_000 };
    assert.deepEqual(
      statuses(plan, [
        [1, 1],
        [9.9, 1],
        [10, 1],
      ]),
      ['starting 0', 'starting 0', 'unhealthy 1'],
    );
    assert.deepEqual(
      statuses(plan, [
        [1, 1],
        [2, 0],
        [3, 1],
      ]),
      ['starting 0', 'healthy 0', 'unhealthy 1'],
    );
  });

  it('keeps the last five results', () => {
    let health: Health = { Status: 'starting', FailingStreak: 0, Log: [] };
    for (let i = 0; i < 8; i++) {
      health = nextHealth(health, result(i, i), { retries: 3, startPeriodMs: 0 }, STARTED);
      assert.equal(health.Log.length, Math.min(i + 1, 5));
    }
    assert.deepEqual(
      health.Log.map((l) => l.ExitCode),
      [3, 4, 5, 6, 7],
    );
  });
});

describe('the check of a container', () => {
  const image = { Test: ['CMD', 'up'], Interval: 5e9, Retries: 7, StartPeriod: 1e9 };

  it('is the request over the image, field by field', () => {
    assert.equal(mergeHealthcheck(undefined, undefined), undefined);
    assert.deepEqual(mergeHealthcheck(undefined, image), image);
    assert.deepEqual(mergeHealthcheck({ Interval: 1e9 }, image), { ...image, Interval: 1e9 });
    assert.deepEqual(mergeHealthcheck({ Test: ['CMD-SHELL', 'x'], Timeout: 2e9 }, image), {
      ...image,
      Test: ['CMD-SHELL', 'x'],
      Timeout: 2e9,
    });
    assert.deepEqual(mergeHealthcheck({ Test: [], Retries: 0 }, image), image);
    assert.deepEqual(mergeHealthcheck({ Test: ['NONE'] }, image)?.Test, ['NONE']);
  });

  it('knows no duration below a millisecond', () => {
    for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval']) {
      assert.throws(() => mergeHealthcheck({ [field]: 999_999 }, undefined), {
        message: `${field} in Healthcheck cannot be less than 1ms`,
      });
      assert.ok(mergeHealthcheck({ [field]: 1_000_000 }, undefined));
    }
  });

  it('has the defaults of Docker, and the shell of the image', () => {
    assert.deepEqual(healthPlan({ Test: ['CMD-SHELL', 'up || exit 1'] }), {
      argv: ['/bin/sh', '-c', 'up || exit 1'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5000,
      retries: 3,
    });
    assert.deepEqual(healthPlan({ Test: ['CMD-SHELL', 'x'] }, ['/bin/bash', '-ec'])?.argv, [
      '/bin/bash',
      '-ec',
      'x',
    ]);
    assert.deepEqual(healthPlan(image)?.argv, ['up']);
    assert.equal(healthPlan(image)?.retries, 7);
    for (const none of [undefined, {}, { Test: [] }, { Test: ['NONE'] }, { Test: ['CMD'] }]) {
      assert.equal(healthPlan(none), undefined);
    }
  });
});
