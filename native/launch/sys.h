// The newer system calls and their constants, whatever libc knows of them. Nothing here decides anything.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace nsbox {

// clone(2), <linux/sched.h>: kept here because libc's headers know them only partly.
struct CloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
      cgroup;
};
inline constexpr uint64_t kCloneIntoCgroup = 0x200000000ULL;

// mount_setattr(2)
struct MountAttr {
  uint64_t attr_set = 0, attr_clr = 0, propagation = 0, userns_fd = 0;
};
inline constexpr uint64_t kAttrRdonly = 0x1, kAttrNosuid = 0x2, kAttrNodev = 0x4, kAttrNoexec = 0x8;
inline constexpr uint64_t kAttrIdmap = 0x00100000;

inline constexpr unsigned kOpenTreeClone = 1, kOpenTreeCloexec = O_CLOEXEC, kAtRecursive = 0x8000;
inline constexpr unsigned kMoveFromEmpty = 0x4, kMoveToEmpty = 0x40;
inline constexpr unsigned kFsopenCloexec = 1, kFsmountCloexec = 1;
inline constexpr unsigned kFsconfigFlag = 0, kFsconfigString = 1, kFsconfigFd = 5, kFsconfigCreate = 6;

inline pid_t SysClone3(CloneArgs* args) {
  return static_cast<pid_t>(syscall(SYS_clone3, args, sizeof(*args)));
}
inline int SysPidfdOpen(pid_t pid, unsigned flags) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, flags));
}
inline int SysPidfdSendSignal(int pidfd, int sig) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, sig, nullptr, 0));
}
inline int SysOpenTree(int dir, const char* path, unsigned flags) {
  return static_cast<int>(syscall(SYS_open_tree, dir, path, flags));
}
inline int SysMoveMount(int from, int to) {
  return static_cast<int>(syscall(SYS_move_mount, from, "", to, "", kMoveFromEmpty | kMoveToEmpty));
}
inline int SysMountSetattr(int dir, const char* path, unsigned flags, MountAttr* attr) {
  return static_cast<int>(syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof(*attr)));
}
inline int SysFsopen(const char* type) { return static_cast<int>(syscall(SYS_fsopen, type, kFsopenCloexec)); }
inline int SysFsconfig(int fd, unsigned cmd, const char* key, const void* value, int aux) {
  return static_cast<int>(syscall(SYS_fsconfig, fd, cmd, key, value, aux));
}
inline int SysFsmount(int fd, unsigned attrs) {
  return static_cast<int>(syscall(SYS_fsmount, fd, kFsmountCloexec, attrs));
}
inline int SysCloseRange(unsigned first, unsigned last, unsigned flags) {
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}
inline int SysPivotRoot(const char* root, const char* old) {
  return static_cast<int>(syscall(SYS_pivot_root, root, old));
}

// Opens a path as if `root` were "/": symlinks and ".." can't lead out, magic links are refused.
inline int OpenInRoot(int root, const char* path, int flags, unsigned mode = 0) {
  struct open_how how;
  memset(&how, 0, sizeof(how));
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof(how)));
}

}  // namespace nsbox
