/**
 * What devices change about a container: data, made by resolveDevices() and by CDI, carried into the spec by
 * applyEdits() and into the plan by the engine. Order matters nowhere but in `mounts` and `hooks`.
 */
export interface DeviceEdits {
  nodes: DeviceNode[];
  cgroupRules: DeviceRule[];
  mounts: DeviceMount[];
  /** Directories whose few files are made here (a filtered /proc/driver/nvidia); stageEdits() makes mounts of them. */
  trees: DeviceTree[];
  /** Links made in the container where nothing lies yet. */
  symlinks: { path: string; target: string }[];
  /** `KEY=value`; replace what the image says. */
  env: string[];
  /** Supplementary groups of the container's process, as ids inside the container. */
  additionalGids: number[];
  hooks: DeviceHooks;
  /** The image's own ldconfig, to run inside the container after the mounts and before its program. */
  ldconfig: { program: string; args: string[] } | undefined;
  intelRdt: IntelRdt | undefined;
  /** Host network interfaces to move in (CDI 1.1), by host name. */
  netDevices: { hostName: string; name: string }[];
  annotations: Record<string, string>;
  /** Sentences for the person who runs it. */
  warnings: string[];
}

export interface DeviceNode {
  /** In the container. */
  path: string;
  /** On this machine; what was looked at for the numbers. */
  hostPath: string;
  /** `c` character, `b` block, `p` FIFO. */
  type: 'c' | 'b' | 'p';
  major: number;
  minor: number;
  /** Permission bits. */
  mode: number;
  /** Ids inside the container; absent: those of its process. */
  uid?: number | undefined;
  gid?: number | undefined;
  /** Subset of `rwm`, as the cgroup rule that goes with it has it; empty: no rule. */
  permissions: string;
}

export interface DeviceRule {
  allow: boolean;
  type: 'a' | 'b' | 'c';
  /** Absent: every number. */
  major?: number | undefined;
  minor?: number | undefined;
  /** Subset of `rwm`. */
  access: string;
}

export interface DeviceMount {
  source: string;
  destination: string;
  /** `bind` unless told. */
  type?: string | undefined;
  options: string[];
}

export interface DeviceTree {
  /** In the container. */
  destination: string;
  /** Paths relative to it. */
  files: { path: string; content: string; mode: number }[];
}

export const HOOK_NAMES = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;
export type HookName = (typeof HOOK_NAMES)[number];

export interface DeviceHook {
  path: string;
  args?: string[] | undefined;
  env?: string[] | undefined;
  /** Seconds. */
  timeout?: number | undefined;
}
export type DeviceHooks = Partial<Record<HookName, DeviceHook[]>>;

export interface IntelRdt {
  closID?: string | undefined;
  l3CacheSchema?: string | undefined;
  memBwSchema?: string | undefined;
  schemata?: string[] | undefined;
  enableMonitoring?: boolean | undefined;
}

export function emptyEdits(): DeviceEdits {
  return {
    nodes: [],
    cgroupRules: [],
    mounts: [],
    trees: [],
    symlinks: [],
    env: [],
    additionalGids: [],
    hooks: {},
    ldconfig: undefined,
    intelRdt: undefined,
    netDevices: [],
    annotations: {},
    warnings: [],
  };
}

/**
 * Adds `more` to `edits`. A later node or mount at the same place replaces the earlier one; equal rules, groups and
 * warnings are kept once.
 */
export function mergeEdits(edits: DeviceEdits, more: DeviceEdits): void {
  for (const node of more.nodes) addNode(edits, node);
  for (const rule of more.cgroupRules) addRule(edits, rule);
  for (const mount of more.mounts) {
    replace(edits.mounts, mount, (m) => m.destination === mount.destination);
  }
  for (const tree of more.trees) replace(edits.trees, tree, (t) => t.destination === tree.destination);
  for (const link of more.symlinks) replace(edits.symlinks, link, (l) => l.path === link.path);
  edits.env.push(...more.env);
  for (const gid of more.additionalGids) {
    if (!edits.additionalGids.includes(gid)) edits.additionalGids.push(gid);
  }
  for (const name of HOOK_NAMES) {
    const hooks = more.hooks[name];
    if (hooks) edits.hooks[name] = [...(edits.hooks[name] ?? []), ...hooks];
  }
  edits.ldconfig = more.ldconfig ?? edits.ldconfig;
  edits.intelRdt = more.intelRdt ?? edits.intelRdt;
  edits.netDevices.push(...more.netDevices);
  Object.assign(edits.annotations, more.annotations);
  for (const warning of more.warnings) {
    if (!edits.warnings.includes(warning)) edits.warnings.push(warning);
  }
}

/** Adds a node and, where it has permissions, the cgroup rule that goes with it. */
export function addNode(edits: DeviceEdits, node: DeviceNode): void {
  replace(edits.nodes, node, (n) => n.path === node.path);
  if (node.type !== 'p' && node.permissions !== '') {
    addRule(edits, {
      allow: true,
      type: node.type,
      major: node.major,
      minor: node.minor,
      access: node.permissions,
    });
  }
}

export function addRule(edits: DeviceEdits, rule: DeviceRule): void {
  const same = (r: DeviceRule) =>
    r.allow === rule.allow &&
    r.type === rule.type &&
    r.major === rule.major &&
    r.minor === rule.minor &&
    r.access === rule.access;
  // An equal rule counts only where nothing contrary stands after it.
  const last = edits.cgroupRules.findLastIndex((r) => same(r) || r.allow !== rule.allow);
  if (last < 0 || !same(edits.cgroupRules[last] as DeviceRule)) edits.cgroupRules.push(rule);
}

function replace<T>(list: T[], item: T, same: (other: T) => boolean): void {
  const at = list.findIndex(same);
  if (at < 0) list.push(item);
  else list[at] = item;
}
