import { shape as z } from '../../spec/index.js';

/**
 * A CDI specification file (versions 0.3.0 to 1.1.0) as a schema.
 * @see https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
 */

// The reference implementation's decoder turns a bare 0 or true into text where text is meant (`name: 0`).
const text = new z.Schema<string>((value, at, faults) =>
  z
    .string()
    .parseAt(typeof value === 'number' || typeof value === 'boolean' ? String(value) : value, at, faults),
);
const name = text.check(z.notEmpty);
const uint32 = z.integer(0, 0xffffffff);
const absolute = text.check(z.refine((p) => p.startsWith('/'), 'expected an absolute path'));

const deviceNode = z.object({
  /** In the container. */
  path: name,
  /** On the host; `path` where absent. From 0.5.0. */
  hostPath: z.optional(name),
  type: z.optional(z.oneOf(['b', 'c', 'u', 'p', ''])),
  major: z.optional(z.integer()),
  minor: z.optional(z.integer()),
  fileMode: z.optional(uint32),
  permissions: z.optional(text.check(z.matches(/^[rwm]*$/, 'expected a selection of "r", "w" and "m"'))),
  uid: z.optional(uint32),
  gid: z.optional(uint32),
});

const mount = z.object({
  hostPath: name,
  containerPath: name,
  options: z.optional(z.array(text)),
  /** From 0.4.0. */
  type: z.optional(text),
});

const hook = z.object({
  hookName: z.oneOf([
    'prestart',
    'createRuntime',
    'createContainer',
    'startContainer',
    'poststart',
    'poststop',
  ]),
  path: absolute,
  args: z.optional(z.array(text)),
  env: z.optional(z.array(environmentEntry())),
  /** Seconds. */
  timeout: z.optional(z.integer()),
});

const closId = text.check(
  z.refine(
    (id) => id !== '.' && id !== '..' && id.length < 4096 && !/[/\n]/.test(id),
    'expected a name without "/" and line breaks',
  ),
);

const intelRdt = z.object({
  closID: z.optional(closId),
  l3CacheSchema: z.optional(text),
  memBwSchema: z.optional(text),
  enableCMT: z.optional(z.boolean()),
  enableMBM: z.optional(z.boolean()),
  /** From 1.1.0. */
  schemata: z.optional(z.array(text)),
  enableMonitoring: z.optional(z.boolean()),
});

const netDevice = z.object({ hostInterfaceName: name, name });

const containerEdits = z.object({
  env: z.optional(z.array(environmentEntry())),
  deviceNodes: z.optional(z.array(deviceNode)),
  /** From 1.1.0. */
  netDevices: z.optional(z.array(netDevice)),
  hooks: z.optional(z.array(hook)),
  mounts: z.optional(z.array(mount)),
  /** From 0.7.0. */
  intelRdt: z.optional(intelRdt),
  additionalGids: z.optional(z.array(uint32)),
});

const annotations = z.optional(z.record(text));

export const cdiSpecSchema = z.object({
  cdiVersion: text,
  kind: text,
  /** From 0.6.0. */
  annotations,
  devices: z.array(z.object({ name, annotations, containerEdits })).check(z.notEmpty),
  containerEdits: z.optional(containerEdits),
});

function environmentEntry() {
  return text.check(z.matches(/^[^=]+=/, 'expected KEY=value'));
}

export type CdiSpec = z.Output<typeof cdiSpecSchema>;
export type CdiDevice = CdiSpec['devices'][number];
export type CdiEdits = CdiDevice['containerEdits'];
