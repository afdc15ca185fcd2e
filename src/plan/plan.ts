import { InvalidError } from '../base/index.js';
import type { IdMapping, Spec, SpecProcess } from '../spec/index.js';
import { deviceSteps } from './devices.js';
import { capabilitySteps, listMask, rlimitStep, schedulingSteps } from './identity.js';
import type { PlanInput } from './input.js';
import { ATTR, MS, parseMountOptions } from './mount-options.js';
import { type MountContext, mountSteps } from './mounts.js';
import { rootfsStep } from './rootfs.js';
import type { CloneStep, LaunchPlan, NamespaceKind, Step } from './steps.js';

/**
 * spec + host → plan. Pure: the same input gives the same plan, nothing is read or changed.
 *
 * The order within `init` matters and is the order of the list: what needs the host's tree comes before pivot_root,
 * what needs rights before they are dropped, seccomp last.
 * @throws InvalidError INVALID_SPEC for a spec that no plan can be made of
 */
export function plan(input: PlanInput): LaunchPlan {
  const { spec } = input;
  const process = spec.process;
  if (!process) throw new InvalidError('config.json has no "process" section', { code: 'INVALID_SPEC' });
  if (!process.args?.length) {
    throw new InvalidError('process.args: expected at least the program, found nothing', {
      code: 'INVALID_SPEC',
    });
  }
  const clone = cloneStep(input);
  const fresh = new Set(clone.namespaces);
  // Groups of cgroup v1 are joined after the clone, and the namespace must begin there.
  const lateCgroup = fresh.has('cgroup') && (input.cgroup?.join.length ?? 0) > 0;
  if (lateCgroup) clone.namespaces = clone.namespaces.filter((n) => n !== 'cgroup');
  const joined = new Set(clone.join.flatMap((j) => j.namespaces));
  const ownMounts = fresh.has('mount');
  if (!ownMounts && !joined.has('mount')) {
    throw new InvalidError('linux.namespaces: a container needs a mount namespace', { code: 'INVALID_SPEC' });
  }
  const passed = input.passed ?? [];
  let slots = 3 + passed.length;
  const nextSlot = () => slots++;
  const passedSlot = (name: string) => 3 + passed.indexOf(name);
  const userNamespace = fresh.has('user') || joined.has('user');

  const out: LaunchPlan = {
    id: input.id,
    stdio: input.stdio,
    stdinOpen: input.stdinOpen ?? false,
    leaveAfterStart: input.waitStart !== undefined,
    dieWithRuntime: input.dieWithRuntime ?? false,
    passed,
    prepare: [],
    clone,
    parent: [],
    init: [],
    exit: [],
    finish: [],
  };
  if (input.cgroup) groupSteps(input.cgroup, nextSlot, out);
  if (fresh.has('user')) idMaps(spec, out);
  out.parent.push(...rlimitStep(process));
  // A monitor that is spared would hand that down.
  const oomScoreAdj = process.oomScoreAdj ?? (input.cgroup?.sparesMonitor ? 0 : undefined);
  if (oomScoreAdj !== undefined) {
    out.parent.push({ op: 'procWrite', name: 'oom_score_adj', data: String(oomScoreAdj) });
  }
  if (input.networkSync) out.parent.push({ op: 'sync', point: 'network', firstRunOnly: true });
  if (input.attachSync) out.parent.push({ op: 'sync', point: 'attach', firstRunOnly: true });
  stdioOwner(input, process, out);
  let startSlot = -1;
  if (input.waitStart) {
    startSlot = nextSlot();
    out.parent.push({ op: 'listen', ...input.waitStart, slot: startSlot });
  }

  const init = out.init;
  if (userNamespace) init.push({ op: 'namespaceRoot' });
  if (lateCgroup) init.push({ op: 'cgroupNamespace' });
  init.push({ op: 'setsid' });
  if (!input.noNewKeyring) init.push({ op: 'keyring', name: `_ses.${input.id}` });
  if (ownMounts) filesystems(input, out, { userNamespace, fresh, nextSlot, passedSlot });
  if (process.terminal && !ownMounts) init.push(consoleStep(input, process, false, passedSlot));
  if (fresh.has('network') && !input.networkSync) init.push({ op: 'loopback' });
  names(spec, fresh, init);
  if (ownMounts) {
    masks(spec, init);
    init.push({ op: 'pivot', chroot: input.noPivot ?? false });
    rootAttributes(spec, init);
  }
  if (input.networkSync) init.push({ op: 'sync', point: 'network', firstRunOnly: true });
  if (input.attachSync) init.push({ op: 'sync', point: 'attach', firstRunOnly: true });
  if (startSlot >= 0) {
    init.push({ op: 'findProgram', path: searchPath(process), name: process.args[0]!, cwd: process.cwd });
    init.push({ op: 'waitStart', slot: startSlot });
  }
  for (const h of spec.hooks?.startContainer ?? []) init.push(hookStep(h, 'startContainer', input.hookState));
  become(input, process, out, { userNamespace, passedSlot });
  endings(input, out);
  return out;
}

function cloneStep(input: PlanInput): CloneStep {
  const linux = input.spec.linux ?? {};
  const step: CloneStep = {
    op: 'clone',
    namespaces: [],
    join: [],
    cgroup: input.cgroup?.into,
    keepNamespaces: input.keepNamespaces ?? false,
  };
  const seen = new Set<NamespaceKind>();
  for (const ns of linux.namespaces ?? []) {
    if (seen.has(ns.type)) {
      throw new InvalidError(`linux.namespaces: ${JSON.stringify(ns.type)} is given twice`, {
        code: 'INVALID_SPEC',
      });
    }
    seen.add(ns.type);
    if (ns.path) step.join.push({ namespaces: [ns.type], path: ns.path });
    else step.namespaces.push(ns.type);
  }
  if (linux.timeOffsets) {
    if (!step.namespaces.includes('time')) {
      throw new InvalidError('linux.timeOffsets: needs a new time namespace', { code: 'INVALID_SPEC' });
    }
    step.timeOffsets = Object.entries(linux.timeOffsets)
      .map(([clock, o]) => `${clock} ${o?.secs ?? 0} ${o?.nanosecs ?? 0}\n`)
      .join('');
  } else if (step.namespaces.includes('time')) {
    step.timeOffsets = 'monotonic 0 0\n';
  }
  return step;
}

/** Steps that put init into cgroup v1 groups, before all else that it does. */
export function enterGroups(paths: readonly string[], nextSlot: () => number, out: LaunchPlan): void {
  for (const path of paths) {
    const slot = nextSlot();
    out.parent.push({ op: 'cgroupOpen', path, slot });
    out.init.push({ op: 'cgroupEnter', slot, path });
  }
}

/** Steps that make the container's groups, and put init into them. */
export function groupSteps(
  c: NonNullable<PlanInput['cgroup']>,
  nextSlot: () => number,
  out: LaunchPlan,
): void {
  for (const step of c.steps) {
    if (step.op === 'mkdir') out.prepare.push({ op: 'mkdirs', path: step.path, mode: 0o755 });
    else {
      const { path, value, optional } = step;
      out.prepare.push({ op: 'writeFile', path, data: value, ...(optional ? { optional } : {}) });
    }
  }
  if (c.sparesMonitor) {
    // Needs CAP_SYS_RESOURCE, which root has almost everywhere (proc_pid_oom_score_adj(5)).
    out.prepare.push({ op: 'writeFile', path: '/proc/self/oom_score_adj', data: '-1000', optional: true });
  }
  if (c.device) {
    out.prepare.push({
      op: 'deviceProgram',
      cgroup: c.device.cgroup,
      program: c.device.program,
      rules: c.device.rules,
    });
  }
  enterGroups(c.join, nextSlot, out);
  if (c.changes) {
    out.prepare.push({ op: 'limitChanges', file: c.changes, pass: 'make' });
    out.parent.push({ op: 'limitChanges', file: c.changes, pass: 'join' });
  }
}

function mapText(mappings: readonly IdMapping[]): string {
  return mappings.map((m) => `${m.containerID} ${m.hostID} ${m.size}\n`).join('');
}

function idMaps(spec: Spec, out: LaunchPlan): void {
  const linux = spec.linux ?? {};
  if (!linux.uidMappings?.length || !linux.gidMappings?.length) {
    throw new InvalidError('linux: a new user namespace needs uidMappings and gidMappings', {
      code: 'INVALID_SPEC',
    });
  }
  out.parent.push(
    { op: 'procWrite', name: 'uid_map', data: mapText(linux.uidMappings), firstRunOnly: true },
    { op: 'procWrite', name: 'gid_map', data: mapText(linux.gidMappings), firstRunOnly: true },
  );
}

/** The id maps that hold inside: the spec's, or those of the namespace that is joined. */
function mappingsOf(input: PlanInput): { uid: IdMapping[] | undefined; gid: IdMapping[] | undefined } {
  const { uidMappings, gidMappings } = input.spec.linux ?? {};
  return uidMappings?.length
    ? { uid: uidMappings, gid: gidMappings }
    : { uid: input.joinedMappings?.uid, gid: input.joinedMappings?.gid };
}

/** The host's id of one inside; 65534 (nobody) where the map has none. */
export function hostId(mappings: readonly IdMapping[] | undefined, id: number): number {
  if (!mappings?.length) return id;
  for (const m of mappings) {
    if (id >= m.containerID && id < m.containerID + m.size) return m.hostID + (id - m.containerID);
  }
  return 65534;
}

function stdioOwner(input: PlanInput, process: SpecProcess, out: LaunchPlan): void {
  if (input.stdio !== 'pipes' && input.stdio !== 'inherit') return;
  const { uid, gid } = mappingsOf(input);
  out.parent.push({
    op: 'stdioOwner',
    uid: hostId(uid, process.user.uid),
    gid: hostId(gid, process.user.gid),
  });
}

interface Around {
  userNamespace: boolean;
  fresh: Set<NamespaceKind>;
  nextSlot: () => number;
  passedSlot: (name: string) => number;
}

/** Root, mounts, devices and terminal. */
function filesystems(input: PlanInput, out: LaunchPlan, around: Around): void {
  const { spec } = input;
  const linux = spec.linux ?? {};
  const rootSlot = around.nextSlot();
  out.parent.push(rootfsStep(input, rootSlot, around.userNamespace));

  const mounts = spec.mounts ?? [];
  const dev = mounts.find((m) => m.destination.replace(/\/+$/, '') === '/dev');
  const devOptions = dev ? parseMountOptions(dev.options ?? []) : undefined;
  const ownDev = dev?.type === 'tmpfs' && !devOptions?.bind;
  const boundDev = dev !== undefined && !ownDev;
  const mappings = mappingsOf(input);
  const uid = (id: number) => hostId(mappings.uid, id);
  const gid = (id: number) => hostId(mappings.gid, id);
  let devSlot: number | undefined;
  if (ownDev) {
    devSlot = around.nextSlot();
    out.parent.push({
      op: 'fsMount',
      slot: devSlot,
      fstype: 'tmpfs',
      source: dev.source ?? 'tmpfs',
      attrs: devOptions!.set & ~ATTR.RDONLY,
      options: [
        ...devOptions!.data.filter(([k]) => k !== 'uid' && k !== 'gid'),
        ['uid', String(uid(0))],
        ['gid', String(gid(0))],
      ],
    });
  }
  const slots = devSlot === undefined ? { root: rootSlot } : { dev: devSlot, root: rootSlot };
  if (!boundDev) {
    const below = mounts.map((m) => m.destination).filter((d) => /^\/dev\/[^/]+$/.test(d));
    const directories = below.filter((d) => !mounts.find((m) => m.destination === d && m.type === 'bind'));
    out.parent.push(...deviceSteps(linux.devices ?? [], slots, uid, gid, directories, input.links));
  }

  const context: MountContext = {
    userNamespace: around.userNamespace,
    cgroupNamespace: around.fresh.has('cgroup'),
    joined: input.cgroup?.join,
    into: input.cgroup?.into,
    host: input.host,
    v1Groups: input.cgroup?.shown ?? input.cgroup?.join ?? [],
    nextSlot: around.nextSlot,
    devSlot,
    idmapBinds: (input.idmapBinds ?? false) && around.userNamespace,
    usernsSlot: (m) => {
      const name = input.mountUserns?.[m.destination];
      return name === undefined ? undefined : around.passedSlot(name);
    },
  };
  const attached: Step[] = [];
  for (const mount of mounts) {
    const steps = mountSteps(mount, context);
    out.parent.push(...steps.parent);
    attached.push(...steps.init);
  }
  const init = out.init;
  const propagation = linux.rootfsPropagation ? parseMountOptions([linux.rootfsPropagation]).propagation : 0;
  // Nothing mounted in here may reach the host; what the host mounts later may arrive where that was asked for.
  const receive =
    (propagation & (MS.SLAVE | MS.SHARED)) !== 0 ||
    mounts.some((m) => m.options?.some((o) => /slave|shared/.test(o)));
  init.push({ op: 'propagation', flags: (receive ? MS.SLAVE : MS.PRIVATE) | MS.REC });
  init.push({ op: 'attachRoot', slot: rootSlot });
  init.push(...attached);
  const process = spec.process!;
  if (process.cwd !== '/') init.push({ op: 'mkdirsIn', directories: [{ path: process.cwd, mode: 0o755 }] });
  if (process.terminal) init.push(consoleStep(input, process, true, around.passedSlot));
  if (input.runtimeHooks) {
    // A restart by the monitor has no runtime to run them.
    const once = input.keepNamespaces ? { firstRunOnly: true } : {};
    init.push({ op: 'sync', point: 'createRuntime', ...once });
  }
  for (const h of spec.hooks?.createContainer ?? [])
    init.push(hookStep(h, 'createContainer', input.hookState));
  // A /dev asked to be read-only is so from here on: until now it was being filled.
  if (devSlot !== undefined && devOptions!.set & ATTR.RDONLY)
    init.push({ op: 'readonlyPaths', paths: ['/dev'] });
}

export function consoleStep(
  input: PlanInput,
  process: SpecProcess,
  bindConsole: boolean,
  passedSlot: (name: string) => number,
): Step {
  return {
    op: 'console',
    uid: process.user.uid,
    // The tty group, where devpts gives it to its nodes, is set by the mount option gid=5.
    gid: 5,
    rows: Number(process.consoleSize?.height ?? input.terminalSize?.rows ?? 0),
    columns: Number(process.consoleSize?.width ?? input.terminalSize?.columns ?? 0),
    bindConsole,
    socketSlot: input.stdio === 'console-socket' ? passedSlot('console') : 0,
  };
}

function names(spec: Spec, fresh: Set<NamespaceKind>, init: Step[]): void {
  if (spec.hostname) {
    if (!fresh.has('uts')) {
      throw new InvalidError('hostname: needs a UTS namespace of its own', { code: 'INVALID_SPEC' });
    }
    init.push({ op: 'hostname', name: spec.hostname });
  }
  if (spec.domainname && fresh.has('uts')) init.push({ op: 'domainname', name: spec.domainname });
  const sysctl = spec.linux?.sysctl;
  if (sysctl && Object.keys(sysctl).length > 0) init.push({ op: 'sysctl', values: sysctl });
}

function masks(spec: Spec, init: Step[]): void {
  const { readonlyPaths, maskedPaths } = spec.linux ?? {};
  if (readonlyPaths?.length) init.push({ op: 'readonlyPaths', paths: readonlyPaths });
  if (maskedPaths?.length) init.push({ op: 'mask', paths: maskedPaths });
}

function rootAttributes(spec: Spec, init: Step[]): void {
  const propagation = spec.linux?.rootfsPropagation
    ? parseMountOptions([spec.linux.rootfsPropagation]).propagation & ~MS.REC
    : 0;
  const set = spec.root?.readonly ? ATTR.RDONLY : 0;
  if (set || propagation) init.push({ op: 'rootAttr', set, clear: 0, propagation });
}

function hookStep(
  hook: {
    path: string;
    args?: string[] | undefined;
    env?: string[] | undefined;
    timeout?: number | undefined;
  },
  kind: 'createContainer' | 'startContainer' | 'poststop',
  state: string | undefined,
): Step {
  return {
    op: 'hook',
    kind,
    path: hook.path,
    args: hook.args ?? [],
    env: hook.env ?? [],
    timeout: hook.timeout ?? 0,
    state: state ?? '',
  };
}

const MPOL: Record<string, number> = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
};
const MPOL_FLAGS: Record<string, number> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};

/** From root of the container to the user's program: scheduling, rights, seccomp, execve. */
export function become(
  input: PlanInput,
  process: SpecProcess,
  out: LaunchPlan,
  around: { userNamespace: boolean; passedSlot: (name: string) => number },
): void {
  const { init } = out;
  const linux = input.spec.linux ?? {};
  if (linux.personality) {
    init.push({ op: 'personality', domain: linux.personality.domain === 'LINUX32' ? 0x0008 : 0 });
  }
  init.push(...schedulingSteps(process));
  if (linux.memoryPolicy) {
    const p = linux.memoryPolicy;
    init.push({
      op: 'memoryPolicy',
      mode: (MPOL[p.mode] ?? 0) | (p.flags ?? []).reduce((all, f) => all | (MPOL_FLAGS[f] ?? 0), 0),
      mask: p.nodes ? listMask(p.nodes) : new Uint8Array(),
    });
  }
  init.push({
    op: 'fds',
    slots: Array.from({ length: input.preserve ?? 0 }, (_, i) => around.passedSlot(`preserve-${i}`)),
  });
  if (process.selinuxLabel) init.push({ op: 'lsmLabel', attribute: 'exec', label: process.selinuxLabel });
  if (process.apparmorProfile && process.apparmorProfile !== 'unconfined') {
    init.push({ op: 'lsmLabel', attribute: 'apparmor/exec', label: `exec ${process.apparmorProfile}` });
  }
  const seccomp: Step[] = input.seccomp
    ? [
        {
          op: 'seccomp',
          flags: input.seccomp.flags,
          program: input.seccomp.program,
          listenerSlot: input.seccomp.listener ? around.passedSlot(input.seccomp.listener.passed) : 0,
          state: input.seccomp.listener?.state ?? '',
        },
      ]
    : [];
  if (process.user.umask !== undefined) init.push({ op: 'umask', mask: process.user.umask });
  const caps = capabilitySteps(process.capabilities);
  // Without no_new_privs only CAP_SYS_ADMIN may load a filter, so it comes while we have that.
  if (!process.noNewPrivileges) init.push(...seccomp);
  init.push(...caps.bounding);
  init.push({
    op: 'ids',
    uid: process.user.uid,
    gid: process.user.gid,
    groups: process.user.additionalGids ?? [],
    setGroups: true,
  });
  init.push(...caps.sets);
  init.push({ op: 'chdir', path: process.cwd });
  if (input.dieWithMonitor ?? true) init.push({ op: 'deathSignal', signal: 9 });
  if (process.noNewPrivileges) init.push({ op: 'noNewPrivs' }, ...seccomp);
  if (input.reaper) init.push({ op: 'reaper' });
  const env = process.env ?? [];
  init.push({ op: 'exec', path: searchPath(process), argv: process.args!, env });
}

/** Searched where the environment names no PATH, as execvp(3) and Docker do. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function searchPath(process: SpecProcess): string {
  return process.env?.findLast((e) => e.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH;
}

function endings(input: PlanInput, out: LaunchPlan): void {
  for (const path of input.cgroup?.remove ?? []) out.exit.push({ op: 'cgroupKill', path });
  if (input.report?.length) out.exit.push({ op: 'report', paths: input.report });
  for (const path of input.cgroup?.remove ?? []) out.exit.push({ op: 'cgroupRemove', path });
  if (input.cgroup?.changes)
    out.exit.push({ op: 'limitChanges', file: input.cgroup.changes, pass: 'remove' });
  if (input.poststop) {
    for (const h of input.spec.hooks?.poststop ?? [])
      out.finish.push(hookStep(h, 'poststop', input.poststop.state));
    out.finish.push({ op: 'unlink', path: input.poststop.due });
  }
  for (const path of input.unlinkAtEnd ?? []) out.finish.push({ op: 'unlink', path });
  for (const path of input.removeAtEnd ?? []) out.finish.push({ op: 'removeTree', path });
}
