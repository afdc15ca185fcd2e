import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { packageRoot } from '../../src/base/index.js';
import {
  capabilityMask,
  encodePlan,
  explainJson,
  explainText,
  listMask,
  type PlanInput,
  plan,
  planExec,
  sysctlPath,
} from '../../src/plan/index.js';
import { buildSpec, emptyRequest, type Spec } from '../../src/spec/index.js';
import { LEGACY, modernHost, UNIFIED } from '../support/hosts.js';

const ID = 'c0ffee'.padEnd(64, '0');

function spec(change: (s: Spec) => void = () => {}): Spec {
  const s = buildSpec({
    request: { ...emptyRequest(), command: ['/bin/sh', '-c', 'echo hi'] },
    rootfs: '/var/lib/nsbox/containers/x/upper',
    id: ID,
    hostname: 'box',
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    idRange: { start: 100_000, size: 65_536 },
    cgroupsPath: `/nsbox/${ID}`,
    mounts: [{ type: 'bind', source: '/srv/data', target: '/data', readonly: true }],
    host: modernHost(),
  });
  change(s);
  return s;
}

function input(parts: Partial<PlanInput> = {}): PlanInput {
  return {
    id: ID,
    spec: spec(),
    host: modernHost({ cgroup: UNIFIED }),
    rootfs: { kind: 'overlay', layers: ['/l/1', '/l/2'], upper: '/c/upper', work: '/c/work', idmap: true },
    stdio: 'pipes',
    idmapBinds: true,
    ...parts,
  };
}

/** Compares with a file of test/golden/plan; UPDATE_GOLDEN=1 writes it. */
function golden(name: string, value: unknown): void {
  const file = path.join(packageRoot(), 'test/golden/plan', name);
  const text = typeof value === 'string' ? value : `${JSON.stringify(value, null, 1)}\n`;
  if (process.env['UPDATE_GOLDEN']) {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  assert.equal(text, readFileSync(file, 'utf8'));
}

const CASES: Record<string, () => PlanInput> = {
  default: () => input(),
  'host-ids': () =>
    input({
      spec: spec((s) => {
        s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'user');
        delete s.linux!.uidMappings;
        delete s.linux!.gidMappings;
      }),
      rootfs: { kind: 'directory', path: '/srv/rootfs', idmap: false },
    }),
  terminal: () =>
    input({
      stdio: 'terminal',
      terminalSize: { rows: 24, columns: 80 },
      spec: spec((s) => {
        s.process!.terminal = true;
      }),
    }),
  'old-kernel': () => {
    const host = modernHost({ cgroup: UNIFIED });
    const absent = { have: false, how: 'version' as const, detail: '' };
    return input({
      host: { ...host, features: { ...host.features, overlayLowerFd: absent, overlayLowerString: absent } },
    });
  },
  'idmapped-attached': () => {
    const host = modernHost({ cgroup: UNIFIED });
    const absent = { have: false, how: 'version' as const, detail: '6.15' };
    return input({ host: { ...host, features: { ...host.features, idmappedLower: absent } } });
  },
  'legacy-cgroups': () => input({ host: modernHost({ cgroup: LEGACY }) }),
  'cgroup-and-network': () =>
    input({
      networkSync: true,
      keepNamespaces: true,
      reaper: true,
      cgroup: {
        steps: [
          { op: 'mkdir', path: '/sys/fs/cgroup/nsbox' },
          { op: 'write', path: '/sys/fs/cgroup/nsbox/memory.max', value: '1048576', optional: false },
        ],
        into: '/sys/fs/cgroup/nsbox',
        join: ['/sys/fs/cgroup/memory/nsbox'],
        device: { cgroup: '/sys/fs/cgroup/nsbox', program: new Uint8Array(16), rules: 2 },
        remove: ['/sys/fs/cgroup/nsbox'],
      },
      seccomp: { program: new Uint8Array(24), flags: 0 },
      removeAtEnd: ['/c'],
      unlinkAtEnd: ['/names/x'],
    }),
  oci: () =>
    input({
      waitStart: { directory: '/run/nsbox/oci/x', name: 'start.sock' },
      dieWithMonitor: false,
      runtimeHooks: true,
      preserve: 1,
      passed: ['preserve-0'],
      hookState: '{}',
      spec: spec((s) => {
        s.hooks = {
          createContainer: [{ path: '/hook1', args: ['hook1', 'a'], timeout: 5 }],
          startContainer: [{ path: '/hook2', env: ['A=b'] }],
        };
        s.process!.scheduler = { policy: 'SCHED_FIFO', priority: 3 };
        s.process!.ioPriority = { class: 'IOPRIO_CLASS_BE', priority: 4 };
        s.process!.oomScoreAdj = 100;
        s.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 4096 }];
        s.root!.readonly = true;
        s.linux!.timeOffsets = { boottime: { secs: 3600, nanosecs: 0 } };
        s.linux!.namespaces!.push({ type: 'time' });
        s.linux!.memoryPolicy = { mode: 'MPOL_BIND', nodes: '0' };
        s.linux!.sysctl = { 'net.ipv4.ip_forward': '1' };
      }),
    }),
};

describe('a plan is data', () => {
  for (const [name, make] of Object.entries(CASES)) {
    test(`${name}: the same steps as on record`, () => {
      const p = plan(make());
      golden(`${name}.json`, explainJson(p));
      assert.ok(encodePlan(p).length > 100);
    });
  }

  test('the readable form', () => golden('default.txt', explainText(plan(CASES['cgroup-and-network']!()))));

  test('exec joins what the container has of its own, by pid', () => {
    golden(
      'exec.json',
      explainJson(
        planExec({
          id: ID,
          pid: 4711,
          namespaces: ['user', 'mount', 'pid'],
          process: { ...spec().process!, args: ['id'] },
          uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
          stdio: 'inherit',
        }),
      ),
    );
  });

  test('more layers than overlayfs takes are refused', () => {
    const layers = Array.from({ length: 501 }, (_, i) => `/l/${i}`);
    const rootfs = { kind: 'overlay' as const, layers, upper: '/c/upper', work: '/c/work', idmap: true };
    assert.throws(
      () => plan(input({ rootfs })),
      /^InvalidError: overlayfs takes 500 layers, the image has 501$/,
    );
    assert.ok(plan(input({ rootfs: { ...rootfs, layers: layers.slice(1) } })));
  });

  test('planning twice gives the same bytes', () => {
    const p = input();
    assert.deepEqual(encodePlan(plan(p)), encodePlan(plan(p)));
  });
});

describe('order that safety hangs on', () => {
  const ops = (p: PlanInput) => plan(p).init.map((s) => s.op);
  const before = (list: string[], a: string, b: string) => {
    assert.ok(list.includes(a) && list.includes(b), `${a}, ${b} in ${list}`);
    assert.ok(list.indexOf(a) < list.indexOf(b), `${a} before ${b}`);
  };
  const seccomp = { program: new Uint8Array(8), flags: 0 };

  test('rights are dropped after the root is ours, seccomp comes last', () => {
    const list = ops(input({ seccomp }));
    before(list, 'attachRoot', 'pivot');
    before(list, 'mask', 'pivot');
    before(list, 'pivot', 'bounding');
    before(list, 'bounding', 'ids');
    before(list, 'ids', 'caps');
    before(list, 'caps', 'deathSignal');
    before(list, 'noNewPrivs', 'seccomp');
    assert.deepEqual(list.slice(-2), ['seccomp', 'exec']);
  });

  test('without no_new_privs the filter is loaded while CAP_SYS_ADMIN is there', () => {
    const list = ops(
      input({
        seccomp,
        spec: spec((s) => {
          s.process!.noNewPrivileges = false;
        }),
      }),
    );
    before(list, 'seccomp', 'bounding');
  });

  test('ids are mapped before anything is made with them', () => {
    const list = plan(input()).parent.map((s) => (s.op === 'procWrite' ? s.name : s.op));
    before(list, 'uid_map', 'overlay');
    before(list, 'gid_map', 'fsMount');
  });

  test('a bind mount is private, read-only and idmapped as asked', () => {
    const step = plan(input()).parent.find((s) => s.op === 'openTree' && s.source === '/srv/data');
    assert.ok(step?.op === 'openTree');
    assert.equal(step.propagation, 1 << 18);
    assert.equal(step.idmap?.optional, true);
    assert.ok((step.set | step.deepSet) & 1);
  });
});

describe('what no plan can be made of', () => {
  const refused = (change: (s: Spec) => void, message: RegExp) =>
    assert.throws(() => plan(input({ spec: spec(change) })), message);
  test('no program', () =>
    refused((s) => {
      s.process!.args = [];
    }, /process\.args/));
  test('no mount namespace', () =>
    refused((s) => {
      s.linux!.namespaces = [];
    }, /needs a mount namespace/));
  test('a namespace twice', () =>
    refused((s) => {
      s.linux!.namespaces!.push({ type: 'pid' });
    }, /given twice/));
  test('a user namespace without maps', () =>
    refused((s) => {
      delete s.linux!.uidMappings;
    }, /uidMappings/));
  test('an unknown capability', () =>
    refused((s) => {
      s.process!.capabilities!.bounding = ['CAP_FLY'];
    }, /unknown capability "CAP_FLY"/));
});

describe('small parts', () => {
  test('capability masks', () => {
    assert.equal(capabilityMask(['CAP_CHOWN', 'CAP_SYS_ADMIN']), (1n << 0n) | (1n << 21n));
  });
  test('sysctl names: dots become slashes unless a slash comes first', () => {
    assert.equal(sysctlPath('net.ipv4.ip_forward'), 'net/ipv4/ip_forward');
    assert.equal(sysctlPath('net/ipv4/conf/eth0.1/rp_filter'), 'net/ipv4/conf/eth0.1/rp_filter');
    assert.equal(sysctlPath('net.ipv4.conf.eth0/1.rp_filter'), 'net/ipv4/conf/eth0.1/rp_filter');
  });
  test('CPU lists as masks: every listed bit and no other', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 20 }),
        (cpus) => {
          const mask = listMask(cpus.join(','));
          for (let i = 0; i < mask.length * 8; i++) {
            assert.equal(((mask[i >> 3] ?? 0) >> (i & 7)) & 1, cpus.includes(i) ? 1 : 0);
          }
        },
      ),
    );
    assert.deepEqual(listMask('0-2,4')[0], 0b10111);
    assert.throws(() => listMask('2-1'), /invalid range/);
  });
});
