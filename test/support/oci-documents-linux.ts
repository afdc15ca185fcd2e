import type { OciDocument } from './oci-documents.js';

/** Fields of runtime-spec 1.3's process and Linux sections, one good and one bad value each. */

const process = (fields: object) => ({ process: { cwd: '/', args: ['sh'], ...fields } });
const linux = (fields: object) => ({ linux: fields });
const resources = (fields: object) => linux({ resources: fields });
const seccomp = (fields: object) => linux({ seccomp: { defaultAction: 'SCMP_ACT_ALLOW', ...fields } });
const syscall = (fields: object) =>
  seccomp({ syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', ...fields }] });
const mount = (fields: object) => ({ mounts: [{ destination: '/data', ...fields }] });

/** What it is about, a good value, a bad one, and what is said of that. */
const FIELDS: [about: string, good: object, bad: object, says: RegExp][] = [
  [
    'execCPUAffinity',
    process({ execCPUAffinity: { initial: '0', final: '0-3,7' } }),
    process({ execCPUAffinity: { initial: 'all' } }),
    /process\.execCPUAffinity\.initial: expected a CPU list/,
  ],
  [
    'scheduler',
    process({ scheduler: { policy: 'SCHED_DEADLINE', runtime: 1, deadline: 2, period: 3 } }),
    process({ scheduler: { policy: 'SCHED_NOSUCH' } }),
    /process\.scheduler\.policy: expected one of "SCHED_OTHER"/,
  ],
  [
    'scheduler flags',
    process({ scheduler: { policy: 'SCHED_FIFO', flags: ['SCHED_FLAG_RESET_ON_FORK'] } }),
    process({ scheduler: { policy: 'SCHED_FIFO', flags: ['RESET'] } }),
    /process\.scheduler\.flags\[0\]: expected one of/,
  ],
  [
    'ioPriority',
    process({ ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 7 } }),
    process({ ioPriority: { class: 'BE', priority: 7 } }),
    /process\.ioPriority\.class: expected one of "IOPRIO_CLASS_RT"/,
  ],
  [
    'rlimits without an end',
    process({ rlimits: [{ type: 'RLIMIT_CORE', soft: 0, hard: 0 }] }),
    process({ rlimits: [{ type: 'RLIMIT_CORE', soft: -1, hard: 0 }] }),
    /process\.rlimits\[0\]\.soft: expected an unsigned integer/,
  ],
  [
    'umask and groups',
    process({ user: { uid: 1, gid: 2, umask: 0o77, additionalGids: [3] } }),
    process({ user: { uid: 1, gid: 2, additionalGids: ['staff'] } }),
    /process\.user\.additionalGids\[0\]: expected an unsigned integer of 32 bits/,
  ],
  [
    'consoleSize',
    process({ consoleSize: { height: 24, width: 80 } }),
    process({ consoleSize: { height: 24 } }),
    /process\.consoleSize\.width: .*missing/,
  ],
  [
    'oomScoreAdj',
    process({ oomScoreAdj: -1000 }),
    process({ oomScoreAdj: 'high' }),
    /process\.oomScoreAdj: expected an integer of 32 bits/,
  ],
  [
    'capabilities',
    process({ capabilities: { bounding: ['CAP_CHOWN'], ambient: [] } }),
    process({ capabilities: { bounding: 'CAP_CHOWN' } }),
    /process\.capabilities\.bounding: expected an array/,
  ],
  [
    'hook timeouts',
    { hooks: { startContainer: [{ path: '/bin/true', timeout: 1 }] } },
    { hooks: { startContainer: [{ path: '/bin/true', timeout: 0 }] } },
    /hooks\.startContainer\[0\]\.timeout: expected at least 1/,
  ],
  [
    'paths of hooks',
    { hooks: { poststop: [{ path: '/bin/true', env: ['A=b'] }] } },
    { hooks: { poststop: [{ path: 'bin/true' }] } },
    /hooks\.poststop\[0\]\.path: expected an absolute path/,
  ],
  [
    'idmapped mounts',
    mount({ uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }], gidMappings: [] }),
    mount({ uidMappings: [{ containerID: 0, hostID: 1000 }] }),
    /mounts\[0\]\.uidMappings\[0\]\.size: .*missing/,
  ],
  [
    'mount options',
    mount({ options: ['rro', 'ridmap'] }),
    mount({ options: 'ro' }),
    /mounts\[0\]\.options: expected an array/,
  ],
  [
    'namespaces',
    linux({ namespaces: [{ type: 'time' }, { type: 'cgroup', path: '/proc/1/ns/cgroup' }] }),
    linux({ namespaces: [{ type: 'net' }] }),
    /linux\.namespaces\[0\]\.type: expected one of "mount"/,
  ],
  [
    'timeOffsets',
    linux({ timeOffsets: { boottime: { secs: -5, nanosecs: 1 } } }),
    linux({ timeOffsets: { boottime: { secs: 1, nanosecs: -1 } } }),
    /linux\.timeOffsets\.boottime\.nanosecs: expected an unsigned integer of 32 bits/,
  ],
  [
    'netDevices',
    linux({ netDevices: { eth1: {} } }),
    linux({ netDevices: ['eth1'] }),
    /linux\.netDevices: expected an object/,
  ],
  [
    'memoryPolicy',
    linux({ memoryPolicy: { mode: 'MPOL_WEIGHTED_INTERLEAVE', nodes: '0-1', flags: [] } }),
    linux({ memoryPolicy: { mode: 'interleave' } }),
    /linux\.memoryPolicy\.mode: expected one of "MPOL_DEFAULT"/,
  ],
  [
    'memoryPolicy flags',
    linux({ memoryPolicy: { mode: 'MPOL_BIND', flags: ['MPOL_F_NUMA_BALANCING'] } }),
    linux({ memoryPolicy: { mode: 'MPOL_BIND', flags: ['STATIC'] } }),
    /linux\.memoryPolicy\.flags\[0\]: expected one of/,
  ],
  [
    'personality',
    linux({ personality: { domain: 'LINUX' } }),
    linux({ personality: { domain: 'linux32' } }),
    /linux\.personality\.domain: expected one of "LINUX", "LINUX32"/,
  ],
  [
    'intelRdt',
    linux({ intelRdt: { schemata: ['L3:0=f'], enableMonitoring: true } }),
    linux({ intelRdt: { memBwSchema: 'L3:0=f' } }),
    /linux\.intelRdt\.memBwSchema: expected "MB:" and a schema/,
  ],
  [
    'devices',
    linux({ devices: [{ path: '/dev/p', type: 'p' }] }),
    linux({ devices: [{ path: '/dev/p', type: 'pipe' }] }),
    /linux\.devices\[0\]\.type: expected one of "c", "b", "u", "p"/,
  ],
  [
    'rootfsPropagation',
    linux({ rootfsPropagation: 'unbindable' }),
    linux({ rootfsPropagation: 'public' }),
    /linux\.rootfsPropagation: expected one of/,
  ],
  [
    'sysctl',
    linux({ sysctl: { 'net.ipv4.ip_forward': '1' } }),
    linux({ sysctl: { 'net.ipv4.ip_forward': 1 } }),
    /linux\.sysctl\["net\.ipv4\.ip_forward"\]: expected a string/,
  ],
  [
    'maskedPaths',
    linux({ maskedPaths: [], readonlyPaths: ['/proc/sys'] }),
    linux({ maskedPaths: [null] }),
    /linux\.maskedPaths\[0\]: expected a string, received null/,
  ],
  [
    'memory limits',
    resources({ memory: { limit: -1, checkBeforeUpdate: true } }),
    resources({ memory: { limit: '64m' } }),
    /linux\.resources\.memory\.limit: expected an integer of 64 bits/,
  ],
  [
    'CPU limits',
    resources({ cpu: { burst: 1000, idle: 1 } }),
    resources({ cpu: { shares: -2 } }),
    /linux\.resources\.cpu\.shares: expected an unsigned integer/,
  ],
  [
    'limits of block IO',
    resources({ blockIO: { throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 1 }] } }),
    resources({ blockIO: { weight: 70000 } }),
    /linux\.resources\.blockIO\.weight: expected an unsigned integer of 16 bits/,
  ],
  [
    'device rules',
    resources({ devices: [{ allow: true, type: 'a' }] }),
    resources({ devices: [{ type: 'a' }] }),
    /linux\.resources\.devices\[0\]\.allow: expected a boolean, but it is missing/,
  ],
  [
    'network classes',
    resources({ network: { priorities: [{ name: 'lo', priority: 1 }] } }),
    resources({ network: { priorities: [{ name: 'lo' }] } }),
    /linux\.resources\.network\.priorities\[0\]\.priority: .*missing/,
  ],
  [
    'unified',
    resources({ unified: { 'memory.high': 'max' } }),
    resources({ unified: { 'memory.high': 5 } }),
    /linux\.resources\.unified\["memory\.high"\]: expected a string/,
  ],
  [
    'pids',
    resources({ pids: { limit: -1 } }),
    resources({ pids: 5 }),
    /linux\.resources\.pids: expected an object/,
  ],
  [
    'seccomp notify',
    seccomp({ listenerPath: '/run/s.sock', listenerMetadata: 'm', flags: ['SECCOMP_FILTER_FLAG_LOG'] }),
    seccomp({ flags: ['LOG'] }),
    /linux\.seccomp\.flags\[0\]: expected one of/,
  ],
  [
    'seccomp actions',
    seccomp({ defaultErrnoRet: 38 }),
    seccomp({ defaultAction: 'ALLOW' }),
    /linux\.seccomp\.defaultAction: expected one of "SCMP_ACT_KILL"/,
  ],
  [
    'seccomp arguments',
    syscall({ args: [{ index: 5, value: 1, op: 'SCMP_CMP_MASKED_EQ', valueTwo: 1 }] }),
    syscall({ args: [{ index: 6, value: 1, op: 'SCMP_CMP_EQ' }] }),
    /linux\.seccomp\.syscalls\[0\]\.args\[0\]\.index: expected the index of an argument, 0 to 5/,
  ],
  [
    'names of system calls',
    syscall({ errnoRet: 1 }),
    syscall({ names: [] }),
    /linux\.seccomp\.syscalls\[0\]\.names: expected at least 1 element/,
  ],
];

export const FIELD_DOCUMENTS: OciDocument[] = FIELDS.flatMap(([about, good, bad, says]) => {
  const text = (fields: object) =>
    JSON.stringify({ ociVersion: '1.3.0', root: { path: 'rootfs' }, ...fields });
  return [
    { about, kind: 'config', text: text(good), good: true } as const,
    { about: `${about}, wrong`, kind: 'config', text: text(bad), good: false, says } as const,
  ];
});
