// Harmless questions to the kernel: which system calls are there, can this filesystem be idmapped. See
// src/kernel/probe.ts.
#include <linux/bpf.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "addon/support.h"
#include "launch/fd.h"
#include "launch/sys.h"

namespace nsbox {

// errno of a call that can't succeed: ENOSYS where the kernel (or a seccomp filter around us) doesn't have
// it.
static int ErrnoOf(long result) { return result < 0 ? errno : 0; }

static void Put(const Napi::Env& env, Napi::Object& out, const char* name, int err) {
  out.Set(name, Napi::String::New(env, err ? ErrnoName(err) : ""));
}

// BPF_PROG_TYPE_CGROUP_DEVICE: loads "return 1" and drops it.
static int ProbeDeviceProgram() {
  const struct bpf_insn program[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  union bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = reinterpret_cast<uintptr_t>(program);
  attr.insn_cnt = 2;
  attr.license = reinterpret_cast<uintptr_t>("GPL");
  Fd fd(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr))));
  return fd.ok() ? 0 : errno;
}

// Whether overlay takes `lowerdir+` as an fd or as a string (path). Nothing is mounted.
static int ProbeOverlayLower(int directory, bool by_fd) {
  Fd context(SysFsopen("overlay"));
  if (!context.ok()) return errno;
  if (by_fd) return ErrnoOf(SysFsconfig(context.get(), kFsconfigFd, "lowerdir+", nullptr, directory));
  // Before Linux 6.5 overlay takes options the old way: any text is kept, and refused at the mount.
  if (SysFsconfig(context.get(), kFsconfigString, "nsbox", "1", 0) == 0) return EINVAL;
  return ErrnoOf(SysFsconfig(context.get(), kFsconfigString, "lowerdir+", "/", 0));
}

// probeSyscalls(directory: string): Record<string, string>
static Napi::Value ProbeSyscalls(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string directory = Bytes(info, 0);
  Napi::Object out = Napi::Object::New(env);
  Put(env, out, "clone3", ErrnoOf(syscall(SYS_clone3, nullptr, 0)));
  Put(env, out, "openat2", ErrnoOf(syscall(SYS_openat2, -1, "x", nullptr, 0)));
  Put(env, out, "closeRange", ErrnoOf(SysCloseRange(2, 1, 0)));
  Put(env, out, "fsopen", ErrnoOf(syscall(SYS_fsopen, nullptr, 0)));
  Put(env, out, "openTree", ErrnoOf(syscall(SYS_open_tree, -1, "x", 0xffffffff)));
  Put(env, out, "moveMount", ErrnoOf(syscall(SYS_move_mount, -1, "", -1, "", 0xffffffff)));
  Put(env, out, "mountSetattr", ErrnoOf(syscall(SYS_mount_setattr, -1, "", 0xffffffff, nullptr, 0)));
  Put(env, out, "pidfdOpen", ErrnoOf(syscall(SYS_pidfd_open, -1, 0)));
  Put(env, out, "landlock", ErrnoOf(syscall(SYS_landlock_create_ruleset, nullptr, 0, 0xffffffff)));
  Put(env, out, "bpfDevice", ProbeDeviceProgram());
  Fd dir(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (dir.ok()) {
    Put(env, out, "overlayLowerFd", ProbeOverlayLower(dir.get(), true));
    Put(env, out, "overlayLowerString", ProbeOverlayLower(dir.get(), false));
  }
  return out;
}

// The child of ProbeIdmap: shares our memory, so it only sleeps until it is killed.
static int Sleep(void*) {
  for (;;) poll(nullptr, 0, -1);
}

static int WriteMap(pid_t pid, const char* which) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
  Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  const char map[] = "0 1 1\n";
  if (!fd.ok() || write(fd.get(), map, sizeof(map) - 1) < 0) return errno;
  return 0;
}

static int IdmapErrno(const char* directory, pid_t pid) {
  if (int err = WriteMap(pid, "uid_map")) return err;
  if (int err = WriteMap(pid, "gid_map")) return err;
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
  Fd userns(open(path, O_RDONLY | O_CLOEXEC));
  if (!userns.ok()) return errno;
  Fd tree(SysOpenTree(AT_FDCWD, directory, kOpenTreeClone | kOpenTreeCloexec));
  if (!tree.ok()) return errno;
  MountAttr attr;
  attr.attr_set = kAttrIdmap;
  attr.userns_fd = static_cast<uint64_t>(userns.get());
  return ErrnoOf(SysMountSetattr(tree.get(), "", AT_EMPTY_PATH, &attr));
}

// probeIdmap(directory: string): string. "" where a mount of it can be idmapped, else the errno's name. The
// user namespace that mount_setattr(2) wants belongs to a child that shares our memory, so a large heap costs
// nothing.
static Napi::Value ProbeIdmap(const Napi::CallbackInfo& info) {
  const std::string directory = Bytes(info, 0);
  alignas(16) static thread_local char stack[16384];
  const pid_t pid = clone(Sleep, stack + sizeof(stack), CLONE_NEWUSER | CLONE_VM | SIGCHLD, nullptr);
  if (pid < 0) return Napi::String::New(info.Env(), ErrnoName(errno));
  const int err = IdmapErrno(directory.c_str(), pid);
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return Napi::String::New(info.Env(), err ? ErrnoName(err) : "");
}

void RegisterHost(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "probeSyscalls", ProbeSyscalls);
  Export(env, exports, "probeIdmap", ProbeIdmap);
}

}  // namespace nsbox
