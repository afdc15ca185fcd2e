import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { readUsage } from '../../src/cgroup/index.js';
import { cpuUsed, type Effect, isUnified, spins, value } from './limit-effects.js';
import { loadProgram } from './load.js';
import type { Rig, Running } from './rig.js';

/**
 * What the controls do that have no flag of Docker's, but a file of the kernel's (`--cgroup-conf`, OCI `unified`): the
 * file's value and the effect. Run where limit-effects.ts runs.
 */
const MiB = 1024 ** 2;

const onCgroup2 = (rig: Rig): string | undefined =>
  isUnified(rig) ? undefined : 'a control of cgroup2 alone, and memory is bound to v1 here';

/** A number of a group's cpu.stat, of the hierarchy that has the cpu controller. */
function cpuStat({ groups }: Running, ...names: string[]): number {
  const text = readFileSync(`${groups.v1['cpu'] ?? groups.unified}/cpu.stat`, 'latin1');
  const line = text.split('\n').find((l) => names.some((name) => l.startsWith(`${name} `)));
  assert.ok(line, `no ${names.join(' or ')} in cpu.stat`);
  return Number(line.split(' ')[1]);
}

/**
 * Three programs want more memory than their parent may have: what is protected by `file` stays, the others swap.
 * @param slack bytes that the kernel may take all the same: nothing of memory.min; memory.low is best effort
 */
async function checkProtection(rig: Rig, file: 'memory.min' | 'memory.low', slack: number): Promise<void> {
  const touch = (bytes: number): string[] => [loadProgram(), 'memory', String(bytes), '600'];
  const kept = rig.start({ unified: { [file]: String(20 * MiB) } }, touch(16 * MiB));
  assert.equal(value(kept, file), String(20 * MiB));
  const open = rig.start({}, touch(16 * MiB));
  await Promise.all([kept.seen(`touched ${16 * MiB}`), open.seen(`touched ${16 * MiB}`)]);
  const ceiling = `${rig.host.cgroup.unified}${rig.parent}/memory.max`;
  writeFileSync(ceiling, String(40 * MiB));
  try {
    const third = rig.start({}, touch(24 * MiB));
    await third.seen(`touched ${24 * MiB}`, 60_000);
    const swapped = (one: Running): number => readUsage(one.groups).memory.swap;
    assert.ok(swapped(kept) <= slack, `${swapped(kept)} bytes of the protected one were swapped`);
    assert.ok(swapped(open) + swapped(third) > 8 * MiB, `${swapped(open)} and ${swapped(third)} swapped`);
    for (const one of [kept, open, third]) one.child.kill('SIGKILL');
    await Promise.all([kept.ended, open.ended, third.ended]);
  } finally {
    writeFileSync(ceiling, 'max');
  }
}

const hasSwap = (): boolean => readFileSync('/proc/swaps', 'latin1').trim().split('\n').length > 1;

/** Bytes of a huge page, and how many are free. */
function hugePages(): { size: number; free: number } {
  const number = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0);
  return { size: number('Hugepagesize') * 1024, free: number('HugePages_Free') };
}

export const RAW_EFFECTS: Effect[] = [
  {
    name: 'memory.oom.group: what runs with the hog is killed with it',
    skip: onCgroup2,
    async run(rig) {
      const script = '"$0" memory 1048576 600 & "$0" memory 209715200; echo survived; kill $!';
      const start = (group: string): Running =>
        rig.start({ memory: { limit: 24 * MiB, swap: 24 * MiB }, unified: { 'memory.oom.group': group } }, [
          '/bin/sh',
          '-c',
          script,
          loadProgram(),
        ]);
      const together = start('1');
      const end = await together.ended;
      assert.equal(value(together, 'memory.oom.group'), '1');
      assert.equal(end.signal, 'SIGKILL', end.output);
      assert.doesNotMatch(end.output, /survived/);
      assert.match((await start('0').ended).output, /survived/);
    },
  },
  {
    name: 'memory.min: what it protects is not swapped when the parent runs short',
    skip: (rig) => onCgroup2(rig) ?? (hasSwap() ? undefined : 'this host has no swap'),
    run: (rig) => checkProtection(rig, 'memory.min', 0),
  },
  {
    name: 'memory.low: what it protects is swapped last',
    skip: (rig) => onCgroup2(rig) ?? (hasSwap() ? undefined : 'this host has no swap'),
    run: (rig) => checkProtection(rig, 'memory.low', 4 * MiB),
  },
  {
    name: 'cpu.idle: an idle group gets what others leave',
    async run(rig) {
      const idle = rig.start({ cpu: { cpus: '0', idle: 1 } }, [loadProgram(), 'cpu', '300']);
      assert.equal(value(idle, 'cpu.idle'), '1');
      await spins(idle);
      // A machine kept busy by others lets the normal one wait, too.
      for (let attempt = 1; ; attempt++) {
        const normal = rig.start({ cpu: { cpus: '0' } }, [loadProgram(), 'cpu', '2']);
        await spins(normal);
        const from = [cpuUsed(idle), cpuUsed(normal)] as const;
        await normal.ended;
        const [a, b] = [cpuUsed(idle) - from[0], cpuUsed(normal) - from[1]];
        if (a / (a + b) <= 0.1) break;
        assert.ok(attempt < 3, `the idle one got ${a} µs of CPU beside ${b}`);
      }
      idle.child.kill('SIGKILL');
      await idle.ended;
    },
  },
  {
    name: 'cpu.max.burst: what a period leaves is used in the next',
    async run(rig) {
      const script = 'for i in 1 2 3 4; do sleep 0.25; "$0" cpu 0.1; done';
      const argv = ['/bin/sh', '-c', script, loadProgram()];
      const limit = { quota: 20_000, period: 100_000 };
      const bursting = rig.start({ cpu: { ...limit, burst: 20_000 } }, argv);
      const steady = rig.start({ cpu: limit }, argv);
      await Promise.all([bursting.ended, steady.ended]);
      assert.equal(value(bursting, 'cpu.max.burst', 'cpu.cfs_burst_us'), '20000');
      assert.ok(cpuStat(bursting, 'nr_bursts') > 0, 'it never used more than its quota');
      assert.ok(cpuStat(bursting, 'burst_usec', 'burst_time') > 0);
      assert.equal(cpuStat(steady, 'nr_bursts'), 0);
    },
  },
  {
    name: 'hugetlb: huge pages up to the limit, ENOMEM beyond',
    skip: () =>
      hugePages().free >= 4 ? undefined : 'fewer than 4 huge pages are free (/proc/sys/vm/nr_hugepages)',
    async run(rig) {
      const { size } = hugePages();
      const pageSize = `${size / MiB}MB`;
      const map = (pages: number): Running =>
        rig.start({ hugepageLimits: [{ pageSize, limit: 2 * size }] }, [
          loadProgram(),
          'hugepages',
          String(pages * size),
        ]);
      const fits = map(2);
      assert.equal((await fits.ended).output, `mapped ${2 * size}\n`);
      assert.equal(
        value(fits, `hugetlb.${pageSize}.max`, `hugetlb.${pageSize}.limit_in_bytes`),
        String(2 * size),
      );
      assert.equal((await map(3).ended).output, 'ENOMEM\n');
    },
  },
];
