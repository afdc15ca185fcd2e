/**
 * A launch as data: an ordered list of typed kernel steps. native/launch carries them out one after another and
 * decides nothing. `explain.ts` says what each one is, `encode.ts` writes it as native code reads it.
 *
 * Slots name file descriptors: 0, 1, 2 are the program's stdio, 3 … what the runtime hands over, then detached mounts.
 */
export interface LaunchPlan {
  id: string;
  stdio: StdioMode;
  /** Pipes: the program gets a stdin that stays open (-i). */
  stdinOpen: boolean;
  /** OCI create: the monitor ends once init is ready, so that init belongs to the caller's subreaper. */
  leaveAfterStart: boolean;
  /** The end of the runtime kills the container (library). */
  dieWithRuntime: boolean;
  /** Names of the fds that the runtime hands over, in the order of their slots from 3. */
  passed: string[];
  /** By the monitor, before the clone. */
  prepare: Step[];
  clone: CloneStep;
  /** By the monitor, after the clone. */
  parent: Step[];
  /** By init. */
  init: Step[];
  /** By the monitor, after each run. */
  exit: Step[];
  /** By the monitor, when the container ended for good. */
  finish: Step[];
}

export type StdioMode = 'inherit' | 'pipes' | 'terminal' | 'console-socket' | 'runtime-terminal';

/** The lists in the order native code knows them. */
export const LISTS = ['prepare', 'clone', 'parent', 'init', 'exit', 'finish'] as const;
export type ListName = (typeof LISTS)[number];

/** Points at which runtime and container wait for each other. */
export const SYNC = { network: 0, createRuntime: 1, attach: 2 } as const;
export type SyncPoint = keyof typeof SYNC;

export type NamespaceKind = 'user' | 'mount' | 'pid' | 'network' | 'ipc' | 'uts' | 'cgroup' | 'time';

export interface CloneStep {
  op: 'clone';
  /** Namespaces to make. */
  namespaces: NamespaceKind[];
  /** Namespaces to join, by path or all of a process's by its pid. */
  join: { namespaces: NamespaceKind[]; path?: string | undefined; pid?: number | undefined }[];
  /** Directory of the cgroup v2 group that init is born in. */
  cgroup?: string | undefined;
  /** Content of timens_offsets, see time_namespaces(7). */
  timeOffsets?: string | undefined;
  /** Keep user and network namespace for restarts, so that addresses and id maps stay. */
  keepNamespaces: boolean;
}

export type FsOption = readonly [key: string, value?: string];

type Common = {
  /** Not repeated when the monitor replays the plan for a restart. */
  firstRunOnly?: boolean;
};

export type Step = Common &
  (
    | { op: 'mkdirs'; path: string; mode: number }
    | { op: 'writeFile'; path: string; data: string; optional?: boolean }
    | { op: 'procWrite'; name: string; data: string }
    | { op: 'cgroupOpen'; path: string; slot: number }
    | { op: 'deviceProgram'; cgroup: string; program: Uint8Array; rules: number }
    | { op: 'rlimits'; limits: { name: string; soft: bigint; hard: bigint }[] }
    | { op: 'cgroupKill'; path: string }
    | { op: 'cgroupRemove'; path: string }
    | { op: 'removeTree'; path: string }
    | { op: 'unlink'; path: string }
    | { op: 'sync'; point: SyncPoint }
    | { op: 'listen'; directory: string; name: string; slot: number }
    | { op: 'stdioOwner'; uid: number; gid: number }
    | { op: 'report'; paths: string[] }
    | { op: 'limitChanges'; file: string; pass: 'make' | 'join' | 'remove' }
    | {
        op: 'openTree';
        slot: number;
        source: string;
        recursive: boolean;
        /** Mount attributes of the top mount (MOUNT_ATTR_*), and of the whole tree. */
        set: number;
        clear: number;
        deepSet: number;
        deepClear: number;
        /** MS_PRIVATE … of mount(2); 0 leaves it. */
        propagation: number;
        idmap?: { optional: boolean; recursive: boolean; usernsSlot?: number | undefined } | undefined;
      }
    | { op: 'openTreeOf'; slot: number; pid: number; path: string }
    | {
        op: 'overlay';
        slot: number;
        /** Topmost first. */
        lowers: string[];
        upper?: string | undefined;
        work?: string | undefined;
        idmap: boolean;
        attrs: number;
        options: FsOption[];
        /**
         * How overlay is told of its lower layers: `lowerdir+` with fds or strings; `attached`: each attached for the moment
         * in a mount namespace that a child has, and named by mount(2).
         */
        form: 'fd' | 'strings' | 'attached';
      }
    | { op: 'fsMount'; slot: number; fstype: string; source: string; attrs: number; options: FsOption[] }
    | {
        op: 'node';
        slot: number;
        /** Below the mount in the slot. */
        path: string;
        /** In the container. */
        shown: string;
        type: 'c' | 'b' | 'p';
        mode: number;
        major: number;
        minor: number;
        uid: number;
        gid: number;
      }
    | { op: 'symlinkIn'; slot: number; path: string; shown: string; target: string; uid: number; gid: number }
    | { op: 'mkdirIn'; slot: number; path: string; shown: string; mode: number; uid: number; gid: number }
    | { op: 'propagation'; flags: number }
    | { op: 'attachRoot'; slot: number }
    | { op: 'enterRoot' }
    | { op: 'unmount'; path: string }
    | {
        op: 'attachAt';
        slot: number;
        /** A directory of the host, covered in the plan's own mount namespace. */
        path: string;
      }
    | {
        op: 'attach';
        slot: number;
        target: string;
        create: 'no' | 'directory' | 'file' | 'like-source';
        propagation: number;
        recursive: boolean;
      }
    | {
        op: 'mountFs';
        target: string;
        propagation: number;
        fstype: string;
        source: string;
        attrs: number;
        options: FsOption[];
      }
    | { op: 'mask'; paths: string[] }
    | { op: 'readonlyPaths'; paths: string[] }
    | { op: 'rootAttr'; set: number; clear: number; propagation: number }
    | { op: 'pivot'; chroot: boolean }
    | { op: 'mkdirsIn'; directories: { path: string; mode: number }[] }
    | { op: 'hostname'; name: string }
    | { op: 'domainname'; name: string }
    | { op: 'sysctl'; values: Record<string, string> }
    | { op: 'loopback' }
    | {
        op: 'console';
        uid: number;
        gid: number;
        rows: number;
        columns: number;
        bindConsole: boolean;
        socketSlot: number;
      }
    | {
        op: 'hook';
        path: string;
        args: string[];
        env: string[];
        /** Seconds; 0: none. */
        timeout: number;
        state: string;
        kind: 'createContainer' | 'startContainer' | 'poststop';
      }
    | { op: 'namespaceRoot' }
    | { op: 'setsid' }
    | { op: 'keyring'; name: string }
    | { op: 'cgroupEnter'; slot: number; path: string }
    | { op: 'cgroupNamespace' }
    | { op: 'bounding'; keep: bigint }
    | { op: 'ids'; uid: number; gid: number; groups: number[]; setGroups: boolean }
    | { op: 'caps'; effective: bigint; permitted: bigint; inheritable: bigint; ambient: bigint }
    | { op: 'umask'; mask: number }
    | { op: 'chdir'; path: string }
    | { op: 'noNewPrivs' }
    | { op: 'seccomp'; flags: number; program: Uint8Array; listenerSlot: number; state: string }
    | { op: 'personality'; domain: number }
    | {
        op: 'scheduler';
        policy: number;
        flags: number;
        nice: number;
        priority: number;
        runtime: bigint;
        deadline: bigint;
        period: bigint;
      }
    | { op: 'ioPriority'; class: number; priority: number }
    | { op: 'affinity'; mask: Uint8Array; cpus: string }
    | { op: 'memoryPolicy'; mode: number; mask: Uint8Array }
    | { op: 'lsmLabel'; attribute: string; label: string }
    | { op: 'deathSignal'; signal: number }
    | { op: 'fds'; slots: number[] }
    | { op: 'waitStart'; slot: number }
    | { op: 'findProgram'; path: string; name: string; cwd: string }
    | { op: 'reaper' }
    | { op: 'leave' }
    | { op: 'exec'; path: string; argv: string[]; env: string[] }
  );

export type StepOf<K extends Step['op']> = Extract<Step, { op: K }>;
