import { AGAIN, type Row, summarise } from '../../bench/harness.js';
import type { BenchResult } from '../../bench/result.js';
import { seeded } from '../../bench/stats.js';

/** A bench result with synthetic samples: one row without loss, one with a loss by `slow`, and a start. */
export function sampleResult(options: { slow?: number; seed?: number } = {}): BenchResult {
  const random = seeded(options.seed ?? 42);
  const slow = options.slow ?? 1.1;
  const times = (ns: number): number[] => Array.from({ length: 25 }, () => ns * (1 + 0.01 * random()));
  const row = (
    suite: string,
    title: string,
    base: string,
    sides: [string, number][],
    unit: Row['unit'] = 'ns',
  ) =>
    summarise({ suite, id: title, title, unit, base }, new Map(sides.map(([name, ns]) => [name, times(ns)])));
  return {
    schema: 1,
    started: '2026-01-02T03:04:05.000Z',
    seconds: 61,
    quick: true,
    machine: {
      kernel: '6.18',
      processor: 'A processor',
      processors: 2,
      memory: 8 * 2 ** 30,
      distribution: 'Debian',
      node: 'v20.0.0',
      nsbox: 'abc1234',
      cgroups: 'v2',
      filesystem: 'ext2/ext3',
      mitigations: { meltdown: 'Mitigation: PTI', spectre_v1: 'Not affected' },
      load: 0.1,
      peers: { crun: '1.21' },
    },
    suites: [
      { name: 'cpu', seconds: 20 },
      { name: 'syscalls', seconds: 20.5 },
      { name: 'start', seconds: 20.5 },
    ],
    trace: {
      command: 'nsbox run --rm --trace bench /true',
      steps: [
        { list: 'main', title: 'mount proc on /proc', start: 0, end: 400_000 },
        { list: 'main', title: 'set the host name', start: 400_000, end: 401_000 },
        { list: 'init', title: 'execute /true', start: 500_000, end: 900_000 },
      ],
    },
    rows: [
      row('cpu', 'integer', 'bare', [
        ['bare', 5e7],
        [`bare${AGAIN}`, 5e7],
        ['nsbox', 5e7],
      ]),
      row('syscalls', 'getpid', 'bare', [
        ['bare', 1e7],
        [`bare${AGAIN}`, 1e7],
        ['nsbox', 1e7 * slow],
        ['nsbox --security-opt seccomp=unconfined', 1e7],
      ]),
      row('start', 'start', 'floor', [
        ['floor', 2e6],
        [`floor${AGAIN}`, 2e6],
        ['library run()', 3e6],
        ['crun', 11e6],
      ]),
    ],
    skipped: [{ name: 'docker', why: 'no daemon answers' }],
  };
}
