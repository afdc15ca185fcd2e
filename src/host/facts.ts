/**
 * Facts about this machine that decide how a container is made. Plain data: a test hands its own to plan(), a bug
 * report can carry them, and `nsbox info` prints them.
 */
export interface HostFacts {
  /** Layout of this record; another number is collected anew. */
  readonly layout: 5;
  readonly kernel: {
    /** As uname -r. */
    readonly release: string;
    /** Major, minor, patch. */
    readonly version: readonly [number, number, number];
  };
  /** As uname -m: x86_64, aarch64, … */
  readonly machine: string;
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  /** CPUs online. */
  readonly cpus: number;
  /** Bytes of memory and of swap. */
  readonly memory: number;
  readonly swap: number;
  readonly cgroup: CgroupFacts;
  readonly capabilities: {
    /** Names without `CAP_`, of the effective and of the bounding set of the process that asked. */
    readonly effective: readonly string[];
    readonly bounding: readonly string[];
    /** Number of the last capability this kernel knows. */
    readonly last: number;
  };
  readonly lsm: {
    readonly apparmor: boolean;
    readonly selinux: boolean;
    /** AppArmor refuses user namespaces of unconfined, unprivileged processes. */
    readonly apparmorRestrictsUserns: boolean;
  };
  readonly seccomp: {
    readonly available: boolean;
    /** /proc/sys/kernel/seccomp/actions_avail */
    readonly actions: readonly string[];
  };
  readonly userns: {
    readonly available: boolean;
    /** Why not, with what would change it. */
    readonly reason: string | null;
  };
  readonly ids: {
    /** Where container ranges may lie: `count` ranges of `size` ids from `start`; 0 in a namespace too narrow. */
    readonly ranges: { readonly start: number; readonly size: number; readonly count: number };
    /** Ranges in there that /etc/subuid and /etc/subgid give to somebody: not to be used. */
    readonly taken: readonly { readonly start: number; readonly size: number; readonly by: string }[];
  };
  /** The filesystem under ctx.root. */
  readonly root: {
    readonly path: string;
    /** ext4, xfs, btrfs, tmpfs, overlay, … or `0x…` of statfs(2) where the name isn't known. */
    readonly filesystem: string;
  };
  readonly features: Readonly<Record<FeatureName, Feature>>;
  readonly limits: {
    readonly pidMax: number;
    /** Highest RLIMIT_NOFILE (fs.nr_open). */
    readonly openFiles: number;
  };
}

/** A kernel feature and how we know. */
export interface Feature {
  readonly have: boolean;
  /** `probe`: tried; `version`: by the kernel's number; `file`: it shows in /proc or /sys. */
  readonly how: 'probe' | 'version' | 'file';
  /** errno of the probe, or the version that has it. */
  readonly detail: string;
}

export type FeatureName =
  | 'clone3'
  | 'cloneIntoCgroup' // clone3 CLONE_INTO_CGROUP, 5.7
  | 'pidfd'
  | 'openat2'
  | 'closeRange'
  | 'newMountApi' // fsopen, fsmount, open_tree, move_mount, 5.2
  | 'mountSetattr' // 5.12
  | 'idmappedRoot' // idmapped mounts of the filesystem under ctx.root
  | 'idmappedOverlay' // overlay takes idmapped lower layers, 5.19
  | 'idmappedLower' // overlay takes idmapped lower layers that are attached nowhere, 6.15
  | 'idmappedTmpfs' // 6.3
  | 'overlayLowerFd' // fsconfig SET_FD lowerdir+, 6.13
  | 'overlayLowerString' // fsconfig SET_STRING lowerdir+, 6.7
  | 'overlayVolatile' // 5.10
  | 'timeNamespace'
  | 'userNamespace'
  | 'cgroupNamespace'
  | 'cgroupKill' // 5.14
  | 'cgroupFreeze' // 5.2
  | 'memoryPeak' // 5.19
  | 'memoryReclaim' // 5.19
  | 'memorySwapPeak' // 6.5
  | 'psi' // pressure files
  | 'bpfDevice' // BPF_PROG_TYPE_CGROUP_DEVICE can be loaded
  | 'landlock'
  | 'seccompNotify'; // 5.0

/** Which controller is bound where. */
export interface CgroupFacts {
  /**
   * `unified`: cgroup2 alone; `hybrid`: cgroup2 beside v1 hierarchies; `legacy`: v1 alone; `none`: nothing mounted.
   */
  readonly mode: 'unified' | 'hybrid' | 'legacy' | 'none';
  /** Mount point of the cgroup2 filesystem. */
  readonly unified: string | null;
  /** cgroup.controllers of that mount point. */
  readonly controllers: readonly string[];
  /** v1 controller → mount point. Co-mounted controllers (cpu,cpuacct) share one. */
  readonly v1: Readonly<Record<string, string>>;
  /** Controllers the kernel was built with and not told to leave out (/proc/cgroups, enabled = 1). */
  readonly known: readonly string[];
  /** Controllers bound to a v1 hierarchy somewhere, though it may not be mounted here (/proc/cgroups, hierarchy ≠ 0). */
  readonly boundToV1: readonly string[];
  /** Controllers switched off on the kernel's command line (cgroup_disable=). */
  readonly disabled: readonly string[];
  /** The file that takes a weight for block IO; null where neither bfq, cfq nor iocost is there. */
  readonly ioWeight: 'io.bfq.weight' | 'io.weight' | 'blkio.bfq.weight' | 'blkio.weight' | null;
  /** Our own group below each mount point: of cgroup2 and by v1 controller. */
  readonly own: { readonly unified: string; readonly v1: Readonly<Record<string, string>> };
  /** False inside a container whose cgroup namespace begins below the real root: processes may then not stay in a group with controllers. */
  readonly realRoot: boolean;
  /** cgroup.type of the mount point; `domain` at the real root. */
  readonly type: string;
  /** Whether the mount is writable. */
  readonly writable: boolean;
  /** CPUs and memory nodes at the root: what a cpuset that says nothing has. */
  readonly cpuset: { readonly cpus: string; readonly mems: string };
  /** Whether swap is counted and can be limited (CONFIG_MEMCG_SWAP, swapaccount). */
  readonly swap: boolean;
  /** systemd is pid 1's world and answers on its private bus: the systemd manager can be used. */
  readonly systemd: boolean;
}
