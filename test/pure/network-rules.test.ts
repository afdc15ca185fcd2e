import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bounds,
  contains,
  formatAddress,
  formatCidr,
  macFor,
  overlaps,
  parseAddress,
  parseCidr,
  toBytes,
  toNumber,
} from '../../src/network/address.js';
import { hostResolver, networkFiles, parseResolv, reachable } from '../../src/network/files.js';
import { NameTable, reverseAddress } from '../../src/network/names/table.js';
import { freeSubnet } from '../../src/network/pools.js';
import { needsRelay, networkElements, portElements, tableText, wholeTable } from '../../src/network/rules.js';
import type { NetworkRecord, NetworkSettings } from '../../src/network/types.js';

const network = (over: Partial<NetworkRecord> = {}): NetworkRecord => ({
  version: 1,
  id: 'a'.repeat(64),
  name: 'app',
  driver: 'bridge',
  created: '2026-01-01T00:00:00.000Z',
  subnets: [{ subnet: '10.1.0.0/16', gateway: '10.1.0.1' }],
  ipv6: false,
  internal: false,
  options: {},
  labels: {},
  dns: [],
  peers: [],
  device: 'ns-aa',
  builtin: false,
  ...over,
});

const settings = (over: Partial<NetworkSettings> = {}): NetworkSettings => ({
  version: 1,
  containerId: 'c'.repeat(64),
  containerName: 'web',
  hostname: 'web',
  mode: 'networks',
  endpoints: [
    {
      network: 'app',
      networkId: 'a'.repeat(64),
      driver: 'bridge',
      endpointId: 'e',
      interface: 'eth0',
      hostInterface: 'v0',
      mac: '02:42:0a:01:00:02',
      ipv4: { address: '10.1.0.2', prefix: 16, gateway: '10.1.0.1' },
      aliases: ['svc'],
      internal: false,
    },
  ],
  ports: [],
  exposed: [],
  extraHosts: [],
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  names: true,
  ...over,
});

test('addresses: bytes and numbers there and back, blocks contain and overlap', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.integer({ min: 0, max: 32 }),
      (bytes, prefix) => {
        assert.deepEqual(parseAddress(formatAddress(bytes)), bytes);
        assert.deepEqual(toBytes(toNumber(bytes), 4), bytes);
        const cidr = parseCidr(`${formatAddress(bytes)}/${prefix}`, true);
        const { first, last } = bounds(cidr);
        assert.ok(contains(cidr, bytes) && last - first + 1n === 1n << BigInt(32 - prefix));
      },
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      assert.deepEqual(parseAddress(formatAddress(bytes)), bytes);
    }),
  );
  assert.ok(overlaps(parseCidr('10.0.0.0/8'), parseCidr('10.2.0.0/16')));
  assert.ok(!overlaps(parseCidr('10.0.0.0/16'), parseCidr('10.1.0.0/16')));
  assert.throws(() => parseCidr('10.0.0.1/16'), /it should be 10\.0\.0\.0\/16/);
  assert.throws(() => parseCidr('10.0.0.0'), /invalid CIDR address/);
  assert.throws(() => parseAddress('300.1.1.1'), /invalid IP address/);
  assert.equal(macFor(parseAddress('172.29.0.2')), '02:42:ac:1d:00:02');
});

test('pools keep clear of what is in use and say when nothing is left', () => {
  assert.equal(freeSubnet([], true), '172.29.0.0/16');
  assert.equal(freeSubnet([]), '172.30.0.0/16');
  assert.equal(freeSubnet([parseCidr('172.16.0.0/12')]), '192.168.0.0/20');
  const all = ['172.16.0.0/12', '192.168.0.0/16', '10.0.0.0/8'].map((c) => parseCidr(c));
  assert.throws(() => freeSubnet(all), /every address pool is in use/);
  const used = [parseCidr('172.30.0.0/16')];
  for (let i = 0; i < 30; i++) {
    const next = parseCidr(freeSubnet(used));
    assert.ok(!used.some((u) => overlaps(u, next)), formatCidr(next));
    used.push(next);
  }
});

test('rules: what differs between networks and ports is elements', () => {
  const rules = (text: string) => text.split('\n').filter((l) => l.startsWith('add rule')).length;
  const one = wholeTable('t', [network()], []);
  const published = Array.from({ length: 50 }, (_, i) =>
    settings({ ports: [{ hostIp: '0.0.0.0', hostPort: 1000 + i, containerPort: 80, protocol: 'tcp' }] }),
  );
  assert.equal(rules(wholeTable('t', [network(), network({ device: 'ns-b' })], published)), rules(one));
  assert.equal(rules(tableText('t')), rules(one));
  assert.match(one, /^add table inet t\ndelete table inet t\nadd table inet t\n/);
  assert.match(networkElements('t', network(), 'add'), /masquerade4 \{ 10\.1\.0\.0\/16 \}/);
  assert.doesNotMatch(networkElements('t', network({ internal: true }), 'add'), /masquerade/);
  assert.match(
    networkElements('t', network({ internal: true }), 'delete'),
    /delete element inet t internal \{ "ns-aa" \}/,
  );
});

test('ports: any address or one, and who needs the relay', () => {
  const s = settings({
    ports: [
      { hostIp: '0.0.0.0', hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      { hostIp: '::', hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      { hostIp: '127.0.0.1', hostPort: 53, containerPort: 53, protocol: 'udp' },
    ],
  });
  assert.equal(
    portElements('t', s, 'add'),
    'add element inet t publish4any { tcp . 8080 : 10.1.0.2 . 80 }\nadd element inet t publish4 { 127.0.0.1 . udp . 53 : 10.1.0.2 . 53 }\n',
  );
  assert.deepEqual(
    s.ports.map((p) => needsRelay(s, p)),
    [false, true, false],
  );
});

test('names: on shared networks only, by name, alias and short id', () => {
  const other = settings({ containerId: 'd'.repeat(64), containerName: 'DB' });
  other.endpoints[0] = {
    ...other.endpoints[0]!,
    ipv4: { address: '10.1.0.3', prefix: 16 },
    aliases: ['svc'],
  };
  const far = settings({ containerId: 'f'.repeat(64), containerName: 'far' });
  far.endpoints[0] = {
    ...far.endpoints[0]!,
    networkId: 'b'.repeat(64),
    ipv4: { address: '10.2.0.3', prefix: 16 },
  };
  const table = new NameTable([settings(), other, far]);
  const web = table.asker('::ffff:10.1.0.2')!;
  assert.equal(web.containerName, 'web');
  assert.equal(table.asker('192.0.2.1'), undefined);
  assert.deepEqual(table.resolve(web, 'db'), ['10.1.0.3']);
  assert.deepEqual(table.resolve(web, 'd'.repeat(12)), ['10.1.0.3']);
  assert.deepEqual(table.resolve(web, 'SVC')?.sort(), ['10.1.0.2', '10.1.0.3']);
  assert.equal(table.resolve(web, 'far'), undefined);
  assert.equal(table.reverse(web, '10.1.0.3'), 'DB.app');
  assert.equal(reverseAddress('3.0.1.10.in-addr.arpa'), '10.1.0.3');
  assert.equal(reverseAddress('example.org'), undefined);
});

test('files: resolv.conf of hosts, stubs left out', () => {
  const parsed = parseResolv(
    '# x\nnameserver 127.0.0.53\nnameserver 9.9.9.9 # y\nsearch a b\noptions edns0\n',
  );
  assert.deepEqual(parsed, { all: ['127.0.0.53', '9.9.9.9'], search: ['a', 'b'], options: ['edns0'] });
  assert.deepEqual(reachable(parsed), ['9.9.9.9']);
  assert.deepEqual(reachable({ all: ['127.0.0.1'], search: [], options: [] }), ['8.8.8.8', '8.8.4.4']);
  assert.ok(Array.isArray(hostResolver().all));
  const files = networkFiles(settings({ dnsSearch: ['.'] }), undefined);
  assert.match(files.resolvConf, /^nameserver 10\.1\.0\.1\n/);
  assert.doesNotMatch(files.resolvConf, /search/);
  assert.match(files.hosts, /10\.1\.0\.2\tweb\n/);
});
