import type { HostFacts } from '../host/index.js';
import type { IdMapping, Spec } from '../spec/index.js';
import type { StdioMode } from './steps.js';

/** Everything that decides a launch. Plain data, so that a plan can be made, printed and compared without root. */
export interface PlanInput {
  id: string;
  spec: Spec;
  host: Pick<HostFacts, 'features' | 'cgroup' | 'kernel'>;
  rootfs: RootfsInput;
  stdio: StdioMode;
  stdinOpen?: boolean;
  /** Initial size of the terminal. */
  terminalSize?: { rows: number; columns: number };
  cgroup?: CgroupInput;
  /** Symbolic links made in the container's tree where nothing lies yet (soname links of a driver's libraries). */
  links?: readonly { path: string; target: string }[];
  /** Seccomp program compiled from spec.linux.seccomp. */
  seccomp?: { program: Uint8Array; flags: number; listener?: { passed: string; state: string } };
  /** Who wires the network while init works: the runtime, at a sync point. */
  networkSync?: boolean;
  /** A client is connected to the monitor before the program starts, so that no output is lost. */
  attachSync?: boolean;
  /** Maps of a user namespace that is joined, where the spec has none: who owns what is made for it. */
  joinedMappings?: { uid: IdMapping[]; gid: IdMapping[] };
  /** Bind mounts are shown with the container's ids (idmapped), as far as their filesystem can. */
  idmapBinds?: boolean;
  /** For mounts with a mapping of their own: destination → name of the passed user namespace. */
  mountUserns?: Record<string, string>;
  /** Restart policies: keep user and network namespace. */
  keepNamespaces?: boolean;
  /** --init: a reaper of ours stays pid 1. */
  reaper?: boolean;
  /** The monitor's end kills the program. Off for OCI, where the monitor leaves. */
  dieWithMonitor?: boolean;
  dieWithRuntime?: boolean;
  /** OCI create: wait for start at this socket. */
  waitStart?: { directory: string; name: string };
  /** Runtime hooks that need the runtime at the createRuntime point. */
  runtimeHooks?: boolean;
  /** JSON of the container's state that hooks get on stdin. */
  hookState?: string;
  /**
   * The monitor runs the poststop hooks: with this state on their stdin, and then removes the note that they are due.
   * Absent: whoever deletes the container runs them.
   */
  poststop?: { state: string; due: string } | undefined;
  /** Names of fds handed over by the runtime, in slot order from 3; `preserve` of them become 3, 4, … of the program. */
  passed?: string[];
  preserve?: number;
  noPivot?: boolean;
  noNewKeyring?: boolean;
  /** Files of the cgroup read at the end, for usage figures. */
  report?: string[];
  /** Directories removed when the container has ended for good (--rm). */
  removeAtEnd?: string[];
  /** Link that goes with it. */
  unlinkAtEnd?: string[];
}

export type RootfsInput =
  | {
      kind: 'overlay';
      /** Layer directories, lowest first. */
      layers: string[];
      upper?: string;
      work?: string;
      /** Throw-away: skip the sync of the upper filesystem (`volatile`, kernel docs overlayfs.rst). */
      volatile?: boolean;
      /** Layers hold ids from 0 on and are shown through the container's map. */
      idmap: boolean;
    }
  | {
      kind: 'directory';
      path: string;
      idmap: boolean;
    };

/** What the cgroup room says is to be done, in order. */
export interface CgroupInput {
  /** Groups to make and limits to write, in order. */
  steps: ({ op: 'mkdir'; path: string } | { op: 'write'; path: string; value: string; optional: boolean })[];
  /** The monitor stands in the container's memory limit: the OOM killer must not choose it. */
  sparesMonitor?: boolean;
  /** The cgroup v2 group that init is born in. */
  into?: string;
  /** cgroup v1 groups that init enters before all else. */
  join: string[];
  /** Those of them whose hierarchies a mount of the container's cgroups shows; absent: all. */
  shown?: string[];
  device?: { cgroup: string; program: Uint8Array; rules: number };
  /** File with limits changed while it runs: the monitor's own restarts apply them, its end removes their groups. */
  changes?: string;
  /** Groups to kill and remove at the end, deepest first. */
  remove: string[];
}
