import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { parseNetDev, parsePressure, readUsage } from '../../src/cgroup/index.js';

function group(files: Record<string, string>): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-stats-'));
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(directory, name), text);
  return directory;
}

test('cgroup2 figures', () => {
  const pressure =
    'some avg10=1.50 avg60=0.20 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n';
  const unified = group({
    'cpu.stat':
      'usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 77\n',
    'memory.current': '1000\n',
    'memory.stat': 'anon 600\nfile 400\ninactive_file 300\nfile_mapped 5\n',
    'memory.swap.current': '9\n',
    'memory.peak': '1500\n',
    'memory.swap.peak': '700\n',
    'memory.max': '2000\n',
    'memory.swap.max': 'max\n',
    'memory.events': 'low 0\nhigh 2\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n',
    'pids.current': '3\n',
    'pids.max': 'max\n',
    'pids.events': 'max 8\n',
    'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n',
    'cpu.pressure': pressure,
    'memory.pressure': pressure,
    'io.pressure': pressure,
  });
  const usage = readUsage({ unified, v1: {} });
  assert.deepEqual(usage.cpu, {
    usageUsec: 3000,
    userUsec: 2000,
    systemUsec: 1000,
    periods: 10,
    throttledPeriods: 4,
    throttledUsec: 77,
  });
  assert.deepEqual(usage.memory, {
    usage: 700,
    total: 1000,
    cache: 400,
    anon: 600,
    swap: 9,
    peak: 1500,
    swapPeak: 700,
    limit: 2000,
    swapLimit: null,
  });
  assert.deepEqual(usage.pids, { current: 3, limit: null });
  assert.deepEqual(usage.io, [{ device: '8:0', readBytes: 10, writeBytes: 20, reads: 1, writes: 2 }]);
  assert.equal(usage.pressure?.memory.some.avg10, 1.5);
  assert.equal(usage.pressure?.io.full.totalUsec, 5);
  assert.deepEqual(usage.events, { memoryHigh: 2, memoryMax: 3, oom: 1, oomKill: 1, pidsMax: 8 });
  rmSync(unified, { recursive: true });
});

test('v1 figures come out in the same shape', () => {
  const memory = group({
    'memory.usage_in_bytes': '1000\n',
    'memory.stat': 'cache 1\ntotal_cache 400\ntotal_rss 600\ntotal_swap 9\ntotal_inactive_file 300\n',
    'memory.max_usage_in_bytes': '1500\n',
    'memory.limit_in_bytes': '2000\n',
    'memory.memsw.limit_in_bytes': '9223372036854771712\n',
    'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
    'memory.failcnt': '6\n',
  });
  const blkio = group({
    'blkio.throttle.io_service_bytes_recursive': '8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n',
    'blkio.throttle.io_serviced_recursive': '8:0 Read 1\n8:0 Write 2\nTotal 3\n',
  });
  const cpu = group({ 'cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 77000\n' });
  const cpuacct = group({ 'cpuacct.usage': '3000000\n', 'cpuacct.stat': 'user 1\nsystem 2\n' });
  const usage = readUsage({ unified: null, v1: { memory, blkio, cpu, cpuacct } });
  assert.deepEqual(usage.memory, {
    usage: 700,
    total: 1000,
    cache: 400,
    anon: 600,
    swap: 9,
    peak: 1500,
    swapPeak: null,
    limit: 2000,
    swapLimit: null,
  });
  assert.deepEqual(usage.io, [{ device: '8:0', readBytes: 10, writeBytes: 20, reads: 1, writes: 2 }]);
  assert.deepEqual(usage.cpu, {
    usageUsec: 3000,
    userUsec: 10000,
    systemUsec: 20000,
    periods: 10,
    throttledPeriods: 4,
    throttledUsec: 77,
  });
  assert.equal(usage.pressure, null);
  assert.deepEqual(usage.events, { memoryHigh: 0, memoryMax: 6, oom: 2, oomKill: 2, pidsMax: 0 });
  for (const d of [memory, blkio, cpu, cpuacct]) rmSync(d, { recursive: true });
});

test('a group that is gone reads as zero', () => {
  const usage = readUsage({ unified: '/nonexistent', v1: {} });
  assert.equal(usage.memory.total, 0);
  assert.equal(usage.pids.current, 0);
  assert.equal(usage.memory.limit, null);
});

test('PSI and interface counters', () => {
  assert.equal(parsePressure('').some.avg10, 0);
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0:1234 5 1 2 0 0 0 0 999 7 3 4 0 0 0 0
`;
  assert.deepEqual(parseNetDev(text)[1], {
    name: 'eth0',
    rxBytes: 1234,
    rxPackets: 5,
    rxErrors: 1,
    rxDropped: 2,
    txBytes: 999,
    txPackets: 7,
    txErrors: 3,
    txDropped: 4,
  });
});
