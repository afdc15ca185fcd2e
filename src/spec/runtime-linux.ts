import {
  exactUint64,
  idMappingSchema,
  int64,
  stringMap,
  strings,
  uint16,
  uint32,
  uint64,
} from './schema-common.js';
import * as z from './shape.js';

/**
 * The `linux` section of runtime-spec's config.json 1.3. Only imported through runtime.ts.
 * @see https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md
 */

const deviceSchema = z.object({
  /** `c`, `b`, `u` or `p`. */
  type: z.string().check(z.matches(/^[cbup]$/, 'expected one of "c", "b", "u", "p"')),
  path: z.string().check(z.notEmpty),
  major: z.optional(int64),
  minor: z.optional(int64),
  /** The standard stops at 0o777; engines also send the type bits, which are dropped. */
  fileMode: z.optional(uint32),
  uid: z.optional(uint32),
  gid: z.optional(uint32),
});

export const namespaceType = z.oneOf(['mount', 'pid', 'network', 'uts', 'ipc', 'user', 'cgroup', 'time']);

const namespaceSchema = z.object({
  type: namespaceType,
  path: z.optional(z.string()),
});

const deviceCgroupSchema = z.object({
  allow: z.boolean(),
  type: z.optional(z.string()),
  major: z.optional(int64),
  minor: z.optional(int64),
  access: z.optional(z.string()),
});

const throttleSchema = z.object({ major: int64, minor: int64, rate: z.defaulted(uint64, 0) });
const throttles = z.optional(z.array(throttleSchema));

export const resourcesSchema = z.object({
  devices: z.optional(z.array(deviceCgroupSchema)),
  memory: z.optional(
    z.object({
      limit: z.optional(int64),
      reservation: z.optional(int64),
      /** Memory plus swap. */
      swap: z.optional(int64),
      kernel: z.optional(int64),
      kernelTCP: z.optional(int64),
      swappiness: z.optional(uint64),
      disableOOMKiller: z.optional(z.boolean()),
      useHierarchy: z.optional(z.boolean()),
      checkBeforeUpdate: z.optional(z.boolean()),
    }),
  ),
  cpu: z.optional(
    z.object({
      shares: z.optional(uint64),
      /** Microseconds per period. */
      quota: z.optional(int64),
      burst: z.optional(uint64),
      period: z.optional(uint64),
      realtimeRuntime: z.optional(int64),
      realtimePeriod: z.optional(uint64),
      cpus: z.optional(z.string()),
      mems: z.optional(z.string()),
      idle: z.optional(int64),
    }),
  ),
  pids: z.optional(z.object({ limit: z.optional(int64) })),
  blockIO: z.optional(
    z.object({
      weight: z.optional(uint16),
      leafWeight: z.optional(uint16),
      weightDevice: z.optional(
        z.array(
          z.object({
            major: int64,
            minor: int64,
            weight: z.optional(uint16),
            leafWeight: z.optional(uint16),
          }),
        ),
      ),
      throttleReadBpsDevice: throttles,
      throttleWriteBpsDevice: throttles,
      throttleReadIOPSDevice: throttles,
      throttleWriteIOPSDevice: throttles,
    }),
  ),
  hugepageLimits: z.optional(
    z.array(
      z.object({
        pageSize: z
          .string()
          .check(z.matches(/^[1-9][0-9]*[KMG]B$/, 'expected a page size such as "64KB", "2MB", "1GB"')),
        limit: uint64,
      }),
    ),
  ),
  network: z.optional(
    z.object({
      classID: z.optional(uint32),
      priorities: z.optional(z.array(z.object({ name: z.string(), priority: uint32 }))),
    }),
  ),
  rdma: z.optional(z.record(z.object({ hcaHandles: z.optional(uint32), hcaObjects: z.optional(uint32) }))),
  unified: z.optional(stringMap),
});

export const seccompArch = z.oneOf([
  'SCMP_ARCH_X86',
  'SCMP_ARCH_X86_64',
  'SCMP_ARCH_X32',
  'SCMP_ARCH_ARM',
  'SCMP_ARCH_AARCH64',
  'SCMP_ARCH_LOONGARCH64',
  'SCMP_ARCH_M68K',
  'SCMP_ARCH_MIPS',
  'SCMP_ARCH_MIPS64',
  'SCMP_ARCH_MIPS64N32',
  'SCMP_ARCH_MIPSEL',
  'SCMP_ARCH_MIPSEL64',
  'SCMP_ARCH_MIPSEL64N32',
  'SCMP_ARCH_PPC',
  'SCMP_ARCH_PPC64',
  'SCMP_ARCH_PPC64LE',
  'SCMP_ARCH_S390',
  'SCMP_ARCH_S390X',
  'SCMP_ARCH_SH',
  'SCMP_ARCH_SHEB',
  'SCMP_ARCH_PARISC',
  'SCMP_ARCH_PARISC64',
  'SCMP_ARCH_RISCV64',
]);

export const seccompAction = z.oneOf([
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
  'SCMP_ACT_NOTIFY',
]);

export const seccompOperator = z.oneOf([
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
]);

export const seccompFlag = z.oneOf([
  'SECCOMP_FILTER_FLAG_TSYNC',
  'SECCOMP_FILTER_FLAG_LOG',
  'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
  'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
]);

const seccompArgSchema = z.object({
  index: uint32.check(z.atMost(5, 'expected the index of an argument, 0 to 5')),
  value: exactUint64,
  valueTwo: z.optional(exactUint64),
  op: seccompOperator,
});

export const syscallSchema = z.object({
  names: z.array(z.string()).check(z.notEmpty),
  action: seccompAction,
  errnoRet: z.optional(uint32),
  args: z.optional(z.array(seccompArgSchema)),
});

export const seccompSchema = z.object({
  defaultAction: seccompAction,
  defaultErrnoRet: z.optional(uint32),
  architectures: z.optional(z.array(seccompArch)),
  flags: z.optional(z.array(seccompFlag)),
  listenerPath: z.optional(z.string()),
  listenerMetadata: z.optional(z.string()),
  syscalls: z.optional(z.array(syscallSchema)),
});

const timeOffset = z.object({ secs: z.defaulted(int64, 0), nanosecs: z.defaulted(uint32, 0) });

export const linuxSchema = z.object({
  namespaces: z.optional(z.array(namespaceSchema)),
  uidMappings: z.optional(z.array(idMappingSchema)),
  gidMappings: z.optional(z.array(idMappingSchema)),
  devices: z.optional(z.array(deviceSchema)),
  netDevices: z.optional(z.record(z.object({ name: z.optional(z.string()) }))),
  cgroupsPath: z.optional(z.string()),
  resources: z.optional(resourcesSchema),
  rootfsPropagation: z.optional(
    z.oneOf(['', 'private', 'shared', 'slave', 'unbindable', 'rprivate', 'rshared', 'rslave', 'runbindable']),
  ),
  seccomp: z.optional(seccompSchema),
  sysctl: z.optional(stringMap),
  maskedPaths: z.optional(strings),
  readonlyPaths: z.optional(strings),
  mountLabel: z.optional(z.string()),
  intelRdt: z.optional(
    z.object({
      closID: z.optional(z.string()),
      schemata: z.optional(strings),
      l3CacheSchema: z.optional(z.string()),
      memBwSchema: z.optional(z.string().check(z.matches(/^MB:[^\n]*$/, 'expected "MB:" and a schema'))),
      enableMonitoring: z.optional(z.boolean()),
    }),
  ),
  memoryPolicy: z.optional(
    z.object({
      mode: z.oneOf([
        'MPOL_DEFAULT',
        'MPOL_BIND',
        'MPOL_INTERLEAVE',
        'MPOL_WEIGHTED_INTERLEAVE',
        'MPOL_PREFERRED',
        'MPOL_PREFERRED_MANY',
        'MPOL_LOCAL',
      ]),
      nodes: z.optional(z.string()),
      flags: z.optional(
        z.array(z.oneOf(['MPOL_F_NUMA_BALANCING', 'MPOL_F_RELATIVE_NODES', 'MPOL_F_STATIC_NODES'])),
      ),
    }),
  ),
  personality: z.optional(z.object({ domain: z.oneOf(['LINUX', 'LINUX32']), flags: z.optional(strings) })),
  timeOffsets: z.optional(z.object({ monotonic: z.optional(timeOffset), boottime: z.optional(timeOffset) })),
});

export type SpecLinux = z.Output<typeof linuxSchema>;
export type SpecNamespace = z.Output<typeof namespaceSchema>;
export type NamespaceType = SpecNamespace['type'];
export type SpecDevice = z.Output<typeof deviceSchema>;
export type SpecDeviceRule = z.Output<typeof deviceCgroupSchema>;
export type SpecResources = z.Output<typeof resourcesSchema>;
export type SpecSeccomp = z.Output<typeof seccompSchema>;
export type SpecSyscall = NonNullable<SpecSeccomp['syscalls']>[number];
export type SeccompAction = z.Output<typeof seccompAction>;
export type SeccompArch = z.Output<typeof seccompArch>;
