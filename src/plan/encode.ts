import { Writer } from '../kernel/index.js';
import type { FsOption, LaunchPlan, NamespaceKind, Step, StepOf } from './steps.js';
import { LISTS, SYNC } from './steps.js';

/**
 * A plan as native/launch reads it: operation numbers as in native/launch/plan.h, arguments in the order in which
 * each Step… function of native/launch/steps_*.cc reads them.
 */

const MAGIC = 0x3178736e;
const VERSION = 1;
const FIRST_RUN_ONLY = 0x80000000;

const STDIO = { inherit: 0, pipes: 1, terminal: 2, 'console-socket': 3, 'runtime-terminal': 4 } as const;
const CREATE = { no: 0, directory: 1, file: 2, 'like-source': 3 } as const;
const FORM = { fd: 0, strings: 1, attached: 2 } as const;
const FILE_TYPE = { c: 0o020000, b: 0o060000, p: 0o010000 } as const;

/** CLONE_NEW… of clone(2). */
export const CLONE_FLAGS: Record<NamespaceKind, number> = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
  time: 0x00000080,
};

function cloneFlags(kinds: readonly NamespaceKind[]): number {
  let flags = 0;
  for (const kind of kinds) flags += CLONE_FLAGS[kind];
  return flags;
}

function options(w: Writer, list: readonly FsOption[]): Writer {
  w.u32(list.length);
  for (const [key, value] of list)
    w.str(key)
      .str(value ?? '')
      .flag(value !== undefined);
  return w;
}

/** RLIMIT_… of getrlimit(2), x86-64 and arm64. */
const RLIMITS: Record<string, number> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** Whether the kernel knows a limit of this name. */
export function isRlimit(name: string): boolean {
  return name in RLIMITS;
}

type Encoders = { [K in Step['op']]: readonly [op: number, write: (w: Writer, s: StepOf<K>) => void] };

const ENCODERS: Encoders = {
  mkdirs: [1, (w, s) => w.str(s.path).u32(s.mode)],
  writeFile: [
    2,
    (w, s) =>
      w
        .str(s.path)
        .str(s.data)
        .flag(s.optional ?? false),
  ],
  procWrite: [3, (w, s) => w.str(s.name).str(s.data)],
  cgroupOpen: [4, (w, s) => w.str(s.path).u32(s.slot)],
  cgroupEnter: [16, (w, s) => w.u32(s.slot).str(s.path)],
  deviceProgram: [5, (w, s) => w.str(s.cgroup).bytes(s.program)],
  rlimits: [
    6,
    (w, s) => {
      w.u32(s.limits.length);
      for (const l of s.limits)
        w.u32(RLIMITS[l.name] ?? 0)
          .u64(l.soft)
          .u64(l.hard)
          .str(l.name);
    },
  ],
  cgroupKill: [7, (w, s) => w.str(s.path)],
  cgroupRemove: [8, (w, s) => w.str(s.path)],
  removeTree: [9, (w, s) => w.str(s.path)],
  unlink: [10, (w, s) => w.str(s.path)],
  sync: [11, (w, s) => w.u32(SYNC[s.point])],
  listen: [12, (w, s) => w.str(s.directory).str(s.name).u32(s.slot)],
  stdioOwner: [13, (w, s) => w.u32(s.uid).u32(s.gid)],
  report: [14, (w, s) => w.strs(s.paths)],
  limitChanges: [15, (w, s) => w.str(s.file).u8(['make', 'join', 'remove'].indexOf(s.pass))],
  openTree: [
    20,
    (w, s) => {
      w.u32(s.slot).str(s.source).flag(s.recursive);
      w.u64(s.set).u64(s.clear).u64(s.deepSet).u64(s.deepClear).u64(s.propagation);
      w.u8(s.idmap ? (s.idmap.usernsSlot === undefined ? 1 : 2) : 0);
      w.flag(s.idmap?.optional ?? false)
        .flag(s.idmap?.recursive ?? false)
        .u32(s.idmap?.usernsSlot ?? 0);
    },
  ],
  openTreeOf: [26, (w, s) => w.u32(s.slot).u32(s.pid).str(s.path)],
  overlay: [
    21,
    (w, s) => {
      w.u32(s.slot).u8(FORM[s.form]).flag(s.idmap);
      w.str(s.upper ?? '')
        .str(s.work ?? '')
        .u32(s.attrs)
        .strs(s.lowers);
      options(w, s.options);
    },
  ],
  fsMount: [22, (w, s) => options(w.u32(s.slot).str(s.fstype).str(s.source).u32(s.attrs), s.options)],
  node: [
    23,
    (w, s) => {
      w.u32(s.slot)
        .str(s.path)
        .u32(FILE_TYPE[s.type] | s.mode);
      w.u32(s.major).u32(s.minor).u32(s.uid).u32(s.gid);
    },
  ],
  symlinkIn: [24, (w, s) => w.u32(s.slot).str(s.path).str(s.target).u32(s.uid).u32(s.gid)],
  mkdirIn: [25, (w, s) => w.u32(s.slot).str(s.path).u32(s.mode).u32(s.uid).u32(s.gid)],
  propagation: [40, (w, s) => w.u32(s.flags)],
  attachAt: [48, (w, s) => w.u32(s.slot).str(s.path)],
  enterRoot: [49, () => {}],
  unmount: [50, (w, s) => w.str(s.path)],
  leave: [115, () => {}],
  attachRoot: [41, (w, s) => w.u32(s.slot)],
  attach: [
    42,
    (w, s) => w.u32(s.slot).str(s.target).u8(CREATE[s.create]).u64(s.propagation).flag(s.recursive),
  ],
  mountFs: [
    43,
    (w, s) => options(w.str(s.target).u64(s.propagation).str(s.fstype).str(s.source).u32(s.attrs), s.options),
  ],
  mask: [44, (w, s) => w.strs(s.paths)],
  readonlyPaths: [45, (w, s) => w.strs(s.paths)],
  pivot: [46, (w, s) => w.flag(s.chroot)],
  rootAttr: [47, (w, s) => w.u64(s.set).u64(s.clear).u64(s.propagation)],
  hostname: [60, (w, s) => w.str(s.name)],
  domainname: [61, (w, s) => w.str(s.name)],
  sysctl: [
    62,
    (w, s) => {
      const values = Object.entries(s.values);
      w.u32(values.length);
      for (const [key, value] of values) w.str(sysctlPath(key)).str(value);
    },
  ],
  loopback: [63, () => {}],
  console: [
    64,
    (w, s) => w.u32(s.uid).u32(s.gid).u32(s.rows).u32(s.columns).flag(s.bindConsole).u32(s.socketSlot),
  ],
  hook: [65, (w, s) => w.str(s.path).strs(s.args).strs(s.env).i32(s.timeout).str(s.state)],
  mkdirsIn: [
    66,
    (w, s) => {
      w.u32(s.directories.length);
      for (const d of s.directories) w.str(d.path).u32(d.mode);
    },
  ],
  namespaceRoot: [80, () => {}],
  setsid: [81, () => {}],
  keyring: [82, (w, s) => w.str(s.name)],
  cgroupNamespace: [97, () => {}],
  bounding: [83, (w, s) => w.u64(s.keep)],
  ids: [
    84,
    (w, s) => {
      w.u32(s.uid).u32(s.gid).u32(s.groups.length);
      for (const g of s.groups) w.u32(g);
      w.flag(s.setGroups);
    },
  ],
  caps: [85, (w, s) => w.u64(s.effective).u64(s.permitted).u64(s.inheritable).u64(s.ambient)],
  umask: [86, (w, s) => w.u32(s.mask)],
  chdir: [87, (w, s) => w.str(s.path)],
  noNewPrivs: [88, () => {}],
  seccomp: [89, (w, s) => w.u32(s.flags).bytes(s.program).u32(s.listenerSlot).str(s.state)],
  personality: [90, (w, s) => w.u32(s.domain)],
  scheduler: [
    91,
    (w, s) =>
      w.u32(s.policy).u64(s.flags).i32(s.nice).u32(s.priority).u64(s.runtime).u64(s.deadline).u64(s.period),
  ],
  ioPriority: [92, (w, s) => w.u32(s.class).u32(s.priority)],
  affinity: [93, (w, s) => w.bytes(s.mask)],
  memoryPolicy: [94, (w, s) => w.u32(s.mode).bytes(s.mask)],
  lsmLabel: [95, (w, s) => w.str(s.attribute).str(s.label)],
  deathSignal: [96, (w, s) => w.u32(s.signal)],
  fds: [
    110,
    (w, s) => {
      w.u32(s.slots.length);
      for (const slot of s.slots) w.u32(slot);
    },
  ],
  waitStart: [111, (w, s) => w.u32(s.slot)],
  findProgram: [114, (w, s) => w.str(s.path).str(s.name).str(s.cwd)],
  reaper: [112, () => {}],
  exec: [113, (w, s) => w.str(s.path).strs(s.argv).strs(s.env)],
};

/** The path below /proc/sys of a sysctl name: `net.ipv4.ip_forward`, also with slashes (an interface named `eth0.1`). */
export function sysctlPath(key: string): string {
  const slash = key.indexOf('/');
  const dot = key.indexOf('.');
  if (slash !== -1 && (dot === -1 || slash < dot)) return key;
  // sysctl.d(5): where the first separator is a dot, dots and slashes trade places.
  return key.replace(/[./]/g, (c) => (c === '.' ? '/' : '.'));
}

function encodeStep(w: Writer, step: Step): void {
  const [op, write] = ENCODERS[step.op] as readonly [number, (w: Writer, s: Step) => void];
  const args = new Writer();
  write(args, step);
  w.u32((op | (step.firstRunOnly ? FIRST_RUN_ONLY : 0)) >>> 0).bytes(args.finish());
}

function encodeClone(plan: LaunchPlan): Buffer {
  const { clone } = plan;
  const args = new Writer();
  args
    .u64(cloneFlags(clone.namespaces))
    .str(clone.cgroup ?? '')
    .str(clone.timeOffsets ?? '');
  args.flag(clone.keepNamespaces).u32(clone.join.length);
  for (const j of clone.join) {
    args
      .u64(cloneFlags(j.namespaces))
      .u8(j.pid === undefined ? 0 : 1)
      .str(j.path ?? '')
      .u32(j.pid ?? 0);
  }
  return new Writer().u32(0).bytes(args.finish()).finish();
}

export interface EncodeOptions {
  /** The monitor's own configuration (logs, attach, restart), see kernel/monitor.ts. Absent: it only waits. */
  keep?: Uint8Array | undefined;
  /** Report each step with its time. */
  trace?: boolean | undefined;
}

/** The plan as bytes for nsbox-init. */
export function encodePlan(plan: LaunchPlan, extra: EncodeOptions = {}): Buffer {
  const w = new Writer();
  w.u32(MAGIC).u32(VERSION).u32(STDIO[plan.stdio]);
  w.flag(plan.stdinOpen)
    .flag(plan.leaveAfterStart)
    .flag(plan.dieWithRuntime)
    .flag(extra.trace ?? false);
  w.u32(plan.passed.includes('client') ? 3 + plan.passed.indexOf('client') : 0);
  w.bytes(extra.keep ?? new Uint8Array());
  for (const name of LISTS) {
    if (name === 'clone') {
      w.u32(1).bytes(encodeClone(plan));
      continue;
    }
    const steps = new Writer();
    for (const step of plan[name]) encodeStep(steps, step);
    w.u32(plan[name].length).bytes(steps.finish());
  }
  return w.finish();
}
