import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CliRig } from './cli.js';

/**
 * Each flag of the command line that is a limit, read back from the kernel's file, at the start and after an update.
 * For a host whose controllers are all cgroup2's, and that has the block device /dev/vda: the test VM.
 */
const CGROUP = '/sys/fs/cgroup';
const MiB = 1024 ** 2;
const DISK = '254:0';

/** `--cgroup-conf FILE=VALUE` for each. */
const files = (values: Record<string, string>): string[] =>
  Object.entries(values).flatMap(([file, value]) => ['--cgroup-conf', `${file}=${value}`]);

function check(group: string, expected: Record<string, string | RegExp>, when: string): void {
  for (const [file, value] of Object.entries(expected)) {
    const text = readFileSync(path.join(group, file), 'latin1').trim();
    if (typeof value === 'string') assert.equal(text, value, `${file} ${when}`);
    else assert.match(text, value, `${file} ${when}`);
  }
}

export async function checkFlags(): Promise<void> {
  await using rig = new CliRig('flags');
  const id = await rig.start(
    [
      ...['--name', 'flags', '-m', '96m', '--memory-reservation', '32m', '--memory-swap', '160m'],
      ...['--cpus', '0.5', '--cpu-shares', '2048', '--cpuset-cpus', '1', '--cpuset-mems', '0'],
      ...['--pids-limit', '50', '--blkio-weight', '300'],
      ...['--device-read-bps', '/dev/vda:1mb', '--device-write-iops', '/dev/vda:200'],
      ...files({
        'memory.high': '64M',
        'memory.min': '1048576',
        'memory.oom.group': '1',
        'cpu.max.burst': '10000',
        'hugetlb.2MB.max': '4194304',
      }),
    ],
    'sleep',
    '1000',
  );
  const group = path.join(CGROUP, 'nsbox', id);
  // Where a disk's scheduler is bfq the weight is its, from 1 to 1000 as Docker's; elsewhere iocost's, from 1 to 10000.
  const bfq = readFileSync('/sys/block/vda/queue/scheduler', 'latin1').includes('[bfq]');
  const weight = bfq ? 'io.bfq.weight' : 'io.weight';
  const weightOf = (docker: string, v2: string): string => `default ${bfq ? docker : v2}`;
  check(
    group,
    {
      'memory.max': String(96 * MiB),
      'memory.low': String(32 * MiB),
      'memory.swap.max': String(64 * MiB),
      'memory.high': String(64 * MiB),
      'memory.min': String(MiB),
      'memory.oom.group': '1',
      'cpu.max': '50000 100000',
      'cpu.weight': '200',
      'cpu.max.burst': '10000',
      'cpuset.cpus': '1',
      'cpuset.mems': '0',
      'pids.max': '50',
      [weight]: weightOf('300', '2930'),
      'io.max': `${DISK} rbps=${MiB} wbps=max riops=max wiops=200`,
      'hugetlb.2MB.max': '4194304',
      'hugetlb.2MB.rsvd.max': 'max',
    },
    'at the start',
  );
  await rig.ok(
    'update',
    ...['-m', '128m', '--memory-reservation', '16m', '--memory-swap', '128m'],
    ...['--cpus', '0.25', '--cpuset-cpus', '0', '--pids-limit', '-1', '--blkio-weight', '500'],
    ...['--cgroup-conf', 'memory.high=max', '--cgroup-conf', 'cpu.idle=1'],
    'flags',
  );
  check(
    group,
    {
      'memory.max': String(128 * MiB),
      'memory.low': String(16 * MiB),
      'memory.swap.max': '0',
      'memory.high': 'max',
      'memory.min': String(MiB),
      'cpu.max': '25000 100000',
      'cpu.idle': '1',
      'cpuset.cpus': '0',
      'pids.max': 'max',
      [weight]: weightOf('500', '4950'),
      'io.max': new RegExp(`^${DISK} rbps=${MiB} `),
    },
    'after the update',
  );
  // A refusal of the kernel's names file, value and reason, and leaves nothing.
  const refused = await rig.run(['--name', 'rdma', ...files({ 'rdma.max': 'mlx5_0 hca_handle=2' })], 'true');
  assert.equal(refused.code, 125, refused.stderr);
  assert.match(refused.stderr, /mlx5_0 hca_handle=2.*rdma\.max.*[Nn]o such device/);
  await rig.ok('rm', '-f', 'flags');
  assert.deepEqual(
    readdirSync(path.join(CGROUP, 'nsbox')).filter((n) => /^[0-9a-f]{64}$/.test(n)),
    [],
    'groups are left',
  );
}
