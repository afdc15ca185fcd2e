import type { Step, StepOf } from './steps.js';

/** What a step is, for people who read a plan. */
export interface StepText {
  /** What is done: `Mount proc at /proc`. */
  title: string;
  /** The system calls with their arguments. */
  calls: string;
  why: string;
  /** Where the kernel's rule is written. */
  man: string;
}

const hex = (n: number | bigint) => `0x${n.toString(16)}`;
const list = (values: readonly string[], n = 4) =>
  values.length > n ? `${values.slice(0, n).join(', ')}, … (${values.length})` : values.join(', ');
const opts = (o: readonly (readonly [string, string?])[]) =>
  o.map(([k, v]) => (v === undefined ? k : `${k}=${v}`)).join(',');

/** One step in words. */
export function describeStep(step: Step): StepText {
  switch (step.op) {
    case 'mkdirs':
      return {
        title: `Make the cgroup ${step.path}`,
        calls: `mkdir("${step.path}", ${step.mode.toString(8)})`,
        why: 'a group of its own: limits, statistics and a way to kill all of it at once',
        man: 'cgroups(7)',
      };
    case 'writeFile':
      if (step.path === '/proc/self/oom_score_adj') {
        return {
          title: "Keep the monitor out of the OOM killer's choice",
          calls: `write("${step.path}", ${JSON.stringify(step.data)})`,
          why: "it stands in the scope, whose memory limit is the container's",
          man: 'proc_pid_oom_score_adj(5)',
        };
      }
      return {
        title: `Set ${step.path.slice(step.path.lastIndexOf('/') + 1)} to ${step.data.trim()}`,
        calls: `write("${step.path}", ${JSON.stringify(step.data)})`,
        why: 'a limit holds from the first instruction if it is set before the first process is born',
        man: 'cgroups(7)',
      };
    case 'procWrite':
      return step.name.endsWith('_map')
        ? {
            title: `Write the ${step.name.slice(0, 3)} map of the user namespace`,
            calls: `write("/proc/PID/${step.name}", ${JSON.stringify(step.data)})`,
            why: 'root inside becomes an id without rights outside; before the map is there, the process has no ids at all',
            man: 'user_namespaces(7)',
          }
        : {
            title: `Set ${step.name} to ${step.data}`,
            calls: `write("/proc/PID/${step.name}", "${step.data}")`,
            why: "the kernel's out-of-memory killer weighs processes by it",
            man: 'proc(5)',
          };
    case 'cgroupOpen':
      return {
        title: `Open ${step.path} for init to enter`,
        calls: `open("${step.path}/tasks", O_WRONLY)`,
        why: 'a cgroup v1 hierarchy has no CLONE_INTO_CGROUP, and init has no rights there itself',
        man: 'cgroups(7)',
      };
    case 'cgroupEnter':
      return {
        title: `Enter ${step.path}`,
        calls: 'write(tasks, "0")',
        why: 'a thread that moves itself is moved at once; moved by another process it would wait some 10 ms for all CPUs',
        man: 'cgroups(7)',
      };
    case 'deviceProgram':
      return {
        title: `Allow ${step.rules} device rules in ${step.cgroup}`,
        calls: `bpf(BPF_PROG_LOAD, cgroup_device, ${step.program.length / 8} instructions); bpf(BPF_PROG_ATTACH)`,
        why: 'cgroup v2 has no device files: access is decided by a program',
        man: 'bpf(2)',
      };
    case 'rlimits':
      return {
        title: `Set ${list(step.limits.map((l) => l.name))}`,
        calls: 'prlimit(PID, …)',
        why: "ulimits asked for; the host's rights are needed to raise a hard limit",
        man: 'prlimit(2)',
      };
    case 'cgroupKill':
      return {
        title: `Kill what is left in ${step.path}`,
        calls: `write("${step.path}/cgroup.kill", "1")`,
        why: 'every process of the container ends with it, also those that left the session',
        man: 'cgroups(7)',
      };
    case 'cgroupRemove':
      return {
        title: `Remove the cgroup ${step.path}`,
        calls: `rmdir("${step.path}")`,
        why: 'nothing stays behind',
        man: 'cgroups(7)',
      };
    case 'removeTree':
      return {
        title: `Remove ${step.path}`,
        calls: `unlinkat(…), rmdir("${step.path}")`,
        why: '--rm: the writable layer goes with the container',
        man: 'unlink(2)',
      };
    case 'unlink':
      return {
        title: `Remove ${step.path}`,
        calls: `unlink("${step.path}")`,
        why: '--rm: the name or the id range is free again',
        man: 'unlink(2)',
      };
    case 'sync':
      return {
        title: `Meet the runtime: ${step.point}`,
        calls: 'sendmsg(), recvmsg()',
        why:
          step.point === 'network'
            ? 'the runtime wires the network namespace from outside while init mounts'
            : 'the runtime runs its hooks or connects before the program starts',
        man: 'unix(7)',
      };
    case 'listen':
      return {
        title: `Listen at ${step.directory}/${step.name}`,
        calls: `bind("${step.name}"), listen()`,
        why: 'where `start` will knock',
        man: 'unix(7)',
      };
    case 'stdioOwner':
      return {
        title: `Give stdio pipes to uid ${step.uid}`,
        calls: `fchown(0…2, ${step.uid}, ${step.gid})`,
        why: 'a program may open /dev/stdout anew, and a pipe checks its owner then',
        man: 'fchown(2)',
      };
    case 'limitChanges':
      return {
        title: LIMIT_CHANGES[step.pass],
        calls: `read("${step.file}"); ${step.pass === 'remove' ? 'rmdir(…)' : 'write(…)'}`,
        why:
          step.pass === 'remove'
            ? 'nothing stays behind; without `nsbox update` there is no such file'
            : 'a restart by the monitor keeps what `nsbox update` changed; at the first run there is no such file',
        man: 'cgroups(7)',
      };
    case 'report':
      return {
        title: 'Read the figures of the cgroup',
        calls: `read(${list(step.paths, 2)})`,
        why: 'usage is told before the group goes',
        man: 'cgroups(7)',
      };
    case 'openTree':
      return {
        title: `Clone ${step.source} as a detached mount${step.idmap ? ', idmapped' : ''}`,
        calls: `open_tree("${step.source}", OPEN_TREE_CLONE${step.recursive ? '|AT_RECURSIVE' : ''})${step.idmap ? '; mount_setattr(MOUNT_ATTR_IDMAP)' : ''}${step.set || step.clear ? `; mount_setattr(set ${hex(step.set)}, clear ${hex(step.clear)})` : ''}`,
        why: "a bind mount as a file descriptor: it never shows in the host's mount table",
        man: 'open_tree(2), mount_setattr(2)',
      };
    case 'openTreeOf':
      return {
        title: `Clone ${step.path} of process ${step.pid} as a detached mount`,
        calls: `fork(); setns(pidfd of ${step.pid}, CLONE_NEWNS); open_tree("${step.path}", OPEN_TREE_CLONE)`,
        why: 'shared memory belongs to the container whose IPC namespace is joined',
        man: 'open_tree(2), setns(2)',
      };
    case 'overlay':
      return {
        title: `Make the root from ${step.lowers.length} layer${step.lowers.length === 1 ? '' : 's'}${step.idmap ? ', idmapped' : ''}`,
        calls: overlayCalls(step),
        why: `read-only layers shared by all containers of the image, one writable directory of its own${
          step.form === 'attached'
            ? "; this kernel's overlayfs wants its layers attached, so they are, in a mount namespace that ends with the step"
            : ''
        }`,
        man: 'mount(2), kernel docs filesystems/overlayfs.rst',
      };
    case 'fsMount':
      return {
        title: `Make a ${step.fstype} with the host's rights`,
        calls: `fsopen("${step.fstype}"); fsconfig(${opts(step.options)}); fsmount(${hex(step.attrs)})`,
        why:
          step.fstype === 'tmpfs'
            ? "device nodes on a filesystem of the host's work inside a user namespace, and only the host may make them"
            : 'the container has not the right to mount it',
        man: 'fsopen(2)',
      };
    case 'node':
      return {
        title: `Make ${step.shown} (${step.type} ${step.major}:${step.minor})`,
        calls: `mknodat("${step.path}", ${step.type}, ${step.mode.toString(8)}, ${step.major}:${step.minor})`,
        why: 'a device the container may use',
        man: 'mknod(2)',
      };
    case 'symlinkIn':
      return {
        title: `Link ${step.shown} to ${step.target}`,
        calls: `symlinkat("${step.target}", "${step.path}")`,
        why: 'programs expect it',
        man: 'symlink(2)',
      };
    case 'mkdirIn':
      return {
        title: `Make the directory ${step.shown}`,
        calls: `mkdirat("${step.path}", ${step.mode.toString(8)})`,
        why: 'a place to mount on, or to hold devices',
        man: 'mkdir(2)',
      };
    case 'propagation':
      return {
        title: 'Cut mount propagation to the host',
        calls: `mount(NULL, "/", NULL, ${hex(step.flags)})`,
        why: 'what is mounted in here must not appear out there',
        man: 'mount_namespaces(7)',
      };
    case 'attachRoot':
      return {
        title: 'Attach the root',
        calls: 'move_mount(root, "/")',
        why: 'a mount must be attached before pivot_root takes it',
        man: 'move_mount(2)',
      };
    case 'enterRoot':
      return {
        title: "Open the container's root",
        calls: 'open("/", O_PATH)',
        why: 'mounts are attached below it',
        man: 'open(2)',
      };
    case 'unmount':
      return {
        title: `Take away the mount at ${step.path}`,
        calls: `umount2("${step.path}", MNT_DETACH)`,
        why: 'open files stay usable, the path shows what is below',
        man: 'umount(2)',
      };
    case 'leave':
      return { title: 'Leave', calls: '_exit(0)', why: 'there is no program to run', man: '_exit(2)' };
    case 'attachAt':
      return {
        title: `Attach a mount over ${step.path}`,
        calls: `move_mount(mount, "${step.path}")`,
        why: 'a program outside of the container needs to see it at a path',
        man: 'move_mount(2)',
      };
    case 'attach':
      return {
        title: `Attach a mount at ${step.target}`,
        calls: `openat2("${step.target}", RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS); move_mount()`,
        why: "the target is resolved once, inside the container's root: a symlink cannot lead out",
        man: 'openat2(2), move_mount(2)',
      };
    case 'mountFs':
      return {
        title: `Mount ${step.fstype} at ${step.target}`,
        calls: `fsopen("${step.fstype}"); fsconfig(${opts(step.options)}); fsmount(${hex(step.attrs)}); move_mount("${step.target}")`,
        why: WHY_FS[step.fstype] ?? 'asked for',
        man: MAN_FS[step.fstype] ?? 'mount(2)',
      };
    case 'mask':
      return {
        title: `Hide ${list(step.paths)}`,
        calls: 'move_mount(/dev/null or an empty tmpfs)',
        why: 'files of the kernel that tell or change more than a container should',
        man: 'proc(5)',
      };
    case 'readonlyPaths':
      return {
        title: `Make read-only ${list(step.paths)}`,
        calls: 'open_tree(); mount_setattr(MOUNT_ATTR_RDONLY); move_mount()',
        why: 'settings of the whole kernel',
        man: 'mount_setattr(2)',
      };
    case 'rootAttr':
      return {
        title: step.set & 1 ? 'Make the root read-only' : 'Set the propagation of the root',
        calls: `mount_setattr("/", set ${hex(step.set)}, propagation ${hex(step.propagation)})`,
        why: 'asked for',
        man: 'mount_setattr(2)',
      };
    case 'pivot':
      return {
        title: step.chroot ? 'Change the root' : 'Make it the root and let go of the host',
        calls: step.chroot ? 'chroot(".")' : 'pivot_root(".", "."); umount2(".", MNT_DETACH)',
        why: step.chroot ? '--no-pivot' : "after this no path leads to the host's files",
        man: step.chroot ? 'chroot(2)' : 'pivot_root(2)',
      };
    case 'mkdirsIn':
      return {
        title: `Make sure of ${list(step.directories.map((d) => d.path))}`,
        calls: 'mkdirat()',
        why: 'the working directory must be there',
        man: 'mkdir(2)',
      };
    case 'hostname':
      return {
        title: `Set the hostname to ${step.name}`,
        calls: `sethostname("${step.name}")`,
        why: 'its UTS namespace has a name of its own',
        man: 'uts_namespaces(7)',
      };
    case 'domainname':
      return {
        title: `Set the domain name to ${step.name}`,
        calls: `setdomainname("${step.name}")`,
        why: 'asked for',
        man: 'uts_namespaces(7)',
      };
    case 'sysctl':
      return {
        title: `Set ${list(Object.entries(step.values).map(([k, v]) => `${k}=${v}`))}`,
        calls: 'write("/proc/sys/…")',
        why: 'kernel settings that belong to its namespaces',
        man: 'proc(5)',
      };
    case 'loopback':
      return {
        title: 'Bring up lo',
        calls: 'ioctl(SIOCSIFFLAGS, lo, IFF_UP)',
        why: 'a new network namespace has nothing but a loopback that is down',
        man: 'network_namespaces(7)',
      };
    case 'console':
      return {
        title: 'Make a terminal',
        calls: 'open("/dev/pts/ptmx"); ioctl(TIOCSPTLCK); ioctl(TIOCGPTPEER)',
        why: 'a pty of its own devpts, its master with the monitor',
        man: 'pty(7)',
      };
    case 'hook':
      return {
        title: `Run the ${step.kind} hook ${step.path}`,
        calls: `fork(); execve("${step.path}")`,
        why: 'asked for by the bundle',
        man: 'OCI runtime-spec config.md, "POSIX-platform Hooks"',
      };
    case 'namespaceRoot':
      return {
        title: 'Become root of the user namespace',
        calls: 'setresgid(0); setresuid(0); setgroups()',
        why: 'all capabilities, but only over what this namespace owns',
        man: 'user_namespaces(7)',
      };
    case 'setsid':
      return {
        title: 'Start a session',
        calls: 'setsid()',
        why: "no terminal of the caller's controls it",
        man: 'setsid(2)',
      };
    case 'keyring':
      return {
        title: 'Take a session keyring of its own',
        calls: `keyctl(KEYCTL_JOIN_SESSION_KEYRING, "${step.name.slice(0, 20)}…")`,
        why: "the caller's keys are not inherited",
        man: 'keyctl(2)',
      };
    case 'cgroupNamespace':
      return {
        title: 'Make the cgroup namespace',
        calls: 'unshare(CLONE_NEWCGROUP)',
        why: 'its root is the group one is in now: with cgroup v1, init was put there after the clone',
        man: 'cgroup_namespaces(7)',
      };
    case 'bounding':
      return {
        title: 'Drop capabilities from the bounding set',
        calls: `prctl(PR_CAPBSET_DROP) for all but ${hex(step.keep)}`,
        why: 'what is gone here cannot come back, not even through a setuid program',
        man: 'capabilities(7)',
      };
    case 'ids':
      return {
        title: `Become uid ${step.uid}, gid ${step.gid}${step.groups.length ? `, groups ${step.groups.join(',')}` : ''}`,
        calls: `setgroups(); setresgid(${step.gid}); setresuid(${step.uid})`,
        why: 'the user of the image, or the one asked for',
        man: 'setresuid(2)',
      };
    case 'caps':
      return {
        title: `Keep the capabilities ${hex(step.effective)}`,
        calls: `capset(effective ${hex(step.effective)}, permitted ${hex(step.permitted)}, inheritable ${hex(step.inheritable)}); ambient ${hex(step.ambient)}`,
        why: 'root without the rights that reach beyond the container',
        man: 'capabilities(7)',
      };
    case 'umask':
      return {
        title: `Set the umask to ${step.mask.toString(8).padStart(4, '0')}`,
        calls: `umask(${step.mask.toString(8)})`,
        why: 'asked for',
        man: 'umask(2)',
      };
    case 'chdir':
      return {
        title: `Go to ${step.path}`,
        calls: `chdir("${step.path}")`,
        why: 'the working directory',
        man: 'chdir(2)',
      };
    case 'noNewPrivs':
      return {
        title: 'Give up new privileges for good',
        calls: 'prctl(PR_SET_NO_NEW_PRIVS, 1)',
        why: 'setuid programs and file capabilities no longer raise rights',
        man: 'prctl(2)',
      };
    case 'seccomp':
      return {
        title: `Load the seccomp filter (${step.program.length / 8} instructions)`,
        calls: `seccomp(SECCOMP_SET_MODE_FILTER, ${hex(step.flags)})`,
        why: 'system calls a container has no use for are refused',
        man: 'seccomp(2)',
      };
    case 'personality':
      return {
        title: 'Set the personality',
        calls: `personality(${hex(step.domain)})`,
        why: 'asked for',
        man: 'personality(2)',
      };
    case 'scheduler':
      return {
        title: 'Set the scheduling policy',
        calls: `sched_setattr(policy ${step.policy}, nice ${step.nice})`,
        why: 'asked for',
        man: 'sched_setattr(2)',
      };
    case 'ioPriority':
      return {
        title: 'Set the I/O priority',
        calls: `ioprio_set(${step.class}, ${step.priority})`,
        why: 'asked for',
        man: 'ioprio_set(2)',
      };
    case 'affinity':
      return {
        title: `Run on CPUs ${step.cpus}`,
        calls: 'sched_setaffinity()',
        why: 'asked for',
        man: 'sched_setaffinity(2)',
      };
    case 'memoryPolicy':
      return {
        title: 'Set the memory policy',
        calls: `set_mempolicy(${hex(step.mode)})`,
        why: 'asked for',
        man: 'set_mempolicy(2)',
      };
    case 'lsmLabel':
      return {
        title: `Take on the label ${step.label}`,
        calls: `write("/proc/self/attr/${step.attribute}", "${step.label}")`,
        why: 'the security module confines the program from execve on',
        man: 'proc(5)',
      };
    case 'deathSignal':
      return {
        title: 'Die with the monitor',
        calls: `prctl(PR_SET_PDEATHSIG, ${step.signal})`,
        why: 'no container is left without someone who keeps it',
        man: 'prctl(2)',
      };
    case 'fds':
      return {
        title: step.slots.length ? `Keep ${step.slots.length} more open files` : 'Close every fd but 0, 1, 2',
        calls: 'close_range(CLOSE_RANGE_CLOEXEC)',
        why: 'nothing of the runtime leaks into the program',
        man: 'close_range(2)',
      };
    case 'findProgram':
      return {
        title: `Look for the program ${step.name}`,
        calls: `stat(${step.name})`,
        why: 'whoever asked for the container learns of a missing program now, not when it is started',
        man: 'stat(2)',
      };
    case 'waitStart':
      return {
        title: 'Wait for start',
        calls: 'accept4()',
        why: 'OCI create ends here',
        man: 'OCI runtime-spec runtime.md',
      };
    case 'reaper':
      return {
        title: 'Stay as pid 1, the program is a child',
        calls: 'fork(); sigwaitinfo()',
        why: '--init: forwards signals and reaps orphans',
        man: 'pid_namespaces(7)',
      };
    case 'exec':
      return {
        title: `Execute ${step.argv.join(' ')}`,
        calls: `execve(${JSON.stringify(step.argv[0])}, [${list(step.argv.map((a) => JSON.stringify(a)))}], ${step.env.length} variables)`,
        why: "from here on it is the user's program",
        man: 'execve(2)',
      };
  }
}

const WHY_FS: Record<string, string> = {
  proc: 'shows the processes of its own pid namespace',
  sysfs: 'shows the network devices of its own network namespace',
  devpts: 'terminals of its own',
  mqueue: 'message queues of its own IPC namespace',
  tmpfs: 'memory, gone with the container',
  cgroup2: 'its own group looks like the root, through the cgroup namespace',
  cgroup: 'its own group looks like the root, through the cgroup namespace',
};
const MAN_FS: Record<string, string> = {
  proc: 'proc(5)',
  sysfs: 'sysfs(5)',
  devpts: 'pts(4)',
  mqueue: 'mq_overview(7)',
  tmpfs: 'tmpfs(5)',
  cgroup2: 'cgroups(7)',
  cgroup: 'cgroups(7)',
};

function overlayCalls(step: StepOf<'overlay'>): string {
  const upper = step.upper ? `, upperdir=${step.upper}` : '';
  const more = step.options.length ? `, ${opts(step.options)}` : '';
  const layers = step.lowers.length;
  if (step.form !== 'attached')
    return `fsopen("overlay"); fsconfig(lowerdir+ × ${layers}${upper}${more}); fsmount(${hex(step.attrs)})`;
  const idmap = step.idmap ? ', mount_setattr(MOUNT_ATTR_IDMAP)' : '';
  return `clone(CLONE_NEWNS|CLONE_FILES|CLONE_VM|CLONE_VFORK); mount(MS_REC|MS_PRIVATE); (open_tree${idmap}, move_mount) × ${layers}; mount("overlay", lowerdir × ${layers}${upper}${more}); open_tree(OPEN_TREE_CLONE); mount_setattr(set ${hex(step.attrs)})`;
}

const LIMIT_CHANGES = {
  make: 'Apply limits changed meanwhile',
  join: 'Join groups of limits changed meanwhile',
  remove: 'Remove groups of limits changed meanwhile',
} as const;
