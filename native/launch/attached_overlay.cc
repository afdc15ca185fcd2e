// Who: a child of the monitor, or of the process that uses the addon, while that one waits. Where: a mount
// namespace of its own, a private copy of its parent's, gone with the child. It shares its parent's memory and
// table of fds, so what it opens there is open here.
//
// Before Linux 6.15 overlayfs clones only mounts of the caller's own mount namespace (clone_private_mount()),
// and an idmapped layer is always a new mount, so it has to be attached somewhere. It is, where nobody sees it.
#include "launch/attached_overlay.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "launch/sys.h"

namespace nsbox {

namespace {

// mount(2) takes a page of options and drops the rest without a word.
constexpr size_t kOptionsLimit = 4096;
constexpr char kPlace[] = "root";

// Gives one layer a place: the directory `name` of the tmpfs.
Failure AttachLayer(int layer, int tmpfs, const char* name, const char* path) {
  if (mkdirat(tmpfs, name, 0700) != 0) return Fail("mkdirat", path);
  Fd at(openat(tmpfs, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at.ok()) return Fail("openat", path);
  if (SysMoveMount(layer, at.get()) != 0) return Fail("move_mount", path);
  return Ok();
}

// A tmpfs over "/": paths keep leading to what is below (a lookup starts at the root directory itself), so
// nothing is hidden and no directory of the host is needed.
Failure MakePlace(Fd* tmpfs) {
  Fd fs(SysFsopen("tmpfs"));
  if (!fs.ok()) return Fail("fsopen", "tmpfs");
  if (SysFsconfig(fs.get(), kFsconfigCreate, nullptr, nullptr, 0) != 0) return Fail("fsconfig", "tmpfs");
  tmpfs->reset(SysFsmount(fs.get(), 0));
  if (!tmpfs->ok()) return Fail("fsmount", "tmpfs");
  Fd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.ok()) return Fail("open", "/");
  if (SysMoveMount(tmpfs->get(), root.get()) != 0) return Fail("move_mount", "/");
  return Ok();
}

Failure Build(const AttachedOverlay& what, Fd* mount) {
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Fail("mount", "/");
  Fd tmpfs;
  NSBOX_TRY(MakePlace(&tmpfs));
  std::string options = "lowerdir=";
  char name[48];
  for (size_t i = 0; i < what.lowers.size(); i++) {
    const char* path = what.lowers[i];
    Fd layer(SysOpenTree(AT_FDCWD, path, kOpenTreeClone | kOpenTreeCloexec));
    if (!layer.ok()) return Fail("open_tree", path);
    if (what.userns >= 0) {
      MountAttr attr;
      attr.attr_set = kAttrIdmap;
      attr.userns_fd = static_cast<uint64_t>(what.userns);
      if (SysMountSetattr(layer.get(), "", AT_EMPTY_PATH, &attr) != 0) return Fail("mount_setattr", path);
    }
    snprintf(name, sizeof(name), "%zu", i);
    NSBOX_TRY(AttachLayer(layer.get(), tmpfs.get(), name, path));
    options += (i ? ":" : "") + std::string(name);
  }
  // Opened in this namespace, as overlayfs clones the mount of the upper directory too.
  Fd writable[2];
  if (what.upper[0]) {
    const char* keys[] = {"upperdir", "workdir"};
    const char* paths[] = {what.upper, what.work};
    for (int i = 0; i < 2; i++) {
      writable[i].reset(open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!writable[i].ok()) return Fail("open", paths[i]);
      snprintf(name, sizeof(name), ",%s=/proc/self/fd/%d", keys[i], writable[i].get());
      options += name;
    }
  }
  if (!what.options.empty()) options += "," + what.options;
  if (options.size() >= kOptionsLimit) {
    Failure f = Fail("mount", "overlay", E2BIG);
    snprintf(f.detail, sizeof(f.detail), "%zu layers need more than a page of options", what.lowers.size());
    return f;
  }
  if (mkdirat(tmpfs.get(), kPlace, 0700) != 0) return Fail("mkdirat", kPlace);
  if (fchdir(tmpfs.get()) != 0) return Fail("fchdir", "tmpfs");
  if (::mount("overlay", kPlace, "overlay", 0, options.c_str()) != 0) return Fail("mount", "overlay");
  Fd made(SysOpenTree(tmpfs.get(), kPlace, kOpenTreeClone | kOpenTreeCloexec));
  if (!made.ok()) return Fail("open_tree", "overlay");
  MountAttr attr;
  attr.attr_set = what.attrs;
  if (what.attrs != 0 && SysMountSetattr(made.get(), "", AT_EMPTY_PATH, &attr) != 0) {
    return Fail("mount_setattr", "overlay");
  }
  mount->reset(made.release());
  return Ok();
}

struct Task {
  const AttachedOverlay* what;
  Fd* mount;
  Failure failure;
};

int Child(void* data) {
  Task* task = static_cast<Task*>(data);
  task->failure = Build(*task->what, task->mount);
  return 0;
}

}  // namespace

Failure MountAttachedOverlay(const AttachedOverlay& what, Fd* mount) {
  Task task{&what, mount, Fail("clone", "overlay", ECHILD)};
  alignas(16) char stack[32 * 1024];
  // Handlers of the parent's must not run in the child. No exit signal: a SIGCHLD is none of the embedder's
  // business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t pid =
      clone(Child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS, &task);
  const int err = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return Fail("clone", "overlay", err);
  // Its namespace is gone when it can be waited for.
  while (waitpid(pid, nullptr, __WCLONE) < 0 && errno == EINTR) {
  }
  return task.failure;
}

}  // namespace nsbox
