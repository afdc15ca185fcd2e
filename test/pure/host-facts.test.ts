import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  atLeast,
  type CgroupSources,
  capabilityNames,
  cgroupFacts,
  idFacts,
  parseMountinfo,
  parseRelease,
} from '../../src/host/index.js';

function sources(parts: Partial<CgroupSources> & { files?: Record<string, string> }): CgroupSources {
  const files = parts.files ?? {};
  return {
    mountinfo: '',
    self: '0::/',
    cgroups: '',
    read: (file) => files[file],
    exists: (file) => file in files,
    schedulers: () => [],
    ...parts,
  };
}

test('mountinfo: escapes, optional fields, types', () => {
  const [m] = parseMountinfo(
    '36 35 98:0 /a\\040b /mnt\\0401 rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue',
  );
  assert.deepEqual(m, {
    root: '/a b',
    target: '/mnt 1',
    options: ['rw', 'noatime'],
    type: 'ext4',
    source: '/dev/root',
    superOptions: ['rw', 'errors=continue'],
  });
});

test('a systemd host with cgroup2 alone', () => {
  const facts = cgroupFacts(
    sources({
      mountinfo: '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate',
      self: '0::/user.slice/session-1.scope',
      cgroups: '#subsys_name hierarchy num enabled\ncpu 0 5 1\nmemory 0 5 0\nblkio 0 1 1',
      files: {
        '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids',
        '/run/systemd/system': '',
        '/run/systemd/private': '',
      },
    }),
  );
  assert.equal(facts.mode, 'unified');
  assert.deepEqual(facts.controllers, ['cpuset', 'cpu', 'io', 'pids']);
  assert.equal(facts.own.unified, '/user.slice/session-1.scope');
  assert.deepEqual(facts.disabled, ['memory']);
  assert.deepEqual(facts.boundToV1, []);
  assert.ok(facts.realRoot && facts.systemd && facts.writable);
});

test('a hybrid host with cpu and cpuacct on one mount', () => {
  const facts = cgroupFacts(
    sources({
      mountinfo: [
        '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw',
        '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
        '33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
        '34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      ].join('\n'),
      self: '2:name=systemd:/\n1:cpu,cpuacct:/outer\n0::/',
      cgroups: 'cpu 1 5 1\ncpuacct 1 5 1\nmemory 4 1 1',
    }),
  );
  assert.equal(facts.mode, 'hybrid');
  assert.deepEqual(facts.v1, { cpu: '/sys/fs/cgroup/cpu,cpuacct', cpuacct: '/sys/fs/cgroup/cpu,cpuacct' });
  assert.equal(facts.own.v1['cpu'], '/outer');
  assert.deepEqual(facts.boundToV1, ['cpu', 'cpuacct', 'memory']);
});

test('inside a container: the root is a group of the outer tree', () => {
  const facts = cgroupFacts(
    sources({
      mountinfo: '30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw',
      self: '0::/docker/abc/inner',
      files: {
        '/sys/fs/cgroup/cgroup.controllers': 'cpu memory',
        '/sys/fs/cgroup/cgroup.type': 'domain threaded',
      },
    }),
  );
  assert.equal(facts.realRoot, false);
  assert.equal(facts.type, 'domain threaded');
  assert.equal(facts.writable, false);
  assert.equal(facts.own.unified, '/inner');
});

test('nothing mounted', () => {
  assert.equal(cgroupFacts(sources({})).mode, 'none');
});

test('where a weight for block IO goes', () => {
  const mountinfo = '30 23 0:26 / /cg rw - cgroup2 cgroup2 rw';
  const files = { '/cg/cgroup.controllers': 'io' };
  const file = (more: Record<string, string>, schedulers: string[]): unknown =>
    cgroupFacts(sources({ mountinfo, files: { ...files, ...more }, schedulers: () => schedulers })).ioWeight;
  assert.equal(file({}, ['[none] mq-deadline']), null);
  assert.equal(file({}, ['[none] bfq']), 'io.bfq.weight');
  assert.equal(file({ '/cg/io.cost.qos': '' }, ['[none] bfq']), 'io.weight');
  assert.equal(file({ '/cg/io.cost.qos': '' }, ['none [bfq]']), 'io.bfq.weight');
});

test('id ranges: all ids, a narrow namespace, and subuid entries in the way', () => {
  const all = '         0          0 4294967295';
  const wide = idFacts({
    uidMap: all,
    gidMap: all,
    subuid: 'me:100000:65536\nyou:1073807360:65536',
    subgid: '',
  });
  assert.equal(wide.ranges.start, 0x40000000);
  assert.equal(wide.ranges.count, 16384);
  assert.deepEqual(wide.taken, [{ by: 'you', start: 1073807360, size: 65536 }]);
  const narrow = '0 1000000000 65536';
  assert.equal(idFacts({ uidMap: narrow, gidMap: narrow, subuid: '', subgid: '' }).ranges.count, 0);
  const nested = '0 1000000000 196608';
  assert.deepEqual(idFacts({ uidMap: nested, gidMap: nested, subuid: '', subgid: '' }).ranges, {
    start: 65536,
    size: 65536,
    count: 2,
  });
});

test('kernel versions and capability masks', () => {
  assert.deepEqual(parseRelease('6.1.0-13-cloud-amd64'), [6, 1, 0]);
  assert.deepEqual(parseRelease('5.15-custom'), [5, 15, 0]);
  assert.ok(atLeast([6, 1, 0], 5, 19));
  assert.ok(!atLeast([5, 4, 0], 5, 19));
  assert.deepEqual(capabilityNames('0000000000000003'), ['CHOWN', 'DAC_OVERRIDE']);
});
