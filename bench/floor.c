// The floor of a start: a plain C program that makes the kernel calls of a default container and nothing else, as
// short as they can be written. What nsbox takes beyond this is nsbox's own cost.
//
//   floor ROOTFS SCRATCH SECCOMP-FILE|-
//
// ROOTFS: directory with the program /true. SCRATCH: an empty directory for upper and work. Each line read from
// stdin is one start; its wall time in nanoseconds is printed. The container: all namespaces but time, a user
// namespace with 65,536 ids at 200000, an overlay over an idmapped lower, /proc /sys /dev /dev/pts /dev/shm
// /dev/mqueue, six devices, masked and read-only paths as Docker has them, pivot_root, host name, the loopback
// link, capabilities, no_new_privs, a seccomp filter (compiled before), and a cgroup of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

static void Die(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(1);
}
#define TRY(call)                      \
  ({                                   \
    const long result_ = (long)(call); \
    if (result_ < 0) Die(#call);       \
    result_;                           \
  })

static int64_t Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void Write(const char* path, const char* text) {
  const int fd = (int)TRY(open(path, O_WRONLY | O_CLOEXEC));
  TRY(write(fd, text, strlen(text)));
  close(fd);
}

static const char* root_directory;
static const char* scratch;
static struct sock_fprog filter;
static const char* const kGroups[] = {"/sys/fs/cgroup/unified/floor", "/sys/fs/cgroup/floor"};

// A filesystem made and configured, attached nowhere yet.
static int Make(const char* type, const char* const options[][2], unsigned attrs) {
  const int fs = (int)TRY(syscall(SYS_fsopen, type, 1));
  for (int i = 0; options && options[i][0]; i++)
    TRY(syscall(SYS_fsconfig, fs, 1, options[i][0], options[i][1], 0));
  TRY(syscall(SYS_fsconfig, fs, 6, 0, 0, 0));
  const int mount = (int)TRY(syscall(SYS_fsmount, fs, 1, attrs));
  close(fs);
  return mount;
}

static void Attach(int mount, int directory, const char* path) {
  TRY(syscall(SYS_move_mount, mount, "", directory, path, MOVE_MOUNT_F_EMPTY_PATH));
  close(mount);
}

static void BindReadonly(int root, const char* path) {
  const int fd = (int)syscall(SYS_openat, root, path, O_PATH | O_CLOEXEC);
  if (fd < 0) return;
  const int tree = (int)TRY(syscall(SYS_open_tree, fd, "", 1 | O_CLOEXEC | 0x1000 | 0x8000));
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  TRY(syscall(SYS_mount_setattr, tree, "", 0x1000 | 0x8000, &attr, sizeof(attr)));
  TRY(syscall(SYS_move_mount, tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | 0x40));
  close(tree);
  close(fd);
}

static void Mask(int root, const char* path, int null, int empty) {
  const int fd = (int)syscall(SYS_openat, root, path, O_PATH | O_CLOEXEC);
  if (fd < 0) return;
  struct stat st;
  TRY(fstat(fd, &st));
  const int over =
      (int)TRY(syscall(SYS_open_tree, S_ISDIR(st.st_mode) ? empty : null, "", 1 | O_CLOEXEC | 0x1000));
  TRY(syscall(SYS_move_mount, over, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | 0x40));
  close(over);
  close(fd);
}

// Runs in the new namespaces; `overlay` and `dev` are detached mounts, `go` is written when ids are mapped.
static void Init(int go, int overlay, int dev) {
  char byte;
  TRY(read(go, &byte, 1));
  TRY(syscall(SYS_setresgid, 0, 0, 0));
  TRY(syscall(SYS_setresuid, 0, 0, 0));
  TRY(mount("", "/", 0, MS_REC | MS_PRIVATE, 0));
  Attach(overlay, AT_FDCWD, root_directory);
  const int root = (int)TRY(open(root_directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  Attach(Make("proc", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), root, "proc");
  Attach(Make("sysfs", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY), root,
         "sys");
  Attach(Make("cgroup2", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY),
         root, "sys/fs/cgroup");
  Attach(dev, root, "dev");
  const char* const pts[][2] = {{"newinstance", 0}, {"ptmxmode", "0666"}, {"mode", "0620"}, {0, 0}};
  {
    const int fs = (int)TRY(syscall(SYS_fsopen, "devpts", 1));
    for (int i = 1; pts[i][0]; i++) TRY(syscall(SYS_fsconfig, fs, 1, pts[i][0], pts[i][1], 0));
    TRY(syscall(SYS_fsconfig, fs, 6, 0, 0, 0));
    Attach((int)TRY(syscall(SYS_fsmount, fs, 1, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)), root, "dev/pts");
  }
  const char* const shm[][2] = {{"mode", "1777"}, {"size", "64m"}, {0, 0}};
  Attach(Make("tmpfs", shm, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), root, "dev/shm");
  Attach(Make("mqueue", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), root, "dev/mqueue");

  static const char* const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
  for (size_t i = 0; i < sizeof(readonly) / sizeof(readonly[0]); i++) BindReadonly(root, readonly[i]);
  static const char* const masked[] = {"proc/asound",
                                       "proc/acpi",
                                       "proc/kcore",
                                       "proc/keys",
                                       "proc/latency_stats",
                                       "proc/timer_list",
                                       "proc/timer_stats",
                                       "proc/sched_debug",
                                       "proc/scsi",
                                       "sys/firmware",
                                       "sys/devices/virtual/powercap"};
  const int null = (int)TRY(syscall(SYS_openat, root, "dev/null", O_PATH | O_CLOEXEC));
  const int empty = Make("tmpfs", 0, MOUNT_ATTR_RDONLY);
  for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) Mask(root, masked[i], null, empty);

  TRY(fchdir(root));
  TRY(syscall(SYS_pivot_root, ".", "."));
  TRY(umount2(".", MNT_DETACH));
  TRY(chdir("/"));
  TRY(sethostname("floor", 5));
  const int s = (int)TRY(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  TRY(ioctl(s, SIOCSIFFLAGS, &lo));
  close(s);
  TRY(setsid());
  const uint64_t kept = 0xa80425fb;
  for (int c = 0; c < 41; c++)
    if (!(kept >> c & 1)) prctl(PR_CAPBSET_DROP, c);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{(uint32_t)kept, (uint32_t)kept, 0}, {0, 0, 0}};
  TRY(syscall(SYS_capset, &header, data));
  TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  TRY(syscall(SYS_close_range, 3, ~0u, 4));
  if (filter.len) TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
  char* argv[] = {"/true", 0};
  char* env[] = {"PATH=/bin", 0};
  execve("/true", argv, env);
  Die("execve /true");
}

static void Start(unsigned n) {
  char upper[512], work[512], group[128], text[64];
  snprintf(upper, sizeof(upper), "%s/%u-upper", scratch, n);
  snprintf(work, sizeof(work), "%s/%u-work", scratch, n);
  TRY(mkdir(upper, 0755));
  TRY(mkdir(work, 0755));
  TRY(chown(upper, 200000, 200000));
  TRY(chown(work, 200000, 200000));
  int cgroup = -1;
  for (int i = 0; i < 2 && cgroup < 0; i++) {
    if (access(kGroups[i], F_OK) != 0 && i == 0 && access("/sys/fs/cgroup/unified", F_OK) != 0) continue;
    snprintf(group, sizeof(group), "%s-%d-%u", kGroups[i], (int)getpid(), n);
    if (mkdir(group, 0755) == 0) cgroup = (int)TRY(open(group, O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  if (cgroup < 0) Die("mkdir cgroup");

  int go[2];
  TRY(pipe2(go, O_CLOEXEC));
  // Init waits for its ids before it needs the mounts, so the clone comes first and the mounts come meanwhile;
  // their fds reach it because the descriptor table is copied late: CLONE_FILES until unshared at execve.
  int pidfd = -1;
  struct clone_args args = {
      .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
               CLONE_NEWCGROUP | CLONE_PIDFD | CLONE_INTO_CGROUP | CLONE_FILES,
      .pidfd = (uint64_t)(uintptr_t)&pidfd,
      .exit_signal = SIGCHLD,
      .cgroup = (uint64_t)cgroup,
  };
  // The numbers of the fds that will be opened below: the table is shared, so they are known by asking first.
  const int overlay_at = 200, dev_at = 201;
  const pid_t pid = (pid_t)TRY(syscall(SYS_clone3, &args, sizeof(args)));
  if (pid == 0) {
    // A descriptor table of its own once everything is there.
    char byte;
    TRY(read(go[0], &byte, 1));
    TRY(unshare(CLONE_FILES));
    Init(go[0], overlay_at, dev_at);
  }
  snprintf(text, sizeof(text), "/proc/%d/uid_map", pid);
  Write(text, "0 200000 65536");
  snprintf(text, sizeof(text), "/proc/%d/gid_map", pid);
  Write(text, "0 200000 65536");
  snprintf(text, sizeof(text), "/proc/%d/ns/user", pid);
  const int user = (int)TRY(open(text, O_RDONLY | O_CLOEXEC));

  const int lower = (int)TRY(syscall(SYS_open_tree, AT_FDCWD, root_directory, 1 | O_CLOEXEC));
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user};
  TRY(syscall(SYS_mount_setattr, lower, "", 0x1000, &attr, sizeof(attr)));
  const int fs = (int)TRY(syscall(SYS_fsopen, "overlay", 1));
  char path[64];
  if (syscall(SYS_fsconfig, fs, 5, "lowerdir+", 0, lower) < 0) {
    snprintf(path, sizeof(path), "/proc/self/fd/%d", lower);
    TRY(syscall(SYS_fsconfig, fs, 1, "lowerdir", path, 0));
  }
  TRY(syscall(SYS_fsconfig, fs, 1, "upperdir", upper, 0));
  TRY(syscall(SYS_fsconfig, fs, 1, "workdir", work, 0));
  TRY(syscall(SYS_fsconfig, fs, 6, 0, 0, 0));
  const int overlay = (int)TRY(syscall(SYS_fsmount, fs, 1, 0));
  close(fs);
  const char* const dev_options[][2] = {{"mode", "755"}, {"size", "65536k"}, {0, 0}};
  const int dev = Make("tmpfs", dev_options, MOUNT_ATTR_NOSUID);
  static const struct {
    const char* name;
    unsigned major, minor;
  } nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
               {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  umask(0);
  for (size_t i = 0; i < 6; i++)
    TRY(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
  TRY(mkdirat(dev, "pts", 0755));
  TRY(mkdirat(dev, "shm", 01777));
  TRY(mkdirat(dev, "mqueue", 0755));
  TRY(symlinkat("/proc/self/fd", dev, "fd"));
  TRY(symlinkat("pts/ptmx", dev, "ptmx"));
  TRY(dup3(overlay, overlay_at, O_CLOEXEC));
  TRY(dup3(dev, dev_at, O_CLOEXEC));
  TRY(write(go[1], "..", 2));
  int status;
  TRY(waitpid(pid, &status, 0));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) Die("the program in the container failed");
  const int opened[] = {overlay, dev, overlay_at, dev_at, lower, user, pidfd, go[0], go[1], cgroup};
  for (size_t i = 0; i < sizeof(opened) / sizeof(opened[0]); i++) close(opened[i]);
  rmdir(group);
  char inner[600];
  snprintf(inner, sizeof(inner), "%s/work", work);
  rmdir(inner);
  rmdir(work);
  rmdir(upper);
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  root_directory = argv[1];
  scratch = argv[2];
  if (strcmp(argv[3], "-") != 0) {
    static struct sock_filter instructions[4096];
    const int fd = (int)TRY(open(argv[3], O_RDONLY | O_CLOEXEC));
    filter.len =
        (unsigned short)(TRY(read(fd, instructions, sizeof(instructions))) / (long)sizeof(instructions[0]));
    filter.filter = instructions;
    close(fd);
  }
  char line[16];
  for (unsigned n = 0; fgets(line, sizeof(line), stdin); n++) {
    const int64_t start = Now();
    Start(n);
    printf("%lld\n", (long long)(Now() - start));
    fflush(stdout);
  }
  return 0;
}
