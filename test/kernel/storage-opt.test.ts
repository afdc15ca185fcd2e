import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliRig } from '../support/cli.js';
import { checkQuota, noQuotas, QuotaDisk } from '../support/storage-quota.js';

for (const type of ['ext4', 'xfs'] as const) {
  test(`--storage-opt size= on ${type}: the layer is full at its size`, { skip: noQuotas(type) }, () =>
    checkQuota(type),
  );
}

test('--storage-opt size= without project quotas is refused with what would help', () => {
  using disk = new QuotaDisk('ext4', 'defaults');
  const r = disk.nsbox('run', '--network', 'none', '--storage-opt', 'size=8m', 'busybox', 'true');
  assert.equal(r.code, 125);
  // Where the kernel knows no quotas at all its answer is the same.
  assert.match(
    r.stderr,
    /cannot limit the container's writable layer to 8m: project quotas are not switched on for the ext4 filesystem of .*mount it with -o prjquota/,
  );
});

test('--storage-opt: an unknown option, a size that is none, and a container without a layer', async () => {
  await using rig = new CliRig('storage');
  for (const [option, message] of [
    ['siez=1g', /unknown storage option siez=1g/],
    ['size=much', /invalid size: 'much'/],
    ['size=0', /invalid storage option size=0/],
    ['size=1g', /--rootfs has none/],
  ] as const) {
    const r = await rig.run(['--storage-opt', option], 'true');
    assert.equal(r.code, 125);
    assert.match(r.stderr, message);
  }
});
