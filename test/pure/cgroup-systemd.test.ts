import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limitsOf, scopeFor, scopeGroup, scopeOfCgroupsPath, slicePath } from '../../src/cgroup/index.js';
import { scopeProperties } from '../../src/cgroup/systemd/properties.js';
import { decodeMessage, encodeMessage, TYPE, type Value, Variant } from '../../src/cgroup/systemd/wire.js';

const NONE = 2n ** 64n - 1n;

function properties(resources: Parameters<typeof limitsOf>[0]): Record<string, Value> {
  return Object.fromEntries(scopeProperties(limitsOf(resources)).map(([name, v]) => [name, v.value]));
}

test('limits become the properties of systemd.resource-control(5)', () => {
  assert.deepEqual(
    properties({
      memory: { limit: 67108864, swap: 100663296, reservation: 1048576 },
      cpu: { shares: 2048, quota: 50000, period: 100000, cpus: '0-2,9', mems: '0' },
      pids: { limit: 20 },
      unified: { 'memory.high': '1000', 'memory.oom.group': '1' },
    }),
    {
      MemoryMax: 67108864n,
      MemorySwapMax: 33554432n,
      MemoryLow: 1048576n,
      CPUWeight: 200n,
      CPUQuotaPerSecUSec: 500000n,
      CPUQuotaPeriodUSec: 100000n,
      AllowedCPUs: [7, 2],
      AllowedMemoryNodes: [1],
      TasksMax: 20n,
      MemoryHigh: 1000n,
    },
  );
});

test("no limit is systemd's infinity, and an odd quota is rounded up to its grain", () => {
  assert.deepEqual(
    properties({ memory: { limit: -1 }, pids: { limit: -1 }, cpu: { quota: -1, period: 100000 } }),
    {
      MemoryMax: NONE,
      TasksMax: NONE,
      CPUQuotaPerSecUSec: NONE,
      CPUQuotaPeriodUSec: 100000n,
    },
  );
  assert.equal(properties({ cpu: { quota: 33333, period: 100000 } })['CPUQuotaPerSecUSec'], 340000n);
});

test('block IO limits name devices by number', () => {
  const got = properties({
    blockIO: {
      weight: 500,
      throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }],
      throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 5 }],
    },
  });
  assert.deepEqual(got['IOReadBandwidthMax'], [['/dev/block/8:0', 1000n]]);
  assert.deepEqual(got['IOWriteIOPSMax'], [['/dev/block/8:16', 5n]]);
  assert.equal(typeof got['IOWeight'], 'bigint');
});

test('a slice lies in the slices that its name spells', () => {
  assert.equal(slicePath('machine.slice'), '/machine.slice');
  assert.equal(slicePath('a-b-c.slice'), '/a.slice/a-b.slice/a-b-c.slice');
  assert.equal(slicePath('-.slice'), '');
  for (const wrong of ['machine', '/machine.slice', 'a--b.slice', '-a.slice', '../x.slice', '.slice']) {
    assert.throws(() => slicePath(wrong), /invalid slice name/, wrong);
  }
});

test('a container of ours has a group of its own within its scope, an OCI container has the scope', () => {
  const name = scopeFor('abc');
  assert.equal(name.unit, 'nsbox-abc.scope');
  assert.equal(scopeGroup(name), '/machine.slice/nsbox-abc.scope/container');
  assert.equal(scopeGroup(scopeFor('abc', 'x-y.slice')), '/x.slice/x-y.slice/nsbox-abc.scope/container');
  const oci = scopeOfCgroupsPath('kubepods-besteffort.slice:cri-containerd:f00', 'ignored');
  assert.equal(scopeGroup(oci), '/kubepods.slice/kubepods-besteffort.slice/cri-containerd-f00.scope');
  assert.equal(scopeOfCgroupsPath(undefined, 'id').path, '/system.slice/nsbox-id.scope');
  assert.equal(scopeOfCgroupsPath(':libpod:id', 'id').path, '/system.slice/libpod-id.scope');
});

test("a cgroupsPath of another form is refused in runc's words", () => {
  for (const wrong of ['/system.slice/x', 'a.slice:b', 'a.slice:b:c:d', 'a.slice:b:']) {
    assert.throws(
      () => scopeOfCgroupsPath(wrong, 'x'),
      /of format "slice:prefix:name" for systemd cgroups, got/,
      wrong,
    );
  }
  assert.throws(() => scopeOfCgroupsPath('a.slice:b:c.slice', 'x'), /cannot be the slice/);
  assert.throws(() => scopeOfCgroupsPath('a.slice:b:c/d', 'x'), /is no name of a unit/);
});

test('a message read back is the message written, and a cut one is waited for', () => {
  const value = fc.oneof(
    fc.string({ maxLength: 300 }).map((s) => new Variant('s', s.replaceAll('\0', ''))),
    fc.bigInt({ min: 0n, max: NONE }).map((n) => new Variant('t', n)),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => new Variant('x', n)),
    fc.boolean().map((b) => new Variant('b', b)),
    fc.array(fc.integer({ min: 0, max: 255 })).map((a) => new Variant('ay', a)),
    fc
      .array(fc.tuple(fc.constant('/dev/block/8:0'), fc.bigInt({ min: 0n, max: NONE })))
      .map((a) => new Variant('a(st)', a as Value[])),
    fc.double({ noNaN: true }).map((d) => new Variant('d', d)),
  );
  const body = fc.array(fc.tuple(fc.constantFrom('MemoryMax', 'PIDs', 'Slice'), value));
  fc.assert(
    fc.property(body, fc.nat(), (list, cut) => {
      const message = {
        type: TYPE.call,
        serial: 7,
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.systemd1.Manager',
        member: 'StartTransientUnit',
        signature: 'ssa(sv)a(sa(sv))',
        body: ['x.scope', 'fail', list as Value[], []],
      };
      const bytes = encodeMessage(message);
      const back = decodeMessage(Buffer.concat([bytes, Buffer.from('next')]));
      assert.equal(back?.size, bytes.length);
      assert.deepEqual(back.message.body, message.body);
      assert.equal(back.message.member, 'StartTransientUnit');
      assert.equal(decodeMessage(bytes.subarray(0, cut % bytes.length)), undefined);
    }),
  );
});

test('bytes that are no message are an error, whatever they say of their size', () => {
  assert.throws(
    () => decodeMessage(Buffer.from('B\u0001\u0000\u0001aaaaaaaaaaaaaaaa', 'latin1')),
    RangeError,
  );
  const huge = Buffer.alloc(32, 0xff);
  huge[0] = 0x6c;
  huge[3] = 1;
  assert.throws(() => decodeMessage(huge), RangeError);
});
