import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  buildSpec,
  type ContainerRequest,
  DEFAULT_CAPABILITIES,
  effectiveCapabilities,
  emptyRequest,
  type ImageConfig,
  needsHostIds,
  parseSecurityOptions,
  parseSpec,
  processArgs,
  resolveUser,
  resourcesFromRequest,
  type SpecInput,
  stringifyJson,
  systemPaths,
} from '../../src/spec/index.js';

const host = {
  capabilities: { bounding: DEFAULT_CAPABILITIES.concat('CAP_SYS_ADMIN', 'CAP_NET_ADMIN') },
  lsm: { selinux: false, apparmor: false },
  features: { mountSetattr: { have: true } },
};

const image: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  config: { Env: ['PATH=/bin', 'A=image'], Entrypoint: ['/entry'], Cmd: ['default'], WorkingDir: '/srv' },
  rootfs: { type: 'layers', diff_ids: [] },
};

function request(change: Partial<ContainerRequest> = {}): ContainerRequest {
  return { ...emptyRequest(), image: 'x', command: ['sh'], ...change };
}

function input(change: Partial<ContainerRequest> = {}, rest: Partial<SpecInput> = {}): SpecInput {
  return {
    request: request(change),
    rootfs: '/rootfs',
    id: 'c1',
    hostname: 'c1',
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    idRange: { start: 100000, size: 65536 },
    cgroupsPath: '/nsbox/c1',
    mounts: [],
    host,
    ...rest,
  };
}

test('what is built is a valid document of the standard, with no field it does not know', async () => {
  const spec = buildSpec(
    input(
      {
        ulimits: [{ name: 'core', soft: -1, hard: -1 }],
        resources: { memory: 2 ** 26, cpus: 1.5, pidsLimit: 10 },
        mounts: [],
        oomScoreAdj: 100,
      },
      { image, mounts: [{ type: 'bind', source: '/h', target: '/c', readonly: true }] },
    ),
  );
  const { unknown, value } = await parseSpec(stringifyJson(spec));
  assert.deepEqual(unknown, []);
  assert.deepEqual(JSON.parse(stringifyJson(value)), JSON.parse(stringifyJson(spec)));
});

test('the default: own namespaces and ids, default capabilities, masked and read-only paths', () => {
  const spec = buildSpec(input());
  assert.deepEqual(
    spec.linux?.namespaces?.map((n) => n.type),
    ['mount', 'pid', 'network', 'ipc', 'uts', 'cgroup', 'user'],
  );
  assert.deepEqual(spec.linux?.uidMappings, [{ containerID: 0, hostID: 100000, size: 65536 }]);
  assert.deepEqual(
    [...(spec.process?.capabilities?.effective ?? [])].sort(),
    [...DEFAULT_CAPABILITIES].sort(),
  );
  assert.deepEqual(spec.process?.capabilities?.ambient, []);
  assert.equal(spec.process?.noNewPrivileges, true);
  assert.ok(spec.linux?.maskedPaths?.includes('/proc/kcore'));
  assert.ok(spec.linux?.readonlyPaths?.includes('/proc/sys'));
  assert.deepEqual(
    spec.mounts?.map((m) => m.destination),
    ['/proc', '/dev', '/dev/pts', '/sys', '/sys/fs/cgroup', '/dev/mqueue', '/dev/shm'],
  );
  assert.ok(spec.mounts?.find((m) => m.destination === '/sys')?.options?.includes('ro'));
  assert.equal(spec.linux?.sysctl?.['net.ipv4.ping_group_range'], '0 65535');
  assert.equal(spec.linux?.resources?.devices?.[0]?.allow, false);
  assert.equal(spec.hostname, 'c1');
});

test('a user other than root has no effective capabilities', () => {
  const spec = buildSpec(
    input({}, { user: { uid: 1000, gid: 1000, additionalGids: [1000], home: '/home/u' } }),
  );
  assert.deepEqual(spec.process?.capabilities?.effective, []);
  assert.equal(spec.process?.capabilities?.bounding?.length, DEFAULT_CAPABILITIES.length);
});

test('--privileged opens everything', () => {
  const spec = buildSpec(input({ privileged: true }, { idRange: undefined }));
  assert.deepEqual(spec.linux?.maskedPaths, []);
  assert.deepEqual(spec.linux?.readonlyPaths, []);
  assert.equal(spec.process?.noNewPrivileges, false);
  assert.ok(spec.process?.capabilities?.effective?.includes('CAP_SYS_ADMIN'));
  assert.deepEqual(spec.linux?.resources?.devices, [{ allow: true, access: 'rwm' }]);
  assert.ok(spec.mounts?.find((m) => m.destination === '/sys')?.options?.includes('rw'));
  assert.equal(spec.linux?.seccomp, undefined);
  assert.match(needsHostIds(request({ privileged: true })) ?? '', /privileged/);
  assert.equal(needsHostIds(request()), undefined);
});

test('the environment: defaults, image, request, HOME; an entry without = takes one away', () => {
  const env = (change: Partial<ContainerRequest>) => buildSpec(input(change, { image })).process?.env;
  assert.deepEqual(env({}), ['PATH=/bin', 'HOSTNAME=c1', 'A=image', 'HOME=/root']);
  assert.deepEqual(env({ tty: true, env: ['A=mine', 'B=', 'HOSTNAME'] }), [
    'PATH=/bin',
    'TERM=xterm',
    'A=mine',
    'B=',
    'HOME=/root',
  ]);
  assert.deepEqual(
    env({ env: ['HOME=/x'] })?.filter((e) => e.startsWith('HOME')),
    ['HOME=/x'],
  );
});

test('entrypoint and command combine as in Docker', () => {
  const args = (change: Partial<ContainerRequest>, config?: ImageConfig) =>
    processArgs(request(change), config);
  assert.deepEqual(args({ command: [] }, image), ['/entry', 'default']);
  assert.deepEqual(args({ command: ['x', 'y'] }, image), ['/entry', 'x', 'y']);
  assert.deepEqual(args({ command: [], entrypoint: ['/mine'] }, image), ['/mine']);
  assert.deepEqual(args({ command: ['a'], entrypoint: [''] }, image), ['a']);
  assert.throws(() => args({ command: [], entrypoint: [] }, image), /no command specified/);
  assert.throws(() => args({ command: [] }), /no command specified/);
});

test('own mounts replace defaults, and a mount at /dev all below it', () => {
  const spec = buildSpec(
    input(
      {},
      {
        mounts: [
          { type: 'bind', source: '/h/deep', target: '/data/sub/', readonly: true },
          { type: 'bind', source: '/h', target: '/data', propagation: 'rshared', nonRecursive: true },
          { type: 'tmpfs', target: '/dev/shm', tmpfs: { size: 1024, mode: 0o700, options: ['exec'] } },
        ],
      },
    ),
  );
  const tail = spec.mounts?.slice(-3);
  assert.deepEqual(
    tail?.map((m) => m.destination),
    ['/data', '/data/sub', '/dev/shm'],
  );
  assert.deepEqual(tail?.[0]?.options, ['bind', 'rshared']);
  assert.deepEqual(tail?.[2]?.options, ['nosuid', 'nodev', 'exec', 'size=1024', 'mode=700', 'rw']);
  assert.deepEqual(tail?.[1]?.options, ['rbind', 'rro', 'rprivate']);
  assert.equal(spec.linux?.rootfsPropagation, 'shared');
  const dev = buildSpec(input({}, { mounts: [{ type: 'bind', source: '/dev', target: '/dev' }] }));
  assert.deepEqual(
    dev.mounts?.map((m) => m.destination),
    ['/proc', '/sys', '/sys/fs/cgroup', '/dev'],
  );
  for (const [target, pattern] of [
    ['data', /must be absolute/],
    ['/', /cover the root/],
    ['/x/..', /cover the root/],
  ] as const) {
    assert.throws(() => buildSpec(input({}, { mounts: [{ type: 'bind', source: '/h', target }] })), pattern);
  }
  assert.throws(
    () =>
      buildSpec(
        input(
          {},
          {
            mounts: [
              { type: 'bind', source: '/a', target: '/x' },
              { type: 'tmpfs', target: '/x/' },
            ],
          },
        ),
      ),
    /Duplicate mount point: \/x/,
  );
});

test("sharing the host's namespaces, and another container's", () => {
  const hostNet = buildSpec(input({ networks: [{ network: 'host' }] }, { idRange: undefined }));
  assert.equal(
    hostNet.linux?.namespaces?.some((n) => n.type === 'network'),
    false,
  );
  assert.deepEqual(hostNet.linux?.sysctl, {});
  const joined = buildSpec(
    input({ namespaces: { pid: 'container:x' } }, { join: { pid: '/proc/7/ns/pid' } }),
  );
  assert.equal(joined.linux?.namespaces?.find((n) => n.type === 'pid')?.path, '/proc/7/ns/pid');
  const utsHost = { namespaces: { uts: 'host' } };
  assert.equal(buildSpec(input(utsHost)).hostname, undefined);
  assert.throws(
    () => buildSpec(input({ ...utsHost, hostname: 'x' })),
    /conflicting options: hostname and the UTS mode/,
  );
});

test('sysctls outside the container are refused by name', () => {
  const sysctl =
    (name: string, change: Partial<ContainerRequest> = {}) =>
    () =>
      buildSpec(input({ sysctls: { [name]: '1' }, ...change }));
  assert.doesNotThrow(sysctl('net.ipv4.ip_forward'));
  assert.doesNotThrow(sysctl('net/ipv4/conf/eth0.1/forwarding'));
  assert.doesNotThrow(sysctl('kernel.shm_rmid_forced'));
  assert.throws(sysctl('vm.swappiness'), /sysctl "vm.swappiness" is not allowed: it is not separate/);
  assert.throws(sysctl('kernel.msgmax', { namespaces: { ipc: 'host' } }), /IPC namespace/);
  assert.throws(sysctl('net.ipv4.ip_forward', { networks: [{ network: 'host' }] }), /network namespace/);
});

test('users and groups by the image', () => {
  const files: Record<string, string> = {
    '/etc/passwd':
      'root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n# comment\n1234:x:7:7::/odd:\n',
    '/etc/group': 'root:x:0:\nwww:x:34:\ndata:x:50:web,other\nmore:x:51:web\n',
  };
  const read = (p: string) => files[p];
  assert.deepEqual(resolveUser('', [], read), {
    uid: 0,
    gid: 0,
    additionalGids: [0],
    home: '/root',
    name: 'root',
  });
  assert.deepEqual(resolveUser('web', [], read), {
    uid: 33,
    gid: 34,
    additionalGids: [34, 50, 51],
    home: '/var/www',
    name: 'web',
  });
  assert.deepEqual(resolveUser('web:data', ['more', '99'], read), {
    uid: 33,
    gid: 50,
    additionalGids: [50, 51, 99],
    home: '/var/www',
    name: 'web',
  });
  assert.deepEqual(resolveUser('500', [], read), {
    uid: 500,
    gid: 0,
    additionalGids: [0],
    home: '/',
    name: undefined,
  });
  assert.equal(resolveUser('1234', [], read).uid, 7);
  assert.equal(resolveUser('33', [], read).name, 'web');
  assert.deepEqual(
    resolveUser('5:6', [], () => undefined),
    { uid: 5, gid: 6, additionalGids: [6], home: '/', name: undefined },
  );
  assert.throws(
    () => resolveUser('ghost', [], read),
    /unable to find user ghost: no matching entries in passwd file/,
  );
  assert.throws(() => resolveUser('web:ghosts', [], read), /unable to find group ghosts/);
  assert.throws(() => resolveUser('4294967295', [], read), /range 0-2147483647/);
});

test('capabilities added and dropped', () => {
  const caps = (capAdd: string[], capDrop: string[]) =>
    effectiveCapabilities({ capAdd, capDrop, privileged: false }, host.capabilities.bounding);
  assert.deepEqual(caps([], ['ALL']), []);
  assert.deepEqual(caps(['net_admin'], ['ALL']), ['CAP_NET_ADMIN']);
  assert.ok(!caps([], ['CAP_CHOWN']).includes('CAP_CHOWN'));
  assert.deepEqual(caps(['ALL'], ['SYS_ADMIN']).includes('CAP_SYS_ADMIN'), false);
  assert.throws(() => caps(['SYS_MAGIC'], []), /invalid --cap-add: unknown capability: "CAP_SYS_MAGIC"/);
});

test('security options', () => {
  const parsed = parseSecurityOptions(
    ['no-new-privileges=false', 'seccomp:unconfined', 'unmask=/proc/acpi:/sys/*', 'mask=/proc/meminfo'],
    false,
  );
  assert.equal(parsed.noNewPrivileges, false);
  assert.equal(parsed.seccomp, 'unconfined');
  const paths = systemPaths(parsed);
  assert.equal(paths.masked.includes('/proc/acpi'), false);
  assert.equal(
    paths.masked.some((p) => p.startsWith('/sys/')),
    false,
  );
  assert.ok(paths.masked.includes('/proc/meminfo'));
  assert.deepEqual(systemPaths(parseSecurityOptions(['systempaths=unconfined'], false)), {
    masked: [],
    readonly: [],
  });
  for (const bad of ['nonsense', 'seccomp', 'no-new-privileges=perhaps', 'mask=x']) {
    assert.throws(() => parseSecurityOptions([bad], false), /Invalid --security-opt/);
  }
  assert.throws(() => buildSpec(input({ securityOpt: ['label=type:x'] })), /no SELinux/);
});

test("limits in Docker's units", () => {
  const none = () => ({ major: 8, minor: 0 });
  assert.deepEqual(resourcesFromRequest({ memory: 2 ** 30 }, none).memory, { limit: 2 ** 30, swap: 2 ** 31 });
  assert.deepEqual(resourcesFromRequest({ memory: 2 ** 30, memorySwap: -1 }, none).memory, {
    limit: 2 ** 30,
    swap: -1,
  });
  assert.deepEqual(resourcesFromRequest({ cpus: 0.5 }, none).cpu, { period: 100000, quota: 50000 });
  assert.deepEqual(resourcesFromRequest({ pidsLimit: -1 }, none), {});
  assert.deepEqual(
    resourcesFromRequest({ deviceReadBps: [{ path: '/dev/sda', rate: 1 }] }, none).blockIO
      ?.throttleReadBpsDevice,
    [{ major: 8, minor: 0, rate: 1 }],
  );
  for (const [bad, pattern] of [
    [{ memory: 1000 }, /6MB/],
    [{ memorySwap: 2 ** 30 }, /always set the memory limit/],
    [{ memory: 2 ** 30, memorySwap: 2 ** 29 }, /larger than memory limit/],
    [{ cpus: 1, cpuQuota: 5000 }, /Conflicting options/],
    [{ cpuPeriod: 10 }, /CPU cfs period/],
    [{ blkioWeight: 5 }, /blkio weight/],
    [{ memory: 2 ** 26, memoryReservation: 2 ** 27 }, /reservation/],
  ] as const) {
    assert.throws(() => resourcesFromRequest(bad, none), pattern);
  }
});
