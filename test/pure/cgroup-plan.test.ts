import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cgroupPathFor,
  controllerReport,
  ioWeightOfBlkio,
  planCgroup,
  weightOfShares,
} from '../../src/cgroup/index.js';
import type { SpecResources } from '../../src/spec/index.js';
import { BARE, HYBRID, LEGACY, modernHost, UNIFIED } from '../support/hosts.js';

const MiB = 1024 ** 2;
const ALL: SpecResources = {
  memory: { limit: 64 * MiB, swap: 96 * MiB, reservation: 32 * MiB },
  cpu: { shares: 3072, quota: 50000, period: 100000, burst: 10000, cpus: '0-1', mems: '0' },
  pids: { limit: 100 },
  blockIO: {
    weight: 1000,
    throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1048576 }],
    throttleWriteIOPSDevice: [
      { major: 8, minor: 0, rate: 100 },
      { major: 8, minor: 16, rate: 7 },
    ],
  },
  hugepageLimits: [{ pageSize: '2MB', limit: 4 * MiB }],
};

function writes(resources: SpecResources, cgroup = UNIFIED, options = {}): Record<string, string> {
  const plan = planCgroup(resources, '/nsbox/x', { cgroup }, options);
  return Object.fromEntries(plan.writes.map((w) => [w.path.replace('/sys/fs/cgroup', ''), w.value]));
}

test('cgroup2: every limit in its file', () => {
  assert.deepEqual(writes(ALL), {
    '/nsbox/x/memory.max': '67108864',
    '/nsbox/x/memory.swap.max': '33554432',
    '/nsbox/x/memory.low': '33554432',
    '/nsbox/x/cpu.weight': '300',
    '/nsbox/x/cpu.max': '50000 100000',
    '/nsbox/x/cpu.max.burst': '10000',
    '/nsbox/x/cpuset.cpus': '0-1',
    '/nsbox/x/cpuset.mems': '0',
    '/nsbox/x/pids.max': '100',
    '/nsbox/x/io.weight': 'default 10000',
    '/nsbox/x/io.max': '8:16 wiops=7',
    '/nsbox/x/hugetlb.2MB.max': '4194304',
    '/nsbox/x/hugetlb.2MB.rsvd.max': '4194304',
  });
});

test('cgroup2: the group comes first, then parents hand controllers down, then limits', () => {
  const plan = planCgroup({ memory: { limit: MiB } }, '/a/b/c', { cgroup: UNIFIED });
  assert.deepEqual(
    plan.steps.map((s) =>
      s.op === 'mkdir' ? `mkdir ${s.path}` : `${s.path}=${s.value}${s.optional ? '?' : ''}`,
    ),
    [
      'mkdir /sys/fs/cgroup/a/b/c',
      '/sys/fs/cgroup/cgroup.subtree_control=+memory',
      '/sys/fs/cgroup/cgroup.subtree_control=+io +pids?',
      '/sys/fs/cgroup/a/cgroup.subtree_control=+memory',
      '/sys/fs/cgroup/a/cgroup.subtree_control=+io +pids?',
      '/sys/fs/cgroup/a/b/cgroup.subtree_control=+memory',
      '/sys/fs/cgroup/a/b/cgroup.subtree_control=+io +pids?',
      '/sys/fs/cgroup/a/b/c/memory.max=1048576',
    ],
  );
  assert.equal(plan.unified, '/sys/fs/cgroup/a/b/c');
  assert.equal(plan.oomFile, '/sys/fs/cgroup/a/b/c/memory.events');
});

test('hybrid: the same limits reach the v1 hierarchies, the rest stays with cgroup2', () => {
  assert.deepEqual(writes(ALL, HYBRID), {
    '/unified/nsbox/x/hugetlb.2MB.max': '4194304',
    '/unified/nsbox/x/hugetlb.2MB.rsvd.max': '4194304',
    '/memory/nsbox/x/memory.limit_in_bytes': '67108864',
    '/memory/nsbox/x/memory.memsw.limit_in_bytes': '100663296',
    '/memory/nsbox/x/memory.soft_limit_in_bytes': '33554432',
    '/cpu/nsbox/x/cpu.shares': '3072',
    '/cpu/nsbox/x/cpu.cfs_period_us': '100000',
    '/cpu/nsbox/x/cpu.cfs_quota_us': '50000',
    '/cpu/nsbox/x/cpu.cfs_burst_us': '10000',
    '/cpuset/nsbox/x/cpuset.cpus': '0-1',
    '/cpuset/nsbox/x/cpuset.mems': '0',
    '/pids/nsbox/x/pids.max': '100',
    '/blkio/nsbox/x/blkio.bfq.weight': '1000',
    '/blkio/nsbox/x/blkio.throttle.read_bps_device': '8:0 1048576',
    '/blkio/nsbox/x/blkio.throttle.write_iops_device': '8:16 7',
  });
  const plan = planCgroup(ALL, '/nsbox/x', { cgroup: HYBRID });
  assert.equal(plan.unified, '/sys/fs/cgroup/unified/nsbox/x');
  assert.equal(plan.groups[0]?.join, 'clone');
  assert.ok(plan.groups.slice(1).every((g) => g.join === 'write'));
  assert.equal(plan.oomFile, '/sys/fs/cgroup/memory/nsbox/x/memory.oom_control');
});

test('hybrid without limits: groups for figures alone, and none where they are not wanted', () => {
  const with_ = planCgroup({}, '/nsbox/x', { cgroup: HYBRID }).groups.map((g) => g.hierarchy);
  assert.deepEqual(with_, ['unified', 'blkio', 'cpu', 'memory']);
  const without = planCgroup({}, '/nsbox/x', { cgroup: HYBRID }, { statistics: false });
  assert.deepEqual(
    without.groups.map((g) => g.hierarchy),
    ['unified'],
  );
  const all = planCgroup({}, '/nsbox/x', { cgroup: HYBRID }, { statistics: 'all' });
  assert.deepEqual(
    all.groups.map((g) => g.hierarchy),
    ['unified', 'blkio', 'cpu', 'cpuacct', 'memory', 'pids'],
    'as an engine above reads them',
  );
});

test('v1 alone: freezer and co-mounted controllers make one group each', () => {
  const plan = planCgroup(
    {
      cpu: { shares: 2048 },
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
      ],
    },
    '/nsbox/x',
    { cgroup: LEGACY },
  );
  assert.equal(plan.unified, null);
  const paths = plan.groups.map((g) => g.path);
  assert.equal(new Set(paths).size, paths.length);
  assert.ok(paths.includes('/sys/fs/cgroup/freezer/nsbox/x'));
  assert.equal(plan.devices?.how, 'v1');
  assert.deepEqual(
    plan.steps.flatMap((s) =>
      s.op === 'write' && s.controller === 'devices' ? [`${s.path.split('/').at(-1)}=${s.value}`] : [],
    ),
    ['devices.deny=a', 'devices.allow=c 1:3 rwm'],
  );
});

test('a v1 cpuset is handed down, and a parent that has one keeps it', () => {
  const read = (file: string): string | undefined => (file.endsWith('/p/cpuset.cpus') ? '2-3\n' : undefined);
  const plan = planCgroup({ cpu: { mems: '0' } }, '/p/x', { cgroup: HYBRID }, { read });
  assert.deepEqual(
    plan.steps.flatMap((s) =>
      s.op === 'write' && s.path.includes('cpuset.') ? [`${s.path.slice(21)}=${s.value}`] : [],
    ),
    ['/p/cpuset.mems=0', '/p/x/cpuset.cpus=2-3', '/p/x/cpuset.mems=0', '/p/x/cpuset.mems=0'],
  );
});

test('values that every group has need no controller', () => {
  const engines: SpecResources = {
    cpu: { shares: 1024, quota: -1, period: 100000, burst: 0 },
    pids: { limit: 0 },
    memory: { limit: -1, swap: -1, reservation: 0, disableOOMKiller: false },
    blockIO: { weight: 0 },
    unified: { 'memory.high': 'max' },
  };
  const plan = planCgroup(engines, '/nsbox/x', { cgroup: BARE });
  assert.deepEqual(plan.writes, []);
  assert.deepEqual(plan.warnings, []);
});

test('update writes defaults too', () => {
  assert.deepEqual(writes({ memory: { limit: -1 }, pids: { limit: -1 } }, UNIFIED, { update: true }), {
    '/nsbox/x/memory.max': 'max',
    '/nsbox/x/pids.max': 'max',
  });
});

test('a limit that nothing enforces is an error with controller, place and remedy', () => {
  const refused = (resources: SpecResources, cgroup: typeof UNIFIED): string => {
    try {
      planCgroup(resources, '/nsbox/x', { cgroup });
    } catch (error) {
      const e = error as { code: string; message: string; hint: string };
      assert.equal(e.code, 'UNSUPPORTED');
      assert.match(e.hint, /--force-limits=warn/);
      return e.message;
    }
    return assert.fail('was accepted');
  };
  assert.equal(
    refused({ pids: { limit: 5 } }, BARE),
    'cannot set pids.max to 5: the pids controller is bound to a cgroup v1 hierarchy that is not mounted here',
  );
  assert.equal(
    refused({ unified: { 'memory.high': '1G' } }, HYBRID),
    'cannot set memory.high to 1G: cgroup v1 has nothing like memory.high (memory is bound to cgroup v1 at /sys/fs/cgroup/memory)',
  );
  assert.match(refused({ memory: { swappiness: 10 } }, UNIFIED), /cgroup2 has no swappiness per group/);
  assert.match(
    refused({ memory: { limit: 1 } }, { ...UNIFIED, controllers: [], known: [], disabled: ['memory'] }),
    /switched off/,
  );
  assert.match(
    refused({ memory: { limit: 1 } }, { ...UNIFIED, controllers: ['cpu'] }),
    /not handed down to \/sys\/fs\/cgroup \(cgroup\.controllers: cpu\)/,
  );
  assert.match(refused({ memory: { limit: 1 } }, { ...UNIFIED, writable: false }), /mounted read-only/);
  assert.match(refused({ blockIO: { weight: 100 } }, { ...UNIFIED, ioWeight: null }), /bfq/);
});

test('an idle group gets no weight, however it was asked to be idle', () => {
  const cpu = { shares: 2048 };
  const idle = { '/nsbox/x/cpu.idle': '1' };
  assert.deepEqual(writes({ cpu: { ...cpu, idle: 1 } }), idle);
  assert.deepEqual(writes({ cpu, unified: { 'cpu.idle': '1' } }), idle);
  const again = writes({ cpu, unified: { 'cpu.idle': '0' } }, UNIFIED, { update: true });
  // The kernel takes the weight once the group is no longer idle.
  assert.deepEqual(Object.entries(again), [
    ['/nsbox/x/cpu.idle', '0'],
    ['/nsbox/x/cpu.weight', '200'],
  ]);
});

test('--force-limits=warn keeps what can be enforced', () => {
  const plan = planCgroup(
    { memory: { limit: MiB }, unified: { 'memory.high': '1M' }, pids: { limit: 3 } },
    '/nsbox/x',
    { cgroup: HYBRID },
    { onUnenforceable: 'warn' },
  );
  assert.equal(plan.warnings.length, 1);
  assert.match(plan.warnings[0] ?? '', /memory\.high .* runs without this limit/);
  assert.deepEqual(
    plan.writes.map((w) => w.value),
    ['1048576', '3'],
  );
});

test('a kernel that counts no swap: what was asked for is refused, what Docker adds is a warning', () => {
  const cgroup = { ...UNIFIED, swap: false };
  const added = planCgroup({ memory: { limit: MiB, swap: 2 * MiB } }, '/nsbox/x', { cgroup });
  assert.match(added.warnings[0] ?? '', /does not count swap/);
  assert.deepEqual(
    added.writes.map((w) => w.value),
    [String(MiB)],
  );
  assert.throws(
    () => planCgroup({ memory: { limit: MiB, swap: MiB } }, '/nsbox/x', { cgroup }),
    /does not count swap/,
  );
});

test('nonsense is refused with its place', () => {
  const code = (resources: SpecResources): unknown => {
    try {
      planCgroup(resources, '/nsbox/x', { cgroup: UNIFIED });
    } catch (error) {
      return (error as { path: string }).path;
    }
    return undefined;
  };
  assert.equal(code({ memory: { swap: 5 } }), 'linux.resources.memory.swap');
  assert.equal(code({ memory: { limit: 10, swap: 5 } }), 'linux.resources.memory.swap');
  assert.equal(code({ blockIO: { weight: 5 } }), 'linux.resources.blockIO.weight');
  assert.equal(code({ unified: { '../x.y': '1' } }), 'linux.resources.unified["../x.y"]');
  assert.equal(code({ unified: { 'cgroup.kill': '1' } }), 'linux.resources.unified["cgroup.kill"]');
  assert.equal(code({ cpu: { realtimeRuntime: 5 } }), 'linux.resources.cpu.realtimeRuntime');
  assert.equal(code({ cpu: { cpus: '2-9' } }), 'cpuset.cpus');
  assert.equal(code({ cpu: { mems: '0,1' } }), 'cpuset.mems');
  assert.equal(code({ cpu: { cpus: '0,2-3', mems: '0' } }), undefined);
  assert.throws(() => planCgroup({}, '/', { cgroup: UNIFIED }));
  assert.throws(() => cgroupPathFor('x', '/a/../b'), /may not contain/);
});

test('weights keep their proportions', () => {
  assert.equal(weightOfShares(1024), 100);
  assert.equal(weightOfShares(3072), 300);
  assert.equal(weightOfShares(2), 1);
  assert.equal(weightOfShares(262144), 10000);
  assert.equal(ioWeightOfBlkio(10), 1);
  assert.equal(ioWeightOfBlkio(1000), 10000);
});

test('bfq takes its own file and scale', () => {
  const bfq = { ...UNIFIED, ioWeight: 'io.bfq.weight' as const };
  assert.deepEqual(
    writes({ blockIO: { weight: 300, weightDevice: [{ major: 8, minor: 0, weight: 20 }] } }, bfq),
    {
      '/nsbox/x/io.bfq.weight': '8:0 20',
    },
  );
});

test('a privileged container needs no device program', () => {
  const plan = planCgroup({ devices: [{ allow: true, access: 'rwm' }] }, '/nsbox/x', modernHost());
  assert.equal(plan.devices, null);
  const confined = planCgroup({ devices: [{ allow: false, access: 'rwm' }] }, '/nsbox/x', modernHost());
  assert.equal(confined.devices?.how, 'bpf');
});

test('what is said of controllers: where they are, or why not and what to do', () => {
  const places = (facts: typeof UNIFIED): (string | undefined)[] =>
    controllerReport(facts).map((r) => r.place);
  assert.deepEqual(new Set(places(UNIFIED)), new Set(['/sys/fs/cgroup']));
  assert.equal(places(HYBRID)[0], '/sys/fs/cgroup/memory');
  const [memory] = controllerReport(BARE);
  assert.match(memory?.why ?? '', /bound to a cgroup v1 hierarchy that is not mounted here/);
  assert.match(memory?.remedy ?? '', /cgroup_no_v1=all/);
  assert.ok(controllerReport({ ...UNIFIED, writable: false }).every((r) => r.place === undefined));
});
