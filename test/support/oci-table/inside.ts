import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inside, type Scenario, same } from './scenario.js';

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

/** What a program sees and may do inside. */
export const INSIDE: Scenario[] = [
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
    'capabilities: ambient, but not inheritable',
    (s) => {
      const c = ['CAP_NET_RAW', 'CAP_CHOWN'];
      s.process!.capabilities = { bounding: c, effective: c, permitted: c, ambient: ['CAP_CHOWN'] };
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
];
