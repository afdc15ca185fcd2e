// Detached mounts for looking into images and stopped containers. See src/kernel/mounts.ts.
//
// What is made here is attached nowhere: it is an fd, usable as a directory, and the kernel drops the mount
// with it.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "addon/support.h"
#include "launch/attached_overlay.h"
#include "launch/fd.h"
#include "launch/sys.h"

namespace nsbox {

namespace {

// The reason that the kernel left in the filesystem context's log, see fsopen(2).
std::string Reason(int fs) {
  char line[256];
  const ssize_t n = read(fs, line, sizeof(line) - 1);
  return n > 2 ? std::string(line + 2, static_cast<size_t>(n) - 2) : std::string();
}

Napi::Value ThrowFs(Napi::Env env, int fs, const char* syscall, const std::string& path) {
  const int err = errno;
  const std::string reason = Reason(fs);
  return ThrowErrno(env, syscall, reason.empty() ? path : path + " (" + reason + ")", err);
}

std::string Link(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Adds lower directories in the newest form that this kernel takes: fds (6.13), one string each (6.7).
// *known: it takes one of them.
bool SetLowers(int fs, const std::vector<Fd>& lowers, bool* known) {
  bool strings = false;
  for (size_t i = 0; i < lowers.size(); i++) {
    const int fd = lowers[i].get();
    if (!strings && SysFsconfig(fs, kFsconfigFd, "lowerdir+", nullptr, fd) == 0) continue;
    if (i > 0 && !strings) return false;
    strings = true;
    if (SysFsconfig(fs, kFsconfigString, "lowerdir+", Link(fd).c_str(), 0) != 0) {
      *known = i > 0;
      return false;
    }
  }
  return true;
}

// One layer needs no overlay (which asks for two when there is no upper): a detached copy of its mount will do.
Napi::Value OpenLayer(Napi::Env env, const std::string& path, int userns, uint32_t attrs) {
  Fd fd(SysOpenTree(AT_FDCWD, path.c_str(), kOpenTreeClone | kOpenTreeCloexec));
  if (!fd.ok()) return ThrowErrno(env, "open_tree", path);
  MountAttr attr;
  attr.attr_set = attrs | (userns >= 0 ? kAttrIdmap : 0);
  if (userns >= 0) attr.userns_fd = static_cast<uint64_t>(userns);
  if (SysMountSetattr(fd.get(), "", AT_EMPTY_PATH, &attr) != 0) return ThrowErrno(env, "mount_setattr", path);
  return Napi::Number::New(env, fd.release());
}

Napi::Value OpenAttached(const Napi::CallbackInfo& info, const std::string& upper, const std::string& work) {
  Napi::Env env = info.Env();
  Napi::Array paths = info[0].As<Napi::Array>();
  std::vector<std::string> lowers;
  for (uint32_t i = 0; i < paths.Length(); i++) lowers.push_back(Bytes(paths.Get(i)));
  AttachedOverlay what;
  for (const std::string& lower : lowers) what.lowers.push_back(lower.c_str());
  what.userns = Int(info, 3);
  what.upper = upper.c_str();
  what.work = work.c_str();
  what.attrs = Uint(info, 4);
  if (!upper.empty()) what.options = "redirect_dir=off,metacopy=off";
  Fd mount;
  if (Failure f = MountAttachedOverlay(what, &mount)) {
    const std::string path = f.path;
    return ThrowErrno(env, f.call, f.detail[0] ? path + " (" + f.detail + ")" : path, f.err);
  }
  return Napi::Number::New(env, mount.release());
}

// openOverlay(lowers: topmost first, upper or "", work, idmap: fd of a user namespace or -1, attrs, attached)
// → mount fd
Napi::Value OpenOverlay(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array paths = info[0].As<Napi::Array>();
  const std::string upper[] = {Bytes(info, 1), Bytes(info, 2)};
  const int userns = Int(info, 3);
  if (paths.Length() == 1 && upper[0].empty())
    return OpenLayer(env, Bytes(paths.Get(0u)), userns, Uint(info, 4));
  if (info[5].ToBoolean()) return OpenAttached(info, upper[0], upper[1]);
  Fd fs(SysFsopen("overlay"));
  if (!fs.ok()) return ThrowErrno(env, "fsopen", "overlay");
  std::vector<Fd> lowers;
  for (uint32_t i = 0; i < paths.Length(); i++) {
    const std::string path = Bytes(paths.Get(i));
    Fd fd(userns < 0 ? open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)
                     : SysOpenTree(AT_FDCWD, path.c_str(), kOpenTreeClone | kOpenTreeCloexec));
    if (!fd.ok()) return ThrowErrno(env, userns < 0 ? "open" : "open_tree", path);
    if (userns >= 0) {
      MountAttr attr;
      attr.attr_set = kAttrIdmap;
      attr.userns_fd = static_cast<uint64_t>(userns);
      if (SysMountSetattr(fd.get(), "", AT_EMPTY_PATH, &attr) != 0)
        return ThrowErrno(env, "mount_setattr", path);
    }
    lowers.push_back(std::move(fd));
  }
  bool known = true;
  if (!SetLowers(fs.get(), lowers, &known)) {
    return known ? ThrowFs(env, fs.get(), "fsconfig", "overlay") : OpenAttached(info, upper[0], upper[1]);
  }
  std::vector<Fd> uppers;
  const char* keys[] = {"upperdir", "workdir"};
  for (size_t i = 0; i < 2 && !upper[0].empty(); i++) {
    Fd fd(open(upper[i].c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd.ok()) return ThrowErrno(env, "open", upper[i]);
    if (SysFsconfig(fs.get(), kFsconfigString, keys[i], Link(fd.get()).c_str(), 0) != 0)
      return ThrowFs(env, fs.get(), "fsconfig", upper[i]);
    uppers.push_back(std::move(fd));
  }
  // As the plan of a launch has it (src/plan/rootfs.ts): the upper directory holds whole files alone.
  for (const char* option : {"redirect_dir", "metacopy"}) {
    if (upper[0].empty()) break;
    if (SysFsconfig(fs.get(), kFsconfigString, option, "off", 0) != 0)
      return ThrowFs(env, fs.get(), "fsconfig", option);
  }
  if (SysFsconfig(fs.get(), kFsconfigCreate, nullptr, nullptr, 0) != 0)
    return ThrowFs(env, fs.get(), "fsconfig", "overlay");
  Fd mount(SysFsmount(fs.get(), Uint(info, 4)));
  if (!mount.ok()) return ThrowFs(env, fs.get(), "fsmount", "overlay");
  return Napi::Number::New(env, mount.release());
}

// Runs in a process that shares our memory and has every signal blocked: it only waits to be killed.
int Sleep(void*) {
  for (;;) poll(nullptr, 0, -1);
}

bool WriteMap(pid_t pid, const char* file, uint32_t start, uint32_t size) {
  char path[64], line[64];
  snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
  const int n = snprintf(line, sizeof(line), "0 %u %u", start, size);
  Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd.ok() && write(fd.get(), line, static_cast<size_t>(n)) == n;
}

// userNamespace(start, size) → fd of a user namespace in which ids 0…size-1 are start…start+size-1 here
Napi::Value UserNamespace(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  alignas(16) char stack[8192];
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  // No exit signal: a SIGCHLD is none of the embedder's business.
  const pid_t pid = clone(Sleep, stack + sizeof(stack), CLONE_NEWUSER | CLONE_VM, nullptr);
  const int err = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return ThrowErrno(env, "clone", "", err);
  int failed = 0;
  Fd fd;
  if (!WriteMap(pid, "uid_map", Uint(info, 0), Uint(info, 1)) ||
      !WriteMap(pid, "gid_map", Uint(info, 0), Uint(info, 1))) {
    failed = errno;
  } else {
    fd.reset(open(("/proc/" + std::to_string(pid) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.ok()) failed = errno;
  }
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, __WCLONE) < 0 && errno == EINTR) {
  }
  if (failed) return ThrowErrno(env, "write", "uid_map", failed);
  return Napi::Number::New(env, fd.release());
}

// attachMount(mount fd, directory): gives a detached mount a place in this mount namespace
Napi::Value AttachMount(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string path = Bytes(info, 1);
  Fd place(open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!place.ok()) return ThrowErrno(env, "open", path);
  if (SysMoveMount(Int(info, 0), place.get()) != 0) return ThrowErrno(env, "move_mount", path);
  return env.Undefined();
}

// unmount(directory): EBUSY while something in it is open
Napi::Value Unmount(const Napi::CallbackInfo& info) {
  const std::string path = Bytes(info, 0);
  if (umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0) return ThrowErrno(info.Env(), "umount", path);
  return info.Env().Undefined();
}

}  // namespace

void RegisterMounts(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "openOverlay", OpenOverlay);
  Export(env, exports, "userNamespace", UserNamespace);
  Export(env, exports, "attachMount", AttachMount);
  Export(env, exports, "unmount", Unmount);
}

}  // namespace nsbox
