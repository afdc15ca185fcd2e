import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { makeContext } from '../../src/base/index.js';
import { parseFlags } from '../../src/cli/flags.js';
import { createFlags } from '../../src/cli/request/flags.js';
import { isIPv4, isIPv6 } from '../../src/cli/request/ip.js';
import { splitCsv } from '../../src/cli/request/lists.js';
import { parsePorts } from '../../src/cli/request/network.js';
import { type CreateInput, parseRequest } from '../../src/cli/request/request.js';
import { type ContainerRequest, emptyRequest } from '../../src/spec/index.js';

const dir = mkdtempSync(path.join(tmpdir(), 'nsbox-test-request-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const warnings: string[] = [];
const ctx = makeContext({ env: { FROM_HOST: 'yes' }, cwd: dir, warn: (m) => warnings.push(m) });

function parse(...argv: string[]): ContainerRequest {
  return parseRequest(parseFlags(createFlags, argv, { flagsFirst: true }) as unknown as CreateInput, ctx);
}

/** Flags before an image named `i`, and what they change in an empty request. */
const accepted: [string[], Partial<ContainerRequest>][] = [
  [[], {}],
  [
    ['-it', '--rm', '--init', '--read-only', '--privileged'],
    { interactive: true, tty: true, autoRemove: true, init: true, readonlyRootfs: true, privileged: true },
  ],
  [['--name', 'web'], { name: 'web' }],
  [
    ['-eA=1', '-e', 'B=x=y', '-e', 'FROM_HOST', '-e', 'NOT_SET', '-e', 'E='],
    { env: ['A=1', 'B=x=y', 'FROM_HOST=yes', 'E='] },
  ],
  [['-l', 'a=b', '-l', 'c', '--label', 'd=e=f'], { labels: { a: 'b', c: '', d: 'e=f' } }],
  [['--annotation', 'x.y=z'], { annotations: { 'x.y': 'z' } }],
  [['-w', '/a/../b'], { workdir: '/b' }],
  [
    ['-u', '1000:1000', '--group-add', 'video', '--group-add', '5'],
    { user: '1000:1000', groupAdd: ['video', '5'] },
  ],
  [['-h', 'box', '--domainname', 'example.org'], { hostname: 'box', domainname: 'example.org' }],
  [
    ['--health-cmd', 'true', '--health-interval', '1m30s', '--health-retries', '2'],
    { healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 90e9, Retries: 2 } },
  ],
  [
    ['--health-timeout', '300ms', '--health-start-period', '5s', '--health-start-interval', '0.5s'],
    { healthcheck: { Timeout: 3e8, StartPeriod: 5e9, StartInterval: 5e8 } },
  ],
  [['--health-cmd', '', '--health-interval', '0', '--health-retries', '0'], {}],
  [['--no-healthcheck'], { healthcheck: { Test: ['NONE'] } }],
  [['--entrypoint', '/bin/sh'], { entrypoint: ['/bin/sh'] }],
  [['--entrypoint', ''], { entrypoint: [] }],
  [
    ['-v', '/srv:/data'],
    { mounts: [{ type: 'bind', source: '/srv', target: '/data', readonly: false, createSource: true }] },
  ],
  [
    ['-v', '/srv/:/data/:ro,rslave'],
    {
      mounts: [
        {
          type: 'bind',
          source: '/srv/',
          target: '/data',
          readonly: true,
          createSource: true,
          propagation: 'rslave',
        },
      ],
    },
  ],
  [
    ['-v', './sub:/data'],
    {
      mounts: [
        { type: 'bind', source: path.join(dir, 'sub'), target: '/data', readonly: false, createSource: true },
      ],
    },
  ],
  [
    ['-v', 'vol:/data:nocopy'],
    {
      mounts: [
        { type: 'volume', source: 'vol', target: '/data', readonly: false, createSource: true, noCopy: true },
      ],
    },
  ],
  [['-v', '/data'], { mounts: [{ type: 'volume', target: '/data', readonly: false, createSource: true }] }],
  [
    ['--mount', 'type=bind,src=/a,dst=/b,readonly'],
    { mounts: [{ type: 'bind', source: '/a', target: '/b', readonly: true, createSource: false }] },
  ],
  [
    ['--mount', 'type=bind,"source=/a,b",target=/c,bind-propagation=shared,bind-recursive=disabled'],
    {
      mounts: [
        {
          type: 'bind',
          source: '/a,b',
          target: '/c',
          readonly: false,
          createSource: false,
          propagation: 'shared',
          nonRecursive: true,
        },
      ],
    },
  ],
  [
    ['--mount', 'source=vv,target=/d,volume-nocopy,volume-label=a=b'],
    {
      mounts: [
        {
          type: 'volume',
          source: 'vv',
          target: '/d',
          readonly: false,
          createSource: false,
          noCopy: true,
          volumeLabels: { a: 'b' },
        },
      ],
    },
  ],
  [
    ['--mount', 'type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770'],
    {
      mounts: [
        {
          type: 'tmpfs',
          target: '/t',
          readonly: false,
          createSource: false,
          tmpfs: { size: 67108864, mode: 0o1770 },
        },
      ],
    },
  ],
  [
    ['--tmpfs', '/run:size=1m,mode=755,noexec,uid=5'],
    {
      mounts: [
        {
          type: 'tmpfs',
          target: '/run',
          readonly: false,
          createSource: false,
          tmpfs: { size: 1048576, mode: 0o755, options: ['noexec', 'uid=5'] },
        },
      ],
    },
  ],
  [['--shm-size', '128m'], { shmSize: 134217728 }],
  [['--cap-add', 'NET_ADMIN', '--cap-drop', 'all'], { capAdd: ['NET_ADMIN'], capDrop: ['all'] }],
  [
    [
      '--security-opt',
      'seccomp=unconfined',
      '--security-opt',
      'no-new-privileges',
      '--security-opt',
      'seccomp=p.json',
    ],
    { securityOpt: ['seccomp=unconfined', 'no-new-privileges', `seccomp=${dir}/p.json`] },
  ],
  [
    ['--ulimit', 'nofile=1024:2048', '--ulimit', 'core=-1', '--ulimit', 'nproc=5'],
    {
      ulimits: [
        { name: 'nofile', soft: 1024, hard: 2048 },
        { name: 'core', soft: -1, hard: -1 },
        { name: 'nproc', soft: 5, hard: 5 },
      ],
    },
  ],
  [['--sysctl', 'net.core.somaxconn=1024'], { sysctls: { 'net.core.somaxconn': '1024' } }],
  [['--oom-score-adj', '-5'], { oomScoreAdj: -5 }],
  [
    [
      '--device',
      '/dev/fuse',
      '--device',
      '/dev/a:/dev/b',
      '--device',
      '/dev/a:r',
      '--device',
      '/dev/a:/dev/c:rw',
      '--device',
      'nvidia.com/gpu=0',
    ],
    {
      devices: [
        { source: '/dev/fuse', target: '/dev/fuse', permissions: 'rwm' },
        { source: '/dev/a', target: '/dev/b', permissions: 'rwm' },
        { source: '/dev/a', target: '/dev/a', permissions: 'r' },
        { source: '/dev/a', target: '/dev/c', permissions: 'rw' },
        { source: 'nvidia.com/gpu=0', target: 'nvidia.com/gpu=0', permissions: 'rwm' },
      ],
    },
  ],
  [['--device-cgroup-rule', 'c 1:* rmw'], { deviceCgroupRules: ['c 1:* rmw'] }],
  [
    ['--pid', 'host', '--ipc', 'container:x', '--uts', 'host', '--cgroupns', 'private', '--userns', 'host'],
    { namespaces: { pid: 'host', ipc: 'container:x', uts: 'host', cgroup: 'private', user: 'host' } },
  ],
  [['--network', 'none'], { networks: [{ network: 'none' }] }],
  [
    [
      '--network',
      'a',
      '--net',
      'b',
      '--network-alias',
      'x',
      '--ip',
      '10.0.0.5',
      '--mac-address',
      '92:D0:c6:0a:29:33',
    ],
    {
      networks: [
        { network: 'a', aliases: ['x'], ip: '10.0.0.5', mac: '92:d0:c6:0a:29:33' },
        { network: 'b' },
      ],
    },
  ],
  [
    ['--network', 'name=a,alias=x,alias=y,ip6=fd00::5'],
    { networks: [{ network: 'a', aliases: ['x', 'y'], ip6: 'fd00::5' }] },
  ],
  [['--ip', '172.29.0.9'], { networks: [{ network: 'bridge', ip: '172.29.0.9' }] }],
  [
    ['-p', '8080:80', '-p', '127.0.0.1:53:53/udp', '-p', '80', '-P'],
    {
      publishAll: true,
      ports: [
        { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
        { hostIp: '127.0.0.1', hostPort: 53, containerPort: 53, protocol: 'udp' },
        { containerPort: 80, protocol: 'tcp' },
      ],
    },
  ],
  [
    ['--expose', '80', '--expose', '53/udp', '--expose', '8000-8001'],
    { exposed: ['80/tcp', '53/udp', '8000/tcp', '8001/tcp'] },
  ],
  [
    ['--add-host', 'db:10.0.0.1', '--add-host', 'h=host-gateway', '--add-host', 'v6:fd00::1'],
    { extraHosts: ['db:10.0.0.1', 'h:host-gateway', 'v6:fd00::1'] },
  ],
  [
    ['--dns', '1.1.1.1', '--dns-search', 'example.org', '--dns-option', 'ndots:2', '--dns-opt', 'rotate'],
    { dns: ['1.1.1.1'], dnsSearch: ['example.org'], dnsOptions: ['ndots:2', 'rotate'] },
  ],
  [
    [
      '-m',
      '64m',
      '--memory-swap',
      '-1',
      '--cpus',
      '1.5',
      '--cpuset-cpus',
      '0-2,5',
      '--pids-limit',
      '100',
      '-c',
      '512',
    ],
    {
      resources: {
        memory: 67108864,
        memorySwap: -1,
        cpus: 1.5,
        cpusetCpus: '0-2,5',
        pidsLimit: 100,
        cpuShares: 512,
      },
    },
  ],
  [
    ['--device-read-bps', '/dev/sda:1mb', '--device-write-iops', '/dev/sda:10'],
    {
      resources: {
        deviceReadBps: [{ path: '/dev/sda', rate: 1048576 }],
        deviceWriteIops: [{ path: '/dev/sda', rate: 10 }],
      },
    },
  ],
  [['--stop-signal', 'int', '--stop-timeout', '3'], { stopSignal: 'SIGINT', stopTimeout: 3 }],
  [['--stop-signal', '15'], { stopSignal: 'SIGTERM' }],
  [['--stop-signal', 'RTMIN+3'], { stopSignal: 'SIGRTMIN+3' }],
  [['--restart', 'on-failure:3'], { restart: { name: 'on-failure', maximumRetryCount: 3 } }],
  [['--restart=always'], { restart: { name: 'always', maximumRetryCount: 0 } }],
  [['--log-driver', 'none'], { log: { driver: 'none', options: {} } }],
  [
    ['--log-opt', 'max-size=1m', '--log-opt', 'max-file=2'],
    { log: { driver: 'json-file', options: { 'max-size': '1m', 'max-file': '2' } } },
  ],
  [['--pull', 'never', '--platform', 'linux/arm64'], { pull: 'never', platform: 'linux/arm64' }],
  [['--gpus', 'all'], { gpus: 'all' }],
];

const refused: [string[], RegExp][] = [
  [['--link', 'a:b'], /^--link is not supported: join both containers/],
  [['--name', '-x'], /Invalid container name \(-x\)/],
  [['-e', '=x'], /invalid environment variable/],
  [['--env-file', 'nosuch'], /cannot read nosuch: no such file/],
  [['-w', 'rel'], /needs to be an absolute path/],
  [['-v', '/a:b'], /not an absolute path/],
  [['-v', 'vol:rel'], /must be absolute/],
  [['-v', '/a:/'], /destination can't be '\/'/],
  [['-v', ':/a'], /empty section/],
  [['-v', '/a:/b:rw,ro'], /invalid mode/],
  [['-v', '/a:/b:foo'], /invalid mode: foo/],
  [['-v', '/a:/b:ro:c'], /invalid volume specification/],
  [['-v', 'a/b:/c'], /includes invalid characters.*/],
  [['-v', 'vol:/a:rshared'], /is for bind mounts/],
  [['-v', '/a:/x', '--tmpfs', '/x'], /Duplicate mount point: \/x/],
  [['--mount', 'type=bind,target=/a'], /source is required/],
  [['--mount', 'type=bind,source=rel,target=/a'], /mount path must be absolute/],
  [['--mount', 'type=bind,source=/a'], /target is required/],
  [['--mount', 'type=npipe,target=/a'], /type must be/],
  [['--mount', 'type=bind,source=/a,target=/b,volume-nocopy'], /cannot mix 'volume-nocopy'/],
  [['--mount', 'foo=bar,target=/b'], /unexpected key 'foo'/],
  [['--mount', 'source="a,target=/b'], /quote/],
  [['--tmpfs', '/a:foo'], /invalid tmpfs option: foo/],
  [['-p', 'x'], /invalid container port: x/],
  [['-p', '1:2:3:4'], /expected \[IP:\]/],
  [['-p', '99999:80'], /invalid host port: 99999/],
  [['-p', '80:0'], /invalid container port: 0/],
  [['-p', '80:80/xyz'], /invalid protocol: xyz/],
  [['-p', '8000-8002:80-81'], /differ in length/],
  [['-p', 'a.b.c.d:80:80'], /not an IP address/],
  [['--ulimit', 'foo=1'], /invalid ulimit type: foo/],
  [['--ulimit', 'nofile=5:2'], /must be less than or equal/],
  [['--ulimit', 'nofile'], /invalid ulimit argument/],
  [['--device', 'rel'], /absolute path/],
  [['--device', '/dev/a:/dev/b:xyz'], /invalid device mode: xyz/],
  [['--sysctl', 'a'], /invalid sysctl/],
  [['--restart', 'sometimes'], /unknown policy 'sometimes'/],
  [['--restart', 'always:3'], /can only be used with 'on-failure'/],
  [['--restart', 'always', '--rm'], /cannot specify both --restart and --rm/],
  [['--security-opt', 'foo=bar'], /invalid --security-opt/],
  [['--pid', 'foo'], /--pid: invalid mode: foo/],
  [['--userns', 'keep-id'], /invalid USER mode/],
  [['--network', 'none', '--network', 'a'], /cannot be combined/],
  [['--network', 'host', '--ip', '10.0.0.1'], /no addresses/],
  [['--network', 'a', '--network', 'a'], /specified multiple times/],
  [['--network', 'container:x', '-h', 'y'], /--hostname and the network mode/],
  [['--ip', 'fd00::1'], /not an IPv4 address/],
  [['--add-host', 'x'], /bad format for add-host/],
  [['--add-host', 'x:y'], /invalid IP address in add-host/],
  [['--dns', 'x'], /not an ip address/],
  [['-m', '-5'], /must not be negative/],
  [['--cpus', '-1'], /must not be negative/],
  [['--cpuset-cpus', 'x'], /invalid value x for --cpuset-cpus/],
  [['--oom-score-adj', '1001'], /-1000 to 1000/],
  [['--stop-signal', 'FOO'], /invalid signal: FOO/],
  [['--log-driver', 'syslog'], /no logging driver 'syslog'/],
  [['--log-opt', 'foo=1'], /unknown log opt 'foo' for json-file/],
  [['--pull', 'maybe'], /must be one of/],
  [['--no-healthcheck', '--health-cmd', 'x'], /^--no-healthcheck conflicts with --health-\* options$/],
  [['--health-interval', '-1s'], /^--health-interval cannot be negative$/],
  [['--health-timeout', '-1s'], /^--health-timeout cannot be negative$/],
  [['--health-start-period', '-1s'], /^--health-start-period cannot be negative$/],
  [['--health-start-interval', '-1s'], /^--health-start-interval cannot be negative$/],
  [['--health-retries', '-1'], /^--health-retries cannot be negative$/],
  [
    ['--health-interval', '5'],
    /^invalid argument "5" for "--health-interval" flag: time: missing unit in duration "5"$/,
  ],
  [['--health-timeout', 'soon'], /flag: time: invalid duration "soon"$/],
];

describe('run and create', () => {
  for (const [argv, changes] of accepted) {
    it(`takes ${argv.join(' ') || 'nothing'}`, () => {
      const request = parse(...argv, 'i', 'sh', '-c', 'x');
      const expected = { ...emptyRequest(), image: 'i', command: ['sh', '-c', 'x'], ...changes };
      assert.deepEqual(JSON.parse(JSON.stringify(request)), JSON.parse(JSON.stringify(expected)));
    });
  }
  for (const [argv, message] of refused) {
    it(`refuses ${argv.join(' ')}`, () => {
      assert.throws(
        () => parse(...argv, 'i'),
        (error: Error & { exitCode: number; hint?: string }) => {
          assert.match(error.message, message);
          assert.equal(error.exitCode, 125);
          return true;
        },
      );
    });
  }

  it('reads env and label files', () => {
    writeFileSync(path.join(dir, 'env'), '\ufeff# comment\n\nA=1\n  B=two words\nFROM_HOST\nNOT_SET\nC=\r\n');
    assert.deepEqual(parse('--env-file', 'env', '-eA=2', 'i').env, [
      'A=1',
      'B=two words',
      'FROM_HOST=yes',
      'C=',
      'A=2',
    ]);
    assert.deepEqual(parse('--label-file', 'env', '-l', 'A=9', 'i').labels, {
      A: '9',
      B: 'two words',
      FROM_HOST: '',
      NOT_SET: '',
      C: '',
    });
    writeFileSync(path.join(dir, 'bad'), 'A=1\nx y=2\n');
    assert.throws(() => parse('--env-file', 'bad', 'i'), /bad, line 2: variable "x y" contains whitespace/);
    writeFileSync(path.join(dir, 'bad2'), '=2\n');
    assert.throws(() => parse('--env-file', 'bad2', 'i'), /line 1: no variable name/);
    writeFileSync(path.join(dir, 'binary'), Buffer.from([0xff, 0xfe, 0]));
    assert.throws(() => parse('--env-file', 'binary', 'i'), /not UTF-8/);
  });

  it('takes a directory as root filesystem', () => {
    const request = parse('--rootfs', 'root', 'sh');
    assert.equal(request.rootfs, path.join(dir, 'root'));
    assert.equal(request.image, undefined);
  });

  it('warns about what has no effect', () => {
    warnings.length = 0;
    parse('-v', '/a:/b:z', 'i');
    assert.match(warnings.join(), /no SELinux support/);
  });
});

describe('grammars, by property', () => {
  const port = fc.integer({ min: 1, max: 65000 });
  it('a port mapping is what it was written from', () => {
    fc.assert(
      fc.property(
        port,
        port,
        fc.nat(20),
        fc.constantFrom('tcp', 'udp', 'sctp'),
        fc.constantFrom('', '127.0.0.1:', '[::1]:'),
        (h, c, n, protocol, ip) => {
          const ports = parsePorts(`${ip}${h}-${h + n}:${c}-${c + n}/${protocol}`);
          assert.equal(ports.length, n + 1);
          assert.deepEqual(ports[n], {
            ...(ip === '' ? {} : { hostIp: ip.replace(/[[\]]|:$/g, '') }),
            hostPort: h + n,
            containerPort: c + n,
            protocol,
          });
        },
      ),
    );
  });
  it('addresses are those that node:net takes', () => {
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string({ unit: fc.constantFrom(...'0123456789abf:.'), maxLength: 20 }),
    );
    fc.assert(
      fc.property(text, (t) => {
        assert.equal(isIPv4(t), net.isIPv4(t), t);
        assert.equal(isIPv6(t), net.isIPv6(t), t);
      }),
      { numRuns: 2000 },
    );
  });
  it('CSV fields survive quoting', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1 }), (fields) => {
        const line = fields.map((f) => `"${f.replaceAll('"', '""')}"`).join(',');
        assert.deepEqual(splitCsv(line), fields);
      }),
    );
  });
  it('never fail with anything but an error for people', () => {
    const flag = fc.constantFrom(
      '-v',
      '--mount',
      '-p',
      '--ulimit',
      '--device',
      '--tmpfs',
      '--network',
      '--add-host',
      '--restart',
      '--security-opt',
      '-m',
      '--expose',
    );
    fc.assert(
      fc.property(
        flag,
        fc.string({ unit: fc.constantFrom(...':/=,-."[]aro01k '), maxLength: 20 }),
        (name, text) => {
          try {
            parse(name, text, 'i');
          } catch (error) {
            assert.ok(
              ['InvalidError', 'UnsupportedError', 'NsboxError'].includes((error as Error).name),
              String(error),
            );
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
