import { linuxSchema } from './runtime-linux.js';
import { freebsdSchema, solarisSchema, vmSchema, windowsSchema, zosSchema } from './runtime-others.js';
import { exactUint64, idMappingSchema, int32, stringMap, strings, uint32, uint64 } from './schema-common.js';
import * as z from './shape.js';

/**
 * The OCI runtime specification's config.json, version 1.3, as schemas (shape.ts). Field names are the standard's.
 * Import types from it freely, values only through `parseSpec`: it is loaded where a document is read.
 *
 * Where the standard's Go types have a zero value that callers leave out (process.user, its ids), it is filled in.
 * @see https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md
 */

const hookSchema = z.object({
  path: z.string().check(z.refine((p) => p.startsWith('/'), 'expected an absolute path')),
  args: z.optional(strings),
  env: z.optional(strings),
  /** Seconds, more than zero. */
  timeout: z.optional(int32.check(z.atLeast(1, 'expected at least 1'))),
});

const hooks = z.optional(z.array(hookSchema));
const hooksSchema = z.object({
  prestart: hooks,
  createRuntime: hooks,
  createContainer: hooks,
  startContainer: hooks,
  poststart: hooks,
  poststop: hooks,
});

const mountSchema = z.object({
  destination: z.string().check(z.notEmpty),
  type: z.optional(z.string()),
  source: z.optional(z.string()),
  options: z.optional(strings),
  uidMappings: z.optional(z.array(idMappingSchema)),
  gidMappings: z.optional(z.array(idMappingSchema)),
});
/** A list of mounts by itself. */
export const mountsSchema = z.array(mountSchema);

const userSchema = z.object({
  uid: z.defaulted(uint32, 0),
  gid: z.defaulted(uint32, 0),
  umask: z.optional(uint32),
  additionalGids: z.optional(z.array(uint32)),
  /** Windows only in the standard; nsbox resolves names before the spec is made. */
  username: z.optional(z.string()),
});

const capabilitiesSchema = z.object({
  bounding: z.optional(strings),
  effective: z.optional(strings),
  inheritable: z.optional(strings),
  permitted: z.optional(strings),
  ambient: z.optional(strings),
});

const cpuList = z.string().check(z.matches(/^[0-9, -]*$/, 'expected a CPU list such as "0-3,7"'));

const schedulerSchema = z.object({
  policy: z.oneOf([
    'SCHED_OTHER',
    'SCHED_FIFO',
    'SCHED_RR',
    'SCHED_BATCH',
    'SCHED_ISO',
    'SCHED_IDLE',
    'SCHED_DEADLINE',
  ]),
  nice: z.optional(int32),
  priority: z.optional(int32),
  flags: z.optional(
    z.array(
      z.oneOf([
        'SCHED_FLAG_RESET_ON_FORK',
        'SCHED_FLAG_RECLAIM',
        'SCHED_FLAG_DL_OVERRUN',
        'SCHED_FLAG_KEEP_POLICY',
        'SCHED_FLAG_KEEP_PARAMS',
        'SCHED_FLAG_UTIL_CLAMP_MIN',
        'SCHED_FLAG_UTIL_CLAMP_MAX',
      ]),
    ),
  ),
  /** Nanoseconds, SCHED_DEADLINE only. */
  runtime: z.optional(uint64),
  deadline: z.optional(uint64),
  period: z.optional(uint64),
});

export const processSchema = z.object({
  terminal: z.optional(z.boolean()),
  consoleSize: z.optional(z.object({ height: uint64, width: uint64 })),
  user: z.defaulted(userSchema, { uid: 0, gid: 0 }),
  args: z.optional(strings),
  commandLine: z.optional(z.string()),
  env: z.optional(strings),
  cwd: z.string(),
  capabilities: z.optional(capabilitiesSchema),
  rlimits: z.optional(
    z.array(
      z.object({
        type: z.string().check(z.matches(/^RLIMIT_[A-Z]+$/, 'expected a name such as "RLIMIT_NOFILE"')),
        /** RLIM_INFINITY is 2^64 − 1, a bigint. */
        soft: exactUint64,
        hard: exactUint64,
      }),
    ),
  ),
  noNewPrivileges: z.optional(z.boolean()),
  apparmorProfile: z.optional(z.string()),
  oomScoreAdj: z.optional(int32),
  scheduler: z.optional(schedulerSchema),
  selinuxLabel: z.optional(z.string()),
  ioPriority: z.optional(
    z.object({
      class: z.oneOf(['IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE']),
      priority: z.defaulted(int32, 0),
    }),
  ),
  execCPUAffinity: z.optional(z.object({ initial: z.optional(cpuList), final: z.optional(cpuList) })),
});

export const specSchema = z.object({
  ociVersion: z.string(),
  process: z.optional(processSchema),
  root: z.optional(z.object({ path: z.string().check(z.notEmpty), readonly: z.optional(z.boolean()) })),
  hostname: z.optional(z.string()),
  domainname: z.optional(z.string()),
  mounts: z.optional(mountsSchema),
  hooks: z.optional(hooksSchema),
  annotations: z.optional(stringMap),
  linux: z.optional(linuxSchema),
  solaris: z.optional(solarisSchema),
  windows: z.optional(windowsSchema),
  vm: z.optional(vmSchema),
  zos: z.optional(zosSchema),
  freebsd: z.optional(freebsdSchema),
});

/** What the runtime's `state` command prints and hooks receive on stdin. */
export const stateSchema = z.object({
  ociVersion: z.string(),
  id: z.string(),
  status: z.oneOf(['creating', 'created', 'running', 'stopped']),
  pid: z.optional(int32),
  bundle: z.string(),
  annotations: z.optional(stringMap),
});

export type Spec = z.Output<typeof specSchema>;
export type SpecProcess = z.Output<typeof processSchema>;
export type SpecUser = SpecProcess['user'];
export type SpecCapabilities = NonNullable<SpecProcess['capabilities']>;
export type SpecRlimit = NonNullable<SpecProcess['rlimits']>[number];
export type SpecScheduler = NonNullable<SpecProcess['scheduler']>;
export type SpecMount = NonNullable<Spec['mounts']>[number];
export type SpecHooks = NonNullable<Spec['hooks']>;
export type SpecHook = z.Output<typeof hookSchema>;
export type IdMapping = z.Output<typeof idMappingSchema>;
export type OciState = z.Output<typeof stateSchema>;
