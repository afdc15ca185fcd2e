import { namespaceType, seccompAction, seccompArch, seccompFlag, seccompOperator } from './runtime-linux.js';
import { stringMap, strings } from './schema-common.js';
import * as z from './shape.js';

/**
 * What `features` prints: which of the standard a runtime implements.
 * @see https://github.com/opencontainers/runtime-spec/blob/v1.3.0/features.md
 */

const enabled = z.optional(z.object({ enabled: z.optional(z.boolean()) }));
const flag = z.optional(z.boolean());

export const featuresSchema = z.object({
  ociVersionMin: z.string(),
  ociVersionMax: z.string(),
  hooks: z.optional(strings),
  mountOptions: z.optional(strings),
  annotations: z.optional(stringMap),
  potentiallyUnsafeConfigAnnotations: z.optional(strings),
  linux: z.optional(
    z.object({
      namespaces: z.optional(z.array(namespaceType)),
      capabilities: z.optional(
        z.array(z.string().check(z.matches(/^CAP_[A-Z_]+$/, 'expected a name such as "CAP_KILL"'))),
      ),
      cgroup: z.optional(z.object({ v1: flag, v2: flag, systemd: flag, systemdUser: flag, rdma: flag })),
      seccomp: z.optional(
        z.object({
          enabled: flag,
          actions: z.optional(z.array(seccompAction)),
          operators: z.optional(z.array(seccompOperator)),
          archs: z.optional(z.array(seccompArch)),
          knownFlags: z.optional(z.array(seccompFlag)),
          supportedFlags: z.optional(z.array(seccompFlag)),
        }),
      ),
      apparmor: enabled,
      selinux: enabled,
      intelRdt: z.optional(z.object({ enabled: flag, schemata: flag, monitoring: flag })),
      memoryPolicy: z.optional(z.object({ modes: z.optional(strings), flags: z.optional(strings) })),
      mountExtensions: z.optional(z.object({ idmap: enabled })),
      netDevices: enabled,
    }),
  ),
});

export type OciFeatures = z.Output<typeof featuresSchema>;
