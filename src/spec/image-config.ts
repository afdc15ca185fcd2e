import { stringMap, strings, uint64 } from './schema-common.js';
import * as z from './shape.js';

/**
 * The OCI image-spec's image configuration (the JSON that an image id is the digest of), with the fields that Docker
 * adds (Healthcheck, OnBuild, Shell). Unknown fields are kept, so that an image written again keeps its meaning.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
 */

const emptyObjects = z.record(z.looseObject({}));

const healthcheckSchema = z.object({
  /** `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", "…"]`; empty inherits. */
  Test: z.optional(strings),
  /** Nanoseconds. */
  Interval: z.optional(uint64),
  Timeout: z.optional(uint64),
  StartPeriod: z.optional(uint64),
  StartInterval: z.optional(uint64),
  Retries: z.optional(uint64),
});

export const imageExecutionSchema = z.looseObject({
  /** `user`, `uid`, `user:group`, `uid:gid`… */
  User: z.optional(z.string()),
  /** `80/tcp`, `53/udp`, `80`. */
  ExposedPorts: z.optional(emptyObjects),
  Env: z.optional(strings),
  Entrypoint: z.optional(strings),
  Cmd: z.optional(strings),
  Volumes: z.optional(emptyObjects),
  WorkingDir: z.optional(z.string()),
  Labels: z.optional(stringMap),
  StopSignal: z.optional(z.string()),
  ArgsEscaped: z.optional(z.boolean()),
  Healthcheck: z.optional(healthcheckSchema),
  OnBuild: z.optional(strings),
  Shell: z.optional(strings),
});

export const imageConfigSchema = z.looseObject({
  created: z.optional(z.string()),
  author: z.optional(z.string()),
  architecture: z.string(),
  os: z.string(),
  variant: z.optional(z.string()),
  'os.version': z.optional(z.string()),
  'os.features': z.optional(strings),
  config: z.optional(imageExecutionSchema),
  rootfs: z.object({
    type: z.oneOf(['layers']),
    diff_ids: z.array(
      z.string().check(z.matches(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/, 'expected a digest')),
    ),
  }),
  history: z.optional(
    z.array(
      z.looseObject({
        created: z.optional(z.string()),
        author: z.optional(z.string()),
        created_by: z.optional(z.string()),
        comment: z.optional(z.string()),
        empty_layer: z.optional(z.boolean()),
      }),
    ),
  ),
});

export type ImageConfig = z.Output<typeof imageConfigSchema>;
export type ImageExecution = z.Output<typeof imageExecutionSchema>;
export type Healthcheck = z.Output<typeof healthcheckSchema>;
