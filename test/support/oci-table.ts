import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Spec } from '../../src/spec/index.js';
import type { OciWorld } from './oci-bundle.js';

/** Rows that one scenario adds: behaviour → what was seen. Compared between runtimes, name by name. */
export type Rows = Record<string, string>;

export interface Scenario {
  name: string;
  rows: (world: OciWorld) => Rows | Promise<Rows>;
}

type Change = (spec: Spec, world: OciWorld) => unknown;

/** Runs a container whose script prints `key=value` lines; each is a row, with the exit code. */
function inside(name: string, change: Change, script: string): Scenario {
  return {
    name,
    rows: (world) => {
      const bundle = world.bundle((s) => {
        s.process!.args = ['sh', '-c', script];
        return change(s, world);
      });
      const r = world.call(['run', '--bundle', bundle, world.id()]);
      const rows: Rows = { exit: String(r.code) };
      for (const line of r.stdout.split('\n')) {
        const at = line.indexOf('=');
        if (at > 0) rows[line.slice(0, at)] = line.slice(at + 1).trim();
      }
      return rows;
    },
  };
}

/** A container that must not come to be: exit code, and whether the message has the words that callers look for. */
function refused(name: string, change: Change, says?: RegExp): Scenario {
  return {
    name,
    rows: (world) => {
      const id = world.id();
      const r = world.create(
        id,
        world.bundle((s) => change(s, world)),
      );
      const rows: Rows = { exit: String(r.code), 'left behind': String(world.state(id) !== undefined) };
      if (says) rows[`says ${says.source}`] = String(says.test(r.stderr));
      world.call(['delete', '-f', id]);
      return rows;
    },
  };
}

/** Commands on a running (or stopped) container. */
function commands(
  name: string,
  change: Change,
  act: (world: OciWorld, id: string) => Rows | Promise<Rows>,
): Scenario {
  return {
    name,
    rows: async (world) => {
      const id = world.id();
      const created = world.create(
        id,
        world.bundle((s) => change(s, world)),
      );
      if (created.code !== 0) return { create: `${created.code}` };
      const rows = await act(world, id);
      world.call(['delete', '-f', id]);
      return rows;
    },
  };
}

const same: Change = () => undefined;
const code = (r: { code: number | null }) => String(r.code);
/** Exit code, and whether stderr has these words. */
const fails = (r: { code: number | null; stderr: string }, says: RegExp) =>
  `${r.code} ${says.test(r.stderr)}`;

const WORLD_SCRIPT = `
for f in Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Umask; do
  echo "status $f=$(grep "^$f:" /proc/self/status | cut -f2- | tr '\\t' ' ')"; done
echo "pid=$$"
echo "parent=$(grep PPid /proc/$$/status | tr -dc 0-9)"
echo "hostname=$(hostname)"
echo "cwd=$(pwd)"
for v in $(env | cut -d= -f1 | sort); do case $v in SHLVL|PWD|OLDPWD|_) ;; *) eval "echo \\"env $v=\\$$v\\"";; esac; done
for d in null zero full random urandom tty; do echo "node $d=$(stat -c '%F %a %u:%g %t,%T' /dev/$d)"; done
for d in fd stdin stdout stderr ptmx; do echo "link $d=$(readlink /dev/$d)"; done
echo "dev=$(ls /dev | sort | tr '\\n' ' ')"
echo "dev mode=$(stat -c '%a %u:%g' /dev)"
echo "shm mode=$(stat -c '%a %u:%g' /dev/shm)"
for m in / /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do
  echo "mount $m=$(grep " $m " /proc/mounts | tail -1 | cut -d' ' -f3)"
  for o in ro rw nosuid noexec nodev; do
    echo "mount $m $o=$(grep " $m " /proc/mounts | tail -1 | cut -d' ' -f4 | tr ',' '\\n' | grep -cx $o)"; done; done
for p in /proc/kcore /proc/timer_list /sys/firmware; do echo "masked $p=$(cat $p 2>/dev/null | wc -c) $(ls $p 2>/dev/null | grep -vc "^$p")"; done
for p in /proc/sys/kernel/hostname /proc/sysrq-trigger; do (echo x > $p) 2>/dev/null; echo "write $p=$?"; done
echo "loopback=$(ip link show lo | head -1 | cut -d'<' -f2 | cut -d'>' -f1)"
echo "interfaces=$(ls /sys/class/net | tr '\\n' ' ')"
echo "open files=$(ls /proc/$$/fd | tr '\\n' ' ')"
echo "oom=$(cat /proc/self/oom_score_adj)"
echo "exe=$(readlink /proc/1/exe)"
echo "environ of 1=$(tr '\\0' ' ' < /proc/1/environ)"
echo "cmdline of 1=$(tr '\\0' ' ' < /proc/1/cmdline | head -c 20)"
echo "session leader=$(cut -d' ' -f6 /proc/1/stat)"
for i in 0 1 3 7; do echo "limit $i=$(sed -n "$((i+2))p" /proc/1/limits 2>/dev/null | head -c 26)"; done
mkdir /tmp/x 2>/dev/null; echo "write root=$?"
sleep 100 & kill -0 $!; echo "child=$?"
`.replaceAll('sed -n "$((i+2))p"', 'head -n $((i+2))');

const limitOf = (name: string) => `grep '^${name}' /proc/1/limits | tr -s ' '`;

export const SCENARIOS: Scenario[] = [
  inside('world', same, WORLD_SCRIPT),
  inside(
    'user',
    (s) => {
      s.process!.user = { uid: 1000, gid: 1001, additionalGids: [5, 6], umask: 0o77 };
    },
    `for f in Uid Gid Groups CapEff CapPrm CapBnd CapAmb Umask; do echo "$f=$(grep "^$f:" /proc/self/status | cut -f2- | tr '\\t' ' ')"; done; cat /proc/kcore 2>/dev/null; echo "kcore=$?"; echo "null=$(stat -c %u:%g /dev/null)"; echo x > /dev/null; echo "write null=$?"`,
  ),
  inside(
    'capabilities: ambient',
    (s) => {
      const c = ['CAP_NET_RAW', 'CAP_CHOWN'];
      s.process!.user = { uid: 7, gid: 7 };
      s.process!.capabilities = {
        bounding: c,
        effective: c,
        permitted: c,
        inheritable: c,
        ambient: ['CAP_CHOWN'],
      };
    },
    `for f in CapInh CapPrm CapEff CapBnd CapAmb; do echo "$f=$(grep "^$f:" /proc/self/status | cut -f2-)"; done`,
  ),
  inside(
    'capabilities: none',
    (s) => {
      s.process!.capabilities = {};
    },
    `for f in CapPrm CapEff CapBnd; do echo "$f=$(grep "^$f:" /proc/self/status | cut -f2-)"; done; mount -t tmpfs x /tmp 2>/dev/null; echo "mount=$?"`,
  ),
  inside(
    'no_new_privs off',
    (s) => {
      s.process!.noNewPrivileges = false;
    },
    `echo "nnp=$(grep NoNewPrivs /proc/self/status | cut -f2)"`,
  ),
  inside(
    'cwd is made',
    (s) => {
      s.process!.cwd = '/data/new/deep';
    },
    'echo "cwd=$(pwd)"; echo "mode=$(stat -c "%a %u" .)"',
  ),
  inside(
    'environment',
    (s) => {
      s.process!.env = ['PATH=/bin', 'A=1', 'A=2', 'B=', 'C=x y', 'HOME=/h'];
    },
    'echo "A=$A"; echo "B=[$B]"; echo "C=$C"; echo "HOME=$HOME"; echo "count of A=$(tr "\\0" "\\n" < /proc/self/environ | grep -c ^A=)"',
  ),
  inside(
    'HOME from passwd',
    (s) => {
      s.process!.env = ['PATH=/bin'];
    },
    'echo "HOME=$HOME"',
  ),
  inside(
    'hostname and domainname',
    (s) => {
      s.hostname = 'other';
      s.domainname = 'example.org';
    },
    'echo "h=$(cat /proc/sys/kernel/hostname)"; echo "d=$(cat /proc/sys/kernel/domainname)"',
  ),
  inside(
    'read-only root',
    (s) => {
      s.root!.readonly = true;
    },
    'touch /tmp/y 2>/dev/null; echo "touch=$?"; touch /dev/shm/y; echo "shm=$?"; touch /dev/y; echo "dev=$?"; echo "opts=$(grep " / " /proc/mounts | tail -1 | cut -d" " -f4 | cut -d, -f1)"',
  ),
  inside(
    'rlimits',
    (s) => {
      s.process!.rlimits = [
        { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
        { type: 'RLIMIT_STACK', soft: 1048576, hard: 2097152 },
      ];
    },
    `echo "core=$(${limitOf('Max core')})"; echo "files=$(${limitOf('Max open')})"; echo "stack=$(${limitOf('Max stack')})"; echo "cpu=$(${limitOf('Max cpu')})"`,
  ),
  inside(
    'oom score',
    (s) => {
      s.process!.oomScoreAdj = 500;
    },
    'echo "oom=$(cat /proc/1/oom_score_adj)"',
  ),
  inside(
    'sysctl',
    (s) => {
      s.linux!.sysctl = {
        'net.ipv4.ip_forward': '1',
        'kernel.shm_rmid_forced': '1',
        'kernel.msgmax': '4096',
      };
    },
    'for f in net/ipv4/ip_forward kernel/shm_rmid_forced kernel/msgmax; do echo "$f=$(cat /proc/sys/$f)"; done',
  ),
  inside(
    'personality',
    (s) => {
      s.linux!.personality = { domain: 'LINUX32' };
    },
    'echo "machine=$(uname -m)"; echo "personality=$(cat /proc/self/personality)"',
  ),
  inside(
    'seccomp: errno',
    (s) => {
      s.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64'],
        syscalls: [
          { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 },
          { names: ['rmdir'], action: 'SCMP_ACT_ERRNO' },
        ],
      };
    },
    'echo "why=$(mkdir /tmp/q 2>&1)"; echo "rmdir=$(busybox rmdir /data 2>&1)"; for f in Seccomp Seccomp_filters; do echo "$f=$(grep "^$f:" /proc/self/status | cut -f2)"; done',
  ),
  inside(
    'seccomp: kill',
    (s) => {
      s.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' }],
      };
    },
    'mkdir /tmp/q; echo "mkdir=$?"',
  ),
  inside(
    'seccomp: arguments',
    (s) => {
      s.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [
          { names: ['kill'], action: 'SCMP_ACT_ERRNO', args: [{ index: 1, value: 10, op: 'SCMP_CMP_EQ' }] },
        ],
      };
    },
    'sleep 9 & kill -USR1 $! 2>/dev/null; echo "usr1=$?"; kill -KILL $!; echo "kill=$?"',
  ),
  inside(
    'seccomp: list of what may',
    (s) => {
      s.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 1,
        architectures: ['SCMP_ARCH_X86_64'],
        syscalls: [
          {
            names:
              'read write open openat close stat lstat fstat newfstatat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn ioctl access pipe pipe2 dup dup2 fcntl getpid getppid fork vfork clone execve exit exit_group wait4 uname getcwd getuid geteuid getgid getegid arch_prctl set_tid_address set_robust_list prlimit64 readlink getrandom rseq time gettimeofday clock_gettime sendfile setuid setgid getdents64 futex poll sched_yield capset prctl setgroups setresuid setresgid chdir fchdir umask statfs fstatfs close_range faccessat faccessat2 tgkill gettid kill'.split(
                ' ',
              ),
            action: 'SCMP_ACT_ALLOW',
          },
        ],
      };
    },
    'echo "mkdir=$(mkdir /tmp/q 2>&1)"; echo "id=$(id -u)"',
  ),
  inside(
    'bind mounts',
    (s, w) => {
      const d = path.join(w.directory, 'host');
      mkdirSync(path.join(d, 'sub'), { recursive: true });
      writeFileSync(path.join(d, 'f'), 'hello');
      s.mounts!.push(
        { destination: '/mnt/rw', type: 'bind', source: d, options: ['rbind', 'rw'] },
        {
          destination: '/mnt/ro',
          type: 'bind',
          source: d,
          options: ['rbind', 'ro', 'nosuid', 'nodev', 'noexec'],
        },
        { destination: '/mnt/file', type: 'bind', source: path.join(d, 'f'), options: ['bind', 'ro'] },
        { destination: '/mnt/none', source: d, options: ['bind'] },
      );
    },
    'touch /mnt/rw/t; echo "rw=$?"; touch /mnt/ro/t2 2>/dev/null; echo "ro=$?"; echo "file=$(cat /mnt/file)"; (echo x > /mnt/file) 2>/dev/null; echo "file write=$?"; echo "type none=$(ls /mnt/none | head -1)"; for o in nosuid nodev noexec ro; do echo "ro $o=$(grep " /mnt/ro " /proc/mounts | cut -d" " -f4 | tr , "\\n" | grep -cx $o)"; done; echo "propagation=$(grep " /mnt/rw " /proc/self/mountinfo | grep -c shared)"',
  ),
  inside(
    'tmpfs options',
    (s) => {
      s.mounts!.push({
        destination: '/mnt/t',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'noexec', 'size=1m', 'mode=700', 'uid=5', 'gid=6'],
      });
    },
    'echo "stat=$(stat -c "%a %u:%g" /mnt/t)"; echo "opts=$(grep " /mnt/t " /proc/mounts | cut -d" " -f4)"; dd if=/dev/zero of=/mnt/t/f bs=1M count=2 2>/dev/null; echo "full=$?"',
  ),
  inside(
    'tmpfs takes the mode of what it covers',
    (s, w) => {
      mkdirSync(path.join(w.rootfs, 'moded'));
      chmodSync(path.join(w.rootfs, 'moded'), 0o1777);
      s.mounts!.push({ destination: '/moded', type: 'tmpfs', source: 'tmpfs' });
    },
    'echo "mode=$(stat -c %a /moded)"',
  ),
  inside(
    'mount target behind a link',
    (s, w) => {
      mkdirSync(path.join(w.rootfs, 'real'), { recursive: true });
      symlinkSync('/real', path.join(w.rootfs, 'link'));
      s.mounts!.push({ destination: '/link/x', type: 'tmpfs', source: 'tmpfs' });
    },
    'echo "where=$(grep -c " /real/x " /proc/mounts)"',
  ),
  inside(
    'mount over a file link',
    (s, w) => {
      writeFileSync(path.join(w.rootfs, 'target'), 'old');
      symlinkSync('target', path.join(w.rootfs, 'flink'));
      const f = path.join(w.directory, 'src');
      writeFileSync(f, 'new');
      s.mounts!.push({ destination: '/flink', type: 'bind', source: f, options: ['bind'] });
    },
    'echo "target=$(cat /target)"; echo "link=$(readlink /flink)"',
  ),
  inside(
    'order of mounts',
    (s) => {
      s.mounts!.push(
        { destination: '/mnt/a', type: 'tmpfs', source: 'first' },
        { destination: '/mnt/a', type: 'tmpfs', source: 'second' },
        { destination: '/mnt/a/b', type: 'tmpfs', source: 'third' },
      );
    },
    'echo "a=$(grep " /mnt/a " /proc/mounts | tail -1 | cut -d" " -f1)"; echo "b=$(grep " /mnt/a/b " /proc/mounts | cut -d" " -f1)"; echo "count=$(grep -c " /mnt/a " /proc/mounts)"',
  ),
  inside(
    'masked and read-only paths',
    (s, w) => {
      mkdirSync(path.join(w.rootfs, 'secret/d'), { recursive: true });
      writeFileSync(path.join(w.rootfs, 'secret/f'), 'x');
      mkdirSync(path.join(w.rootfs, 'fixed'), { recursive: true });
      s.linux!.maskedPaths = ['/secret/f', '/secret/d', '/nosuch'];
      s.linux!.readonlyPaths = ['/fixed', '/nosuch'];
    },
    'echo "file=$(cat /secret/f | wc -c)"; touch /secret/d/x 2>/dev/null; echo "directory=$?"; touch /fixed/x 2>/dev/null; echo "fixed=$?"; echo "stat=$(stat -c "%F %t,%T" /secret/f)"',
  ),
  inside(
    'devices',
    (s) => {
      s.linux!.devices = [
        { path: '/dev/mine', type: 'c', major: 1, minor: 3, fileMode: 0o640, uid: 3, gid: 4 },
        { path: '/dev/sub/dir/z', type: 'c', major: 1, minor: 5 },
        { path: '/dev/pipe', type: 'p', fileMode: 0o600 },
        { path: '/dev/kmsg', type: 'c', major: 1, minor: 11, fileMode: 0o666 },
      ];
    },
    'for d in mine sub/dir/z pipe; do echo "$d=$(stat -c "%F %a %u:%g %t,%T" /dev/$d)"; done; head -c 1 /dev/sub/dir/z | od -An -tx1 > /tmp/z; echo "read z=$(cat /tmp/z)"; head -c 1 /dev/kmsg >/dev/null 2>&1; echo "denied=$?"',
  ),
  inside(
    'devices by rule',
    (s) => {
      s.linux!.devices = [{ path: '/dev/kmsg', type: 'c', major: 1, minor: 11, fileMode: 0o666 }];
      s.linux!.resources!.devices!.push({ allow: true, type: 'c', major: 1, minor: 11, access: 'w' });
      s.process!.capabilities = undefined;
    },
    'head -c 1 /dev/kmsg >/dev/null 2>&1; echo "read=$?"; head -c 1 /dev/zero > /dev/null; echo "zero=$?"',
  ),
  inside(
    'user namespace',
    (s, w) => {
      const m = [{ containerID: 0, hostID: 0, size: 100 }];
      s.linux!.uidMappings = m;
      s.linux!.gidMappings = m;
      s.linux!.namespaces!.push({ type: 'user' });
      chmodSync(w.rootfs, 0o755);
    },
    'echo "uid_map=$(cat /proc/self/uid_map | tr -s " ")"; echo "setgroups=$(cat /proc/self/setgroups)"; echo "id=$(id -u)"; echo "null=$(stat -c "%F %a %u:%g" /dev/null)"; echo x > /dev/null; echo "write null=$?"; echo "proc=$(stat -c %F /proc/self)"; echo "dev=$(ls /dev | sort | tr "\\n" " ")"; echo "caps=$(grep CapEff /proc/self/status | cut -f2)"; echo "pts=$(stat -c "%a" /dev/pts)"',
  ),
  inside(
    "the host's network and IPC",
    (s) => {
      s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'network' && n.type !== 'ipc');
    },
    'echo "net=$(readlink /proc/self/ns/net)"; echo "ipc=$(readlink /proc/self/ns/ipc)"',
  ),
  inside(
    'a namespace by path',
    (s) => {
      s.linux!.namespaces!.find((n) => n.type === 'network')!.path = '/proc/self/ns/net';
      s.linux!.namespaces = s.linux!.namespaces!.map((n) =>
        n.type === 'network' ? { type: n.type, path: '/proc/1/ns/net' } : n,
      );
    },
    'echo "net=$(readlink /proc/self/ns/net)"',
  ),
  inside(
    'cgroup namespace',
    (s) => {
      s.linux!.namespaces!.push({ type: 'cgroup' });
    },
    'echo "own=$(grep -c ":/$" /proc/self/cgroup | grep -c "^0$")"',
  ),
  inside(
    'no PATH in the environment',
    (s) => {
      s.process!.env = [];
      s.process!.args![0] = '/bin/sh';
    },
    'echo "PATH=$(/bin/tr "\\0" "\\n" < /proc/1/environ | /bin/grep -c ^PATH)"',
  ),
  inside(
    'a program by a relative path',
    (s) => {
      s.process!.cwd = '/bin';
      s.process!.args![0] = './sh';
    },
    'echo "cwd=$(pwd)"',
  ),
  inside('exit code 0', same, 'exit 0'),
  inside('exit code 42', same, 'exit 42'),
  inside('exit code 255', same, 'exit 255'),
  inside('exit by SIGKILL of a child', same, 'sh -c "kill -9 \\$\\$"; echo "child=$?"'),
  inside(
    'scheduler',
    (s) => {
      s.process!.scheduler = { policy: 'SCHED_BATCH', nice: 5 };
    },
    'echo "policy=$(cut -d" " -f41 /proc/1/stat)"; echo "nice=$(cut -d" " -f19 /proc/1/stat)"',
  ),
  inside(
    'io priority',
    (s) => {
      s.process!.ioPriority = { class: 'IOPRIO_CLASS_IDLE', priority: 0 };
    },
    'echo "io=$(busybox ionice -p 1)"',
  ),
  inside('stdin', same, 'read x; echo "read=$?"'),
  inside(
    'unknown fields',
    (s) => {
      (s as Record<string, unknown>)['novel'] = { a: 1 };
      (s.linux as Record<string, unknown>)['novel'] = true;
    },
    'echo "ran=yes"',
  ),
  inside(
    'null fields',
    (s) => {
      (s as Record<string, unknown>)['hooks'] = null;
      (s.process as Record<string, unknown>)['rlimits'] = null;
    },
    'echo "ran=yes"',
  ),

  refused('no process', (s) => {
    delete s.process;
  }),
  refused('no root', (s) => {
    delete s.root;
  }),
  refused('no args', (s) => {
    s.process!.args = [];
  }),
  refused('cwd not absolute', (s) => {
    s.process!.cwd = 'tmp';
  }),
  refused('cwd is a file', (s) => {
    s.process!.cwd = '/etc/passwd';
  }),
  refused(
    'rootfs is missing',
    (s) => {
      s.root!.path = '/nosuch';
    },
    /no such file or directory/,
  ),
  refused('rootfs is a file', (s) => {
    s.root!.path = '/etc/passwd';
  }),
  refused(
    'program is missing',
    (s) => {
      s.process!.args = ['nosuch'];
    },
    /executable file not found in \$PATH/,
  ),
  refused(
    'program by path is missing',
    (s) => {
      s.process!.args = ['/bin/nosuch'];
    },
    /no such file or directory/,
  ),
  refused('program is a directory', (s) => {
    s.process!.args = ['/etc'];
  }),
  refused(
    'program is not executable',
    (s) => {
      s.process!.args = ['/etc/passwd'];
    },
    /permission denied/,
  ),
  refused('not JSON', () => '{'),
  refused('a wrong type', (s) => {
    (s.process as { cwd: unknown }).cwd = 5;
  }),
  refused('a namespace twice', (s) => {
    s.linux!.namespaces!.push({ type: 'uts' });
  }),
  refused('an unknown namespace', (s) => {
    (s.linux!.namespaces as { type: string }[]).push({ type: 'nosuch' });
  }),
  refused(
    'a namespace path that is missing',
    (s) => {
      s.linux!.namespaces!.find((n) => n.type === 'network')!.path = '/nosuch';
    },
    /no such file or directory/,
  ),
  refused('a namespace path of another type', (s) => {
    s.linux!.namespaces!.find((n) => n.type === 'network')!.path = '/proc/1/ns/uts';
  }),
  refused('hostname without a UTS namespace', (s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'uts');
  }),
  refused('masks without a mount namespace', (s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'mount');
  }),
  refused('mappings without a user namespace', (s) => {
    s.linux!.uidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
  }),
  refused('a sysctl of the host', (s) => {
    s.linux!.sysctl = { 'vm.swappiness': '10' };
  }),
  refused('a sysctl that does not exist', (s) => {
    s.linux!.sysctl = { 'net.nosuch': '10' };
  }),
  refused(
    'a bind mount without its source',
    (s) => {
      s.mounts!.push({ destination: '/x', type: 'bind', source: '/nosuch', options: ['bind'] });
    },
    /no such file or directory/,
  ),
  refused(
    'a filesystem that does not exist',
    (s) => {
      s.mounts!.push({ destination: '/x', type: 'nosuchfs', source: 'x' });
    },
    /no such device/,
  ),
  refused('a device of an unknown type', (s) => {
    s.linux!.devices = [{ path: '/dev/x', type: 'x', major: 1, minor: 1 }];
  }),
  refused('seccomp: an unknown action', (s) => {
    (s.linux as Record<string, unknown>)['seccomp'] = { defaultAction: 'SCMP_ACT_NOSUCH' };
  }),
  refused('a rlimit above the hard one', (s) => {
    s.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 5 }];
  }),
  refused('an unknown rlimit', (s) => {
    s.process!.rlimits = [{ type: 'RLIMIT_NOSUCH', soft: 1, hard: 1 }];
  }),
  refused('a rlimit twice', (s) => {
    const l = { type: 'RLIMIT_CORE', soft: 1, hard: 1 };
    s.process!.rlimits = [l, l];
  }),
  refused('a prestart hook that fails', (s) => {
    s.hooks = { prestart: [{ path: '/bin/false' }] };
  }),
  refused(
    'a createRuntime hook that is missing',
    (s) => {
      s.hooks = { createRuntime: [{ path: '/nosuch' }] };
    },
    /no such file or directory/,
  ),
  refused('a createContainer hook that fails', (s) => {
    s.hooks = { createContainer: [{ path: '/bin/false' }] };
  }),
  refused('a hook that takes too long', (s) => {
    s.hooks = { prestart: [{ path: '/bin/sleep', args: ['sleep', '20'], timeout: 1 }] };
  }),
  refused('a terminal without a console socket', (s) => {
    s.process!.terminal = true;
  }),

  {
    name: 'without a container',
    rows: (w) => {
      const rows: Rows = {};
      for (const c of [
        ['state'],
        ['start'],
        ['kill'],
        ['delete'],
        ['pause'],
        ['resume'],
        ['ps'],
        ['events', '--stats'],
      ]) {
        rows[c[0]!] = fails(w.call([...c, 'nosuch']), /does not exist/);
      }
      rows['exec'] = fails(w.call(['exec', 'nosuch', 'true']), /does not exist/);
      rows['delete --force'] = code(w.call(['delete', '--force', 'nosuch']));
      rows['list -q'] = `${w.call(['list', '-q']).stdout}`;
      rows['no command'] = code(w.call(['nosuch']));
      rows['unknown flag'] = code(w.call(['state', '--nosuch', 'x']));
      rows['too few arguments'] = code(w.call(['state']));
      rows['too many arguments'] = code(w.call(['state', 'a', 'b']));
      rows['version'] = String(
        /^\S+ version \S+\n(commit: .*\n)?spec: \d+\.\d+\.\d+/.test(w.call(['--version']).stdout),
      );
      rows['features'] = code(w.call(['features']));
      rows['help'] = code(w.call(['--help']));
      return rows;
    },
  },
  {
    name: 'ids',
    rows: (w) => {
      const rows: Rows = {};
      for (const id of ['a/b', '..', '.', 'a b', 'ä', 'x:y', ''])
        rows[`create ${JSON.stringify(id)}`] = code(
          w.create('odd', w.bundle()) && w.call(['create', '-b', w.bundle(), id]),
        );
      w.call(['delete', '-f', 'odd']);
      return rows;
    },
  },
  commands(
    'state of a created container',
    (s) => {
      s.annotations = { k: 'v' };
    },
    (w, id) => {
      const s = w.state(id)!;
      return {
        keys: Object.keys(s).sort().join(' '),
        status: String(s['status']),
        annotations: JSON.stringify(s['annotations']),
        version: String(s['ociVersion']),
        'pid is a number': typeof s['pid'],
        'rootfs is absolute': String(String(s['rootfs']).startsWith('/')),
        owner: String(s['owner']),
      };
    },
  ),
  commands('a created container', same, (w, id) => ({
    pause: code(w.call(['pause', id])),
    'status after pause': String(w.state(id)?.['status']),
    resume: code(w.call(['resume', id])),
    'status after resume': String(w.state(id)?.['status']),
    'kill 0': code(w.call(['kill', id, '0'])),
    exec: w.call(['exec', id, 'echo', 'hi']).stdout.trim(),
    delete: code(w.call(['delete', id])),
    'state after delete': fails(w.call(['state', id]), /does not exist/),
  })),
  commands('a running container', same, async (w, id) => {
    const rows: Rows = { start: code(w.call(['start', id])) };
    rows['status'] = String(w.state(id)?.['status']);
    rows['start again'] = code(w.call(['start', id]));
    rows['create with the same id'] = fails(w.call(['create', '-b', w.bundle(), id]), /exist/);
    rows['delete'] = fails(w.call(['delete', id]), /not stopped/);
    rows['still there'] = String(w.state(id)?.['status']);
    rows['resume'] = code(w.call(['resume', id]));
    rows['pause'] = code(w.call(['pause', id]));
    rows['status paused'] = String(w.state(id)?.['status']);
    rows['exec while paused'] = code(w.call(['exec', id, 'true']));
    rows['start while paused'] = code(w.call(['start', id]));
    rows['resume paused'] = code(w.call(['resume', id]));
    rows['kill with a bad signal'] = code(w.call(['kill', id, 'NOSUCH']));
    for (const s of ['0', 'USR1', 'SIGUSR1', 'sigusr1', '10'])
      rows[`kill ${s}`] = code(w.call(['kill', id, s]));
    rows['ps json'] = String(/^\[\d+\]\n$/.test(w.call(['ps', '-f', 'json', id]).stdout));
    rows['ps table'] = w.call(['ps', id]).stdout.split('\n')[0]!.trim().split(/\s+/).join(' ');
    rows['ps with options'] = w
      .call(['ps', id, '-e', '-o', 'pid,comm'])
      .stdout.trim()
      .split('\n')
      .map((l) => l.trim().split(/\s+/).at(-1))
      .join(' ');
    rows['ps bad format'] = code(w.call(['ps', '-f', 'nosuch', id]));
    rows['list json'] = Object.keys((JSON.parse(w.call(['list', '-f', 'json']).stdout) as object[])[0]!)
      .sort()
      .join(' ');
    rows['list head'] = w.call(['list']).stdout.split('\n')[0]!.trim().split(/\s+/).join(' ');
    rows['list -q'] = String(w.call(['list', '-q']).stdout === `${id}\n`);
    rows['events --stats'] = (JSON.parse(w.call(['events', '--stats', id]).stdout) as { type: string }).type;
    rows['kill KILL'] = code(w.call(['kill', id, 'KILL']));
    await w.until(() => w.state(id)?.['status'] === 'stopped');
    rows['pid when stopped'] = String(w.state(id)?.['pid']);
    rows['kill when stopped'] = fails(w.call(['kill', id, 'KILL']), /container not running/);
    rows['kill --all when stopped'] = code(w.call(['kill', '--all', id, 'KILL']));
    rows['start when stopped'] = code(w.call(['start', id]));
    rows['exec when stopped'] = code(w.call(['exec', id, 'true']));
    rows['pause when stopped'] = code(w.call(['pause', id]));
    rows['delete when stopped'] = code(w.call(['delete', id]));
    return rows;
  }),
  commands(
    'exec',
    (s) => {
      s.process!.env = ['PATH=/bin', 'FROM=config'];
      s.process!.cwd = '/tmp';
      s.process!.noNewPrivileges = false;
    },
    (w, id) => {
      w.call(['start', id]);
      const x = (...a: string[]) => w.call(['exec', ...a]);
      const out = (...a: string[]) => x(...a).stdout.trim();
      const file = path.join(w.directory, 'p.json');
      writeFileSync(
        file,
        JSON.stringify({
          cwd: '/etc',
          args: ['sh', '-c', 'pwd; id -u; echo $X'],
          env: ['PATH=/bin', 'X=y'],
          user: { uid: 8, gid: 9 },
        }),
      );
      const rows: Rows = {
        'exit code': code(x(id, 'sh', '-c', 'exit 33')),
        'exit 126': code(x(id, 'sh', '-c', 'exit 126')),
        'killed by a signal': code(x(id, 'sh', '-c', 'kill -TERM $$')),
        'not found': fails(x(id, 'nosuch'), /executable file not found in \$PATH/),
        'path not found': fails(x(id, '/bin/nosuch'), /no such file or directory/),
        'not executable': fails(x(id, '/etc/passwd'), /permission denied/),
        'no command': code(x(id)),
        environment: out(id, 'sh', '-c', 'echo $FROM'),
        '-e': out('-e', 'A=b', '-e', 'C=d', id, 'sh', '-c', 'echo $A$C'),
        '-e over config': out('-e', 'FROM=flag', id, 'sh', '-c', 'echo $FROM'),
        cwd: out(id, 'sh', '-c', 'pwd'),
        '--cwd': out('--cwd', '/etc', id, 'sh', '-c', 'pwd'),
        '--cwd missing': code(x('--cwd', '/nosuch', id, 'true')),
        '-u': out('-u', '12', id, 'sh', '-c', 'id -u; id -g').replace('\n', ' '),
        '-u with group': out('-u', '12:13', id, 'sh', '-c', 'id -u; id -g').replace('\n', ' '),
        '-u by name': code(x('-u', 'root', id, 'true')),
        '-g': out('-g', '44', id, 'grep', 'Groups', '/proc/self/status').replace(/\s+/g, ' '),
        capabilities: out(id, 'grep', 'CapEff', '/proc/self/status'),
        '-c': out('-c', 'CAP_SYS_ADMIN', id, 'grep', '-E', 'Cap(Eff|Bnd)', '/proc/self/status'),
        '--no-new-privs': out('--no-new-privs', id, 'grep', 'NoNewPrivs', '/proc/self/status'),
        'without --no-new-privs': out(id, 'grep', 'NoNewPrivs', '/proc/self/status'),
        '-p': out('-p', file, id).replaceAll('\n', ' '),
        '-p missing': code(x('-p', '/nosuch', id)),
        '-d': code(x('-d', id, 'true')),
        '-d --pid-file': `${code(x('-d', '--pid-file', path.join(w.directory, 'xp'), id, 'true'))}`,
        stdin: w.call(['exec', id, 'cat'], { input: 'in' }).stdout,
        stderr: x(id, 'sh', '-c', 'echo e >&2').stderr,
        'flags after the command are its own': out(id, 'echo', '-d', '--cwd'),
        'pid namespace': out(id, 'cat', '/proc/1/comm'),
        'open files': out(id, 'ls', '/proc/self/fd').replaceAll('\n', ' '),
        'cgroup is the same': String(
          out(id, 'sh', '-c', 'cat /proc/self/cgroup /proc/1/cgroup | sort | uniq -u | wc -l'),
        ),
        'session of its own': String(out(id, 'sh', '-c', 'cut -d" " -f6 /proc/$$/stat') !== '0'),
      };
      return rows;
    },
  ),
  commands(
    'hooks see the state',
    (s, w) => {
      const log = path.join(w.directory, `hook-${path.basename(w.runtime)}`);
      const hook = (name: string) => [
        {
          path: '/bin/sh',
          args: [
            'argv0',
            '-c',
            `echo "${name} $(tr -d ' \\n\\t' | grep -o '"status":"[a-z]*"') $X $#" >> ${log}`,
          ],
          env: ['PATH=/bin:/usr/bin', 'X=env'],
        },
      ];
      s.process!.args = ['true'];
      s.hooks = {
        prestart: hook('prestart'),
        createRuntime: hook('createRuntime'),
        createContainer: hook('createContainer'),
        poststart: hook('poststart'),
        poststop: hook('poststop'),
      };
    },
    async (w, id) => {
      w.call(['start', id]);
      await w.until(() => w.state(id)?.['status'] === 'stopped');
      w.call(['delete', id]);
      const { readFileSync } = await import('node:fs');
      const lines = readFileSync(path.join(w.directory, `hook-${path.basename(w.runtime)}`), 'utf8')
        .trim()
        .split('\n');
      return Object.fromEntries([['count', String(lines.length)], ...lines.map((l, i) => [`hook ${i}`, l])]);
    },
  ),
  {
    name: 'files',
    rows: async (w) => {
      const { readFileSync } = await import('node:fs');
      const id = w.id();
      const pidFile = path.join(w.directory, 'pidfile');
      const rows: Rows = { create: code(w.create(id, w.bundle(), '--pid-file', pidFile)) };
      rows['pid file'] = String(readFileSync(pidFile, 'utf8') === String(w.state(id)?.['pid']));
      w.call(['delete', '-f', id]);
      const log = path.join(w.directory, 'l.json');
      rows['failure with --log'] = code(w.call(['--log', log, '--log-format', 'json', 'start', 'nosuch']));
      const entry = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1)!) as Record<
        string,
        string
      >;
      rows['log fields'] = Object.keys(entry)
        .filter((k) => ['level', 'msg', 'time'].includes(k))
        .sort()
        .join(' ');
      rows['log level'] = entry['level']!;
      rows['bad log format'] = code(w.call(['--log-format', 'nosuch', 'list']));
      rows['list of a root that is missing'] = code(w.call(['--root', '/nosuch/root', 'list']));
      rows['run a bundle that is missing'] = code(w.call(['run', '-b', '/nosuch', 'x']));
      const made = path.join(w.directory, 'made');
      mkdirSync(made);
      rows['spec'] = code(w.call(['spec', '-b', made]));
      rows['spec again'] = code(w.call(['spec', '-b', made]));
      const keep = w.id();
      rows['run --keep'] = code(
        w.call([
          'run',
          '--keep',
          '-b',
          w.bundle((s) => {
            s.process!.args = ['true'];
          }),
          keep,
        ]),
      );
      rows['kept'] = String(w.state(keep)?.['status']);
      const detached = w.id();
      rows['run -d'] = code(w.create(detached, w.bundle()));
      return rows;
    },
  },
];
