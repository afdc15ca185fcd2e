import { InvalidError, UnsupportedError } from '../base/index.js';
import type { CgroupFacts, HostFacts } from '../host/index.js';
import type { SpecDeviceRule, SpecResources } from '../spec/index.js';
import { allowsEverything } from './device-program.js';
import { legacyController, legacyWrites } from './legacy.js';
import { isDefault, type Limit, limitsOf } from './limits.js';
import { ancestors, normal } from './path.js';

/** The groups of one container on one host, and how they come to be. Plain data. */
export interface CgroupPlan {
  /** Path below the root of each hierarchy, as in /proc/PID/cgroup of the host: /nsbox/<id>. */
  path: string;
  /** The cgroup2 group, absolute: what CLONE_INTO_CGROUP takes. null where there is no cgroup2 to use. */
  unified: string | null;
  /** The container's own groups, cgroup2 first. Those with join `write` get the pid written. */
  groups: CgroupPlace[];
  /** What makes and fills them, in order; run before the clone. */
  steps: CgroupStep[];
  /** The monitor stands in the container's memory limit: the OOM killer must not choose it. */
  sparesMonitor?: boolean;
  /** The writes among the steps that are limits, for `update` and for messages. */
  writes: CgroupWrite[];
  /** Device access; null where everything is allowed. */
  devices: { how: 'bpf' | 'v1'; directory: string; rules: SpecDeviceRule[] } | null;
  /** Where to look for OOM kills: files with an `oom_kill N` line, cgroup2's or v1's. */
  oomFile: string | null;
  /** What was not enforced, with onUnenforceable `warn`, and other remarks. */
  warnings: string[];
}

export interface CgroupPlace {
  /** Absolute directory. */
  path: string;
  /** `unified`, or the v1 controller. */
  hierarchy: string;
  /** v1 controllers of this group: several where they share a mount. */
  controllers: string[];
  join: 'clone' | 'write';
}

export interface CgroupWrite {
  op: 'write';
  /** Absolute path. */
  path: string;
  value: string;
  /** Controller in cgroup2's naming; `cgroup` for the core. */
  controller: string;
  /** A failure is no failure of the launch (statistics, files of newer kernels). */
  optional: boolean;
}

/** `mkdir` makes what is missing above it too. */
export type CgroupStep = { op: 'mkdir'; path: string } | CgroupWrite;

export interface CgroupOptions {
  /** What happens to a limit that no hierarchy here enforces. Default `error` (--force-limits=warn). */
  onUnenforceable?: 'error' | 'warn' | undefined;
  /**
   * Groups for figures even without limits: those that nsbox reads. `all`: also those that cgroup2 answers for nsbox but
   * an engine above reads from v1 (`docker stats` has cpu time from cpuacct, processes from pids). Default true.
   */
  statistics?: boolean | 'all' | undefined;
  /** `update` writes values equal to the default too, since the group may hold another. */
  update?: boolean | undefined;
  /** Reads a cgroup file, to respect what an existing v1 cpuset parent already has; absent: none is there. */
  read?: ((file: string) => string | undefined) | undefined;
}

/**
 * Decides which groups a container gets, where, and what is written into them.
 * @param resources linux.resources of the spec
 * @param cgroupsPath linux.cgroupsPath: a path below the root of each hierarchy
 * @throws UnsupportedError for a limit that can't be enforced here: controller, where it is bound, remedy
 */
export function planCgroup(
  resources: SpecResources | undefined,
  cgroupsPath: string,
  host: Pick<HostFacts, 'cgroup'> & Partial<Pick<HostFacts, 'features'>>,
  options: CgroupOptions = {},
): CgroupPlan {
  const facts = host.cgroup;
  const path = normal(cgroupsPath);
  if (path === '/') throw new InvalidError('linux.cgroupsPath: the root of the tree cannot be a container');
  const plan: CgroupPlan = {
    path,
    unified: null,
    groups: [],
    steps: [],
    writes: [],
    devices: null,
    oomFile: null,
    warnings: [],
  };
  const asked = limitsOf(resources ?? {}).filter((l) => options.update || !isDefault(l));
  checkCpus(asked, facts);
  const { v2, v1 } = place(asked, facts, options, plan.warnings);
  planUnified(plan, v2, facts, options);
  planLegacy(plan, v1, facts, options);
  planDevices(plan, resources?.devices ?? [], facts, host.features?.bpfDevice.have ?? true, options);
  const memory = plan.groups.find((g) => g.hierarchy === 'memory');
  if (memory) plan.oomFile = `${memory.path}/memory.oom_control`;
  else if (plan.unified && facts.controllers.includes('memory'))
    plan.oomFile = `${plan.unified}/memory.events`;
  return plan;
}

/** @throws InvalidError, in Docker's words, for a CPU or memory node that isn't here */
function checkCpus(limits: readonly Limit[], facts: CgroupFacts): void {
  for (const [file, what, available] of [
    ['cpuset.cpus', 'CPUs', facts.cpuset.cpus],
    ['cpuset.mems', 'memory nodes', facts.cpuset.mems],
  ] as const) {
    const wanted = limits.find((l) => l.file === file)?.value;
    if (!wanted) continue;
    const there = numbersOf(available);
    if ([...numbersOf(wanted)].every((n) => there.has(n))) continue;
    throw new InvalidError(
      `Requested ${what} are not available - requested ${wanted}, available: ${available}`,
      { path: file, hint: `choose among ${available}` },
    );
  }
}

/** `0-2,5` → 0, 1, 2, 5. */
function numbersOf(list: string): Set<number> {
  const out = new Set<number>();
  for (const part of list.split(',')) {
    const [from, to = from] = part.split('-').map(Number);
    // A range this long names CPUs that no machine has; its ends tell as much.
    if (from === undefined || to === undefined || to - from > 65536) return new Set([from ?? -1, to ?? -1]);
    for (let n = from; n <= to; n++) out.add(n);
  }
  return out;
}

/** Sorts limits by the hierarchy that enforces them. */
function place(
  limits: Limit[],
  facts: CgroupFacts,
  options: CgroupOptions,
  warnings: string[],
): { v2: Limit[]; v1: Map<string, Limit[]> } {
  const v2: Limit[] = [];
  const v1 = new Map<string, Limit[]>();
  for (const limit of limits) {
    const legacy = legacyController(limit.controller);
    const counted = facts.v1['memory'] !== undefined || facts.controllers.includes('memory');
    if (limit.file === 'memory.swap.max' && counted && !facts.swap && limit.value !== 'max') {
      const why = { why: 'this kernel does not count swap', hint: 'boot with swapaccount=1' };
      // As much swap as memory is what Docker adds to every memory limit: nobody asked for it by name.
      const added = limits.find((l) => l.file === 'memory.max')?.value === limit.value;
      refuse(limit, why, added ? { ...options, onUnenforceable: 'warn' } : options, warnings);
    } else if (facts.v1[legacy]) {
      v1.set(legacy, [...(v1.get(legacy) ?? []), limit]);
    } else if (limit.only === 'v1') {
      refuse(limit, { why: limit.reason ?? 'cgroup2 has nothing like it' }, options, warnings);
    } else if (!facts.unified || !facts.writable) {
      if (isDefault(limit)) continue;
      const why = facts.unified
        ? {
            why: `cgroup2 at ${facts.unified} is mounted read-only`,
            hint: 'run nsbox where it is writable (in a container: with --privileged)',
          }
        : noController(limit.controller, facts);
      refuse(limit, why, options, warnings);
    } else if (limit.controller === 'cgroup' || facts.controllers.includes(limit.controller)) {
      const ready = readyForCgroup2(limit, facts);
      if (typeof ready === 'string') refuse(limit, { why: ready }, options, warnings);
      else v2.push(ready);
    } else if (!isDefault(limit)) {
      refuse(limit, noController(limit.controller, facts), options, warnings);
    }
  }
  return { v2, v1 };
}

/** cgroup2's file for a limit on this host, or why there is none. */
function readyForCgroup2(limit: Limit, facts: CgroupFacts): Limit | string {
  if (limit.file === 'io.weight' && !limit.value.includes('=')) {
    if (facts.ioWeight === null)
      return 'weights need the bfq scheduler or iocost, and this kernel has neither';
    if (facts.ioWeight !== 'io.bfq.weight') return limit;
    // bfq counts from 1 to 1000, as Docker does.
    const [scope = 'default', weight = '100'] = limit.value.split(' ');
    const value = limit.legacy ?? String(Math.max(1, Math.min(1000, Number(weight))));
    return {
      ...limit,
      file: 'io.bfq.weight',
      value: scope === 'default' ? value : `${scope} ${value.split(' ').at(-1)}`,
    };
  }
  return limit;
}

/** Why a controller of cgroup2's naming can't be used here, and what would change it. */
export function noController(controller: string, facts: CgroupFacts): { why: string; hint: string } {
  const name = legacyController(controller);
  if (facts.disabled.includes(name)) {
    return {
      why: `the ${controller} controller is switched off`,
      hint: `remove cgroup_disable=${name} from the kernel's command line and boot again`,
    };
  }
  if (facts.boundToV1.includes(name)) {
    return {
      why: `the ${controller} controller is bound to a cgroup v1 hierarchy that is not mounted here`,
      hint: `mount it (mount -t cgroup -o ${name} none /sys/fs/cgroup/${name}), or boot with cgroup_no_v1=all`,
    };
  }
  if (!facts.unified) {
    return {
      why: 'no cgroup filesystem is mounted',
      hint: 'mount one: mount -t cgroup2 none /sys/fs/cgroup',
    };
  }
  if (facts.known.includes(name)) {
    return {
      why: `the ${controller} controller is not handed down to ${facts.unified} (cgroup.controllers: ${facts.controllers.join(' ') || 'none'})`,
      hint: 'in a container or service: have the outer group delegate it (systemd: Delegate=yes)',
    };
  }
  return {
    why: `this kernel has no ${controller} controller`,
    hint: 'use a kernel that was built with it',
  };
}

function refuse(
  limit: Limit,
  { why, hint }: { why: string; hint?: string },
  options: CgroupOptions,
  warnings: string[],
): void {
  const text = `cannot set ${limit.file} to ${limit.value.replace(/^default /, '')}: ${why}`;
  if (options.onUnenforceable === 'warn') {
    warnings.push(`${text}; the container runs without this limit`);
    return;
  }
  throw new UnsupportedError(text, {
    path: limit.file,
    hint: `${hint ? `${hint}; or ` : ''}run without this limit: --force-limits=warn`,
  });
}

/** Controllers worth having for figures alone. cpu.stat is there without one. */
const STATISTICS = ['memory', 'io', 'pids'];

function planUnified(plan: CgroupPlan, limits: Limit[], facts: CgroupFacts, options: CgroupOptions): void {
  if (!facts.unified || !facts.writable) return;
  const group = facts.unified + plan.path;
  plan.unified = group;
  plan.groups.push({ path: group, hierarchy: 'unified', controllers: [], join: 'clone' });
  const needed = [...new Set(limits.map((l) => l.controller))].filter((c) => c !== 'cgroup');
  const extra =
    options.statistics === false
      ? []
      : STATISTICS.filter((c) => facts.controllers.includes(c) && !needed.includes(c));
  // The group first, with all above it: a parent that isn't empty can't be removed by a clean-up at the same moment.
  plan.steps.push({ op: 'mkdir', path: group });
  for (const level of ['', ...ancestors(plan.path)]) {
    const directory = facts.unified + level;
    const enable = (controllers: string[], optional: boolean): void => {
      if (controllers.length === 0) return;
      plan.steps.push({
        op: 'write',
        path: `${directory}/cgroup.subtree_control`,
        value: controllers.map((c) => `+${c}`).join(' '),
        controller: 'cgroup',
        optional,
      });
    };
    enable(needed, false);
    enable(extra, true);
  }
  for (const limit of limits) {
    add(plan, {
      op: 'write',
      path: `${group}/${limit.file}`,
      value: limit.value,
      controller: limit.controller,
      optional: limit.optional ?? false,
    });
  }
}

function add(plan: CgroupPlan, write: CgroupWrite): void {
  plan.steps.push(write);
  plan.writes.push(write);
}

/**
 * v1 groups that a container gets without any limit: for figures that v1 alone knows (cpu time is in cgroup2's
 * cpu.stat), and cpu, since weights are shares among siblings.
 */
function legacyStatistics(facts: CgroupFacts, all: boolean): string[] {
  const more = facts.unified && !all ? [] : ['cpuacct', 'pids'];
  return ['cpu', 'memory', 'blkio', ...more].filter((c) => facts.v1[c]);
}

function planLegacy(
  plan: CgroupPlan,
  limits: Map<string, Limit[]>,
  facts: CgroupFacts,
  options: CgroupOptions,
): void {
  const wanted = new Set(limits.keys());
  if (options.statistics !== false) {
    for (const c of legacyStatistics(facts, options.statistics === 'all')) wanted.add(c);
  }
  // Without cgroup2 the freezer is what pauses, and what kills at once.
  if (!facts.unified && facts.v1['freezer']) wanted.add('freezer');
  for (const controller of [...wanted].sort()) {
    const mount = facts.v1[controller];
    if (!mount) continue;
    const group = mount + plan.path;
    // Co-mounted controllers share one group.
    const there = plan.groups.find((g) => g.path === group);
    if (there && !there.controllers.includes(controller)) there.controllers.push(controller);
    if (!there) {
      plan.groups.push({ path: group, hierarchy: controller, controllers: [controller], join: 'write' });
      plan.steps.push({ op: 'mkdir', path: group });
    }
    if (controller === 'cpuset') seedCpuset(plan, mount, facts, options);
    const made = legacyWrites(limits.get(controller) ?? [], facts);
    if ('refused' in made) {
      refuse(
        made.refused,
        { why: `${made.reason} (${controller} is bound to cgroup v1 at ${mount})` },
        options,
        plan.warnings,
      );
      const rest = (limits.get(controller) ?? []).filter((l) => l !== made.refused);
      planLegacy(plan, new Map([[controller, rest]]), facts, { ...options, statistics: false });
      continue;
    }
    for (const { file, value, optional } of made) {
      add(plan, { op: 'write', path: `${group}/${file}`, value, controller, optional: optional ?? false });
    }
  }
}

/**
 * A v1 cpuset is empty when it is made, and takes no process before it has CPUs and memory nodes: they are handed
 * down from the root, level by level. A parent that already has its own keeps them.
 */
function seedCpuset(plan: CgroupPlan, mount: string, facts: CgroupFacts, options: CgroupOptions): void {
  let { cpus, mems } = facts.cpuset;
  for (const level of [...ancestors(plan.path), plan.path]) {
    for (const what of ['cpus', 'mems'] as const) {
      const path = `${mount}${level}/cpuset.${what}`;
      const there = options.read?.(path)?.trim();
      if (there) {
        if (what === 'cpus') cpus = there;
        else mems = there;
        continue;
      }
      const value = what === 'cpus' ? cpus : mems;
      plan.steps.push({ op: 'write', path, value, controller: 'cpuset', optional: false });
    }
  }
}

function planDevices(
  plan: CgroupPlan,
  rules: readonly SpecDeviceRule[],
  facts: CgroupFacts,
  canLoad: boolean,
  options: CgroupOptions,
): void {
  if (rules.length === 0 || allowsEverything(rules)) return;
  if (plan.unified && canLoad) {
    plan.devices = { how: 'bpf', directory: plan.unified, rules: [...rules] };
    return;
  }
  const mount = facts.v1['devices'];
  if (mount) {
    const group = mount + plan.path;
    plan.groups.push({ path: group, hierarchy: 'devices', controllers: ['devices'], join: 'write' });
    plan.steps.push({ op: 'mkdir', path: group });
    plan.devices = { how: 'v1', directory: group, rules: [...rules] };
    for (const write of legacyDeviceWrites(rules)) {
      plan.steps.push({
        op: 'write',
        path: `${group}/${write.file}`,
        value: write.value,
        controller: 'devices',
        optional: false,
      });
    }
    return;
  }
  const text = plan.unified
    ? 'cannot confine device access: this kernel refuses device programs (CONFIG_CGROUP_BPF, CAP_BPF)'
    : 'cannot confine device access: no cgroup filesystem that nsbox may write is mounted';
  if (options.onUnenforceable === 'warn') plan.warnings.push(text);
  // Nodes that aren't in the container's /dev can't be made in a user namespace: say it, and go on.
  else plan.warnings.push(`${text}; the container has the device nodes in its /dev and no others`);
}

/** OCI rules as writes into devices.deny and devices.allow, in their order. See Documentation/admin-guide/cgroup-v1/devices.rst. */
export function legacyDeviceWrites(rules: readonly SpecDeviceRule[]): { file: string; value: string }[] {
  return rules.map((rule) => {
    const any = (n: number | undefined): string => (n === undefined || n < 0 ? '*' : String(n));
    const type = rule.type || 'a';
    const access = rule.access || 'rwm';
    return {
      file: rule.allow ? 'devices.allow' : 'devices.deny',
      value: type === 'a' ? 'a' : `${type} ${any(rule.major)}:${any(rule.minor)} ${access}`,
    };
  });
}
