import { seccompArch, seccompSchema, syscallSchema } from './runtime-linux.js';
import { strings } from './schema-common.js';
import * as z from './shape.js';

/** Docker's seccomp profile format. Loaded only for a profile that comes from outside. */

const filter = z.optional(
  z.object({
    caps: z.optional(strings),
    arches: z.optional(strings),
    minKernel: z.optional(
      z.string().check(z.matches(/^\d+\.\d+$/, 'expected a kernel version such as "4.8"')),
    ),
  }),
);

export const profileSchema = z.extend(seccompSchema, {
  archMap: z.optional(
    z.array(z.object({ architecture: seccompArch, subArchitectures: z.optional(z.array(seccompArch)) })),
  ),
  syscalls: z.optional(
    z.array(
      z.extend(syscallSchema, {
        names: z.optional(strings),
        name: z.optional(z.string()),
        comment: z.optional(z.string()),
        includes: filter,
        excludes: filter,
      }),
    ),
  ),
});
