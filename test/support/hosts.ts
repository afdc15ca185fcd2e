import type { CgroupFacts, Feature, FeatureName, HostFacts } from '../../src/host/index.js';
import { CAPABILITY_NAMES } from '../../src/host/index.js';

/** Hosts that a test can hand to plan(): a modern machine, and cgroup layouts of several kinds. */

const FEATURES: FeatureName[] = [
  'clone3',
  'cloneIntoCgroup',
  'pidfd',
  'openat2',
  'closeRange',
  'newMountApi',
  'mountSetattr',
  'idmappedRoot',
  'idmappedOverlay',
  'idmappedLower',
  'idmappedTmpfs',
  'overlayLowerFd',
  'overlayLowerString',
  'overlayVolatile',
  'timeNamespace',
  'userNamespace',
  'cgroupNamespace',
  'cgroupKill',
  'cgroupFreeze',
  'memoryPeak',
  'memoryReclaim',
  'memorySwapPeak',
  'psi',
  'bpfDevice',
  'landlock',
  'seccompNotify',
];

/** cgroup2 alone with all controllers. */
export const UNIFIED: CgroupFacts = {
  mode: 'unified',
  unified: '/sys/fs/cgroup',
  controllers: ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids', 'rdma', 'misc'],
  v1: {},
  known: ['blkio', 'cpu', 'cpuset', 'hugetlb', 'memory', 'misc', 'pids', 'rdma'],
  boundToV1: [],
  disabled: [],
  ioWeight: 'io.weight',
  own: { unified: '/user.slice', v1: {} },
  realRoot: true,
  type: 'domain',
  writable: true,
  cpuset: { cpus: '0-3', mems: '0' },
  swap: true,
  systemd: false,
};

const V1 = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids'];

/** cgroup2 with hugetlb alone beside v1 hierarchies with the rest. */
export const HYBRID: CgroupFacts = {
  ...UNIFIED,
  mode: 'hybrid',
  unified: '/sys/fs/cgroup/unified',
  controllers: ['hugetlb'],
  v1: Object.fromEntries(V1.map((c) => [c, `/sys/fs/cgroup/${c}`])),
  boundToV1: V1,
  ioWeight: 'blkio.bfq.weight',
  own: { unified: '/', v1: Object.fromEntries(V1.map((c) => [c, '/'])) },
};

/** v1 alone, with cpu and cpuacct on one mount. */
export const LEGACY: CgroupFacts = {
  ...HYBRID,
  mode: 'legacy',
  unified: null,
  controllers: [],
  v1: { ...HYBRID.v1, cpu: '/sys/fs/cgroup/cpu,cpuacct', cpuacct: '/sys/fs/cgroup/cpu,cpuacct' },
};

/** A view of a hybrid host with cgroup2 mounted alone. */
export const BARE: CgroupFacts = {
  ...HYBRID,
  mode: 'unified',
  unified: '/sys/fs/cgroup',
  controllers: [],
  v1: {},
  ioWeight: null,
};

/** A modern x86_64 machine with everything; parts can be replaced. */
export function modernHost(parts: Partial<HostFacts> = {}): HostFacts {
  const have: Feature = { have: true, how: 'version', detail: '6.12' };
  return {
    layout: 5,
    kernel: { release: '6.12.0-test', version: [6, 12, 0] },
    machine: 'x86_64',
    bootId: '00000000-0000-4000-8000-000000000000',
    cpus: 4,
    memory: 8 * 1024 ** 3,
    swap: 1024 ** 3,
    cgroup: UNIFIED,
    capabilities: { effective: [...CAPABILITY_NAMES], bounding: [...CAPABILITY_NAMES], last: 40 },
    lsm: { apparmor: false, selinux: false, apparmorRestrictsUserns: false },
    seccomp: { available: true, actions: ['kill_process', 'errno', 'allow', 'log', 'user_notif'] },
    userns: { available: true, reason: null },
    ids: { ranges: { start: 0x40000000, size: 65536, count: 16384 }, taken: [] },
    root: { path: '/var/lib/nsbox', filesystem: 'ext4' },
    features: Object.fromEntries(FEATURES.map((f) => [f, have])) as Record<FeatureName, Feature>,
    limits: { pidMax: 4194304, openFiles: 1048576 },
    ...parts,
  };
}
