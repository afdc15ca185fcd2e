// Who: init. Where: the container's own mount namespace, before pivot_root; the host's tree is still there,
// so every path of the container is resolved beneath run.root by openat2(RESOLVE_IN_ROOT |
// RESOLVE_NO_MAGICLINKS) once, and used as an fd from then on. Rights: root of the container's user
// namespace.
#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "launch/detached.h"
#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

// u32 mount flags of mount(2): MS_REC | MS_PRIVATE, MS_SLAVE …
Failure StepPropagation(Run&, Reader& r) {
  const uint32_t flags = r.u32();
  if (r.bad()) return Malformed();
  if (mount(nullptr, "/", nullptr, flags, nullptr) != 0) return Fail("mount", "/");
  return Ok();
}

// u32 slot. Puts the container's root over the host's "/" in this mount namespace: a mount must be attached
// somewhere before pivot_root(2) takes it, and "/" is the one directory that is always there.
Failure StepAttachRoot(Run& run, Reader& r) {
  Fd tree = run.slots.take(r.u32());
  if (r.bad()) return Malformed();
  Fd top(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top.ok()) return Fail("open", "/");
  if (SysMoveMount(tree.get(), top.get()) != 0) return Fail("move_mount", "/");
  run.root = tree.release();
  return Ok();
}

// u32 slot, str directory. Attaches a detached mount to a directory of the host, in this mount namespace alone.
Failure StepAttachAt(Run& run, Reader& r) {
  Fd tree = run.slots.take(r.u32());
  const char* path = r.str();
  if (r.bad()) return Malformed();
  Fd at(open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!at.ok()) return Fail("open", path);
  if (SysMoveMount(tree.get(), at.get()) != 0) return Fail("move_mount", path);
  return Ok();
}

// In a container that runs, whose mount namespace this process has joined: what is attached goes below its root.
Failure StepEnterRoot(Run& run, Reader&) {
  run.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (run.root < 0) return Fail("open", "/");
  return Ok();
}

// str path. Takes away the topmost mount there; who has files of it open keeps them.
Failure StepUnmount(Run&, Reader& r) {
  const char* path = r.str();
  if (r.bad()) return Malformed();
  if (umount2(path, MNT_DETACH) != 0) return Fail("umount2", path);
  return Ok();
}

// kLikeSource: a directory for a directory, else an empty file.
enum class Create : uint8_t { kNo = 0, kDirectory = 1, kFile = 2, kLikeSource = 3 };

// Makes the missing directories of a path beneath the root, one component at a time, each resolved in the
// root.
static Failure MakeParents(int root, const char* path, Create leaf, uint32_t mode) {
  char prefix[PATH_MAX];
  const size_t size = strlen(path);
  if (size >= sizeof(prefix)) return Fail("openat2", path, ENAMETOOLONG);
  memcpy(prefix, path, size + 1);
  size_t end = size;
  while (end > 0 && prefix[end - 1] == '/') prefix[--end] = 0;
  Fd parent(OpenInRoot(root, "/", O_PATH | O_DIRECTORY));
  if (!parent.ok()) return Fail("openat2", path);
  size_t start = 0;
  while (start < end) {
    while (prefix[start] == '/') start++;
    if (start >= end) break;
    size_t stop = start;
    while (stop < end && prefix[stop] != '/') stop++;
    const char saved = prefix[stop];
    prefix[stop] = 0;
    const bool last = stop == end;
    Fd next(OpenInRoot(root, prefix, O_PATH));
    if (!next.ok()) {
      if (errno != ENOENT) return Fail("openat2", path);
      const char* name = prefix + start;
      if (last && leaf == Create::kFile) {
        Fd made(openat(parent.get(), name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode));
        if (!made.ok()) return Fail("openat", path);
        return Ok();
      }
      if (mkdirat(parent.get(), name, last ? mode : 0755) != 0 && errno != EEXIST)
        return Fail("mkdirat", path);
      next.reset(OpenInRoot(root, prefix, O_PATH));
      if (!next.ok()) return Fail("openat2", path);
    }
    parent = std::move(next);
    prefix[stop] = saved;
    start = stop;
  }
  return Ok();
}

// Opens a mount target beneath the root, made if need be.
static Failure OpenTarget(Run& run, const char* path, Create create, uint32_t mode, Fd* target) {
  target->reset(OpenInRoot(run.root, path, O_PATH));
  if (!target->ok()) {
    if (errno != ENOENT || create == Create::kNo) return Fail("openat2", path);
    NSBOX_TRY(MakeParents(run.root, path, create, mode));
    target->reset(OpenInRoot(run.root, path, O_PATH));
    if (!target->ok()) return Fail("openat2", path);
  }
  return Ok();
}

static Failure MoveOnto(int mount, int target, const char* path) {
  if (SysMoveMount(mount, target) != 0) return Fail("move_mount", path);
  return Ok();
}

static Failure Spread(int mount, uint64_t propagation, bool recursive, const char* path) {
  if (propagation == 0) return Ok();
  MountAttr attr;
  attr.propagation = propagation;
  if (SysMountSetattr(mount, "", AT_EMPTY_PATH | (recursive ? kAtRecursive : 0), &attr) != 0) {
    return Fail("mount_setattr", path);
  }
  return Ok();
}

static Failure Like(int source, const char* path, Create* create) {
  if (*create != Create::kLikeSource) return Ok();
  struct stat st;
  if (fstat(source, &st) != 0) return Fail("fstat", path);
  *create = S_ISDIR(st.st_mode) ? Create::kDirectory : Create::kFile;
  return Ok();
}

// u32 slot, str target, u8 create, u64 propagation, flag recursive
Failure StepAttach(Run& run, Reader& r) {
  Fd tree = run.slots.take(r.u32());
  const char* path = r.str();
  Create create = static_cast<Create>(r.u8());
  const uint64_t propagation = r.u64();
  const bool recursive = r.flag();
  if (r.bad()) return Malformed();
  NSBOX_TRY(Like(tree.get(), path, &create));
  Fd target;
  NSBOX_TRY(OpenTarget(run, path, create, create == Create::kFile ? 0644 : 0755, &target));
  NSBOX_TRY(MoveOnto(tree.get(), target.get(), path));
  return Spread(tree.get(), propagation, recursive, path);
}

// str target, u64 propagation, then as NewMount
Failure StepMountFs(Run& run, Reader& r) {
  const char* path = r.str();
  const uint64_t propagation = r.u64();
  if (r.bad()) return Malformed();
  Fd mount;
  NSBOX_TRY(NewMount(r, &mount));
  Fd target;
  NSBOX_TRY(OpenTarget(run, path, Create::kDirectory, 0755, &target));
  NSBOX_TRY(MoveOnto(mount.get(), target.get(), path));
  return Spread(mount.get(), propagation, false, path);
}

static int CloneAt(int fd, bool recursive) {
  return SysOpenTree(fd, "",
                     kOpenTreeClone | kOpenTreeCloexec | AT_EMPTY_PATH | (recursive ? kAtRecursive : 0));
}

// u32 n, str…: hides paths. A directory is covered by an empty read-only tmpfs, a file by /dev/null; what
// isn't there needs no mask.
Failure StepMask(Run& run, Reader& r) {
  Fd null;
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* path = r.str();
    if (r.bad()) return Malformed();
    Fd target(OpenInRoot(run.root, path, O_PATH));
    if (!target.ok()) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      return Fail("openat2", path);
    }
    struct stat st;
    if (fstat(target.get(), &st) != 0) return Fail("fstat", path);
    Fd cover;
    if (S_ISDIR(st.st_mode)) {
      if (run.tmpfs_mask < 0) {
        Fd fs(SysFsopen("tmpfs"));
        if (!fs.ok()) return Fail("fsopen", "tmpfs");
        if (SysFsconfig(fs.get(), kFsconfigString, "nr_blocks", "1", 0) != 0 ||
            SysFsconfig(fs.get(), kFsconfigString, "nr_inodes", "1", 0) != 0 ||
            SysFsconfig(fs.get(), kFsconfigCreate, nullptr, nullptr, 0) != 0) {
          return FsFailure(fs.get(), "fsconfig", path);
        }
        run.tmpfs_mask = SysFsmount(fs.get(), kAttrRdonly | kAttrNosuid | kAttrNodev | kAttrNoexec);
        if (run.tmpfs_mask < 0) return FsFailure(fs.get(), "fsmount", path);
        cover.reset(dup(run.tmpfs_mask));
      } else {
        cover.reset(CloneAt(run.tmpfs_mask, false));
      }
    } else {
      if (!null.ok()) {
        null.reset(OpenInRoot(run.root, "/dev/null", O_PATH));
        struct stat node;
        if (!null.ok() || fstat(null.get(), &node) != 0) return Fail("openat2", "/dev/null");
        if (!S_ISCHR(node.st_mode) || node.st_rdev != makedev(1, 3))
          return Fail("fstat", "/dev/null", ENODEV);
      }
      cover.reset(CloneAt(null.get(), false));
    }
    if (!cover.ok()) return Fail("open_tree", path);
    NSBOX_TRY(MoveOnto(cover.get(), target.get(), path));
  }
  return Ok();
}

// u32 n, str…: each becomes a read-only bind mount of itself
Failure StepReadonlyPath(Run& run, Reader& r) {
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* path = r.str();
    if (r.bad()) return Malformed();
    Fd target(OpenInRoot(run.root, path, O_PATH));
    if (!target.ok()) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      return Fail("openat2", path);
    }
    Fd tree(CloneAt(target.get(), true));
    if (!tree.ok()) return Fail("open_tree", path);
    MountAttr attr;
    attr.attr_set = kAttrRdonly;
    if (SysMountSetattr(tree.get(), "", AT_EMPTY_PATH | kAtRecursive, &attr) != 0)
      return Fail("mount_setattr", path);
    NSBOX_TRY(MoveOnto(tree.get(), target.get(), path));
  }
  return Ok();
}

// u64 attrs set, u64 attrs cleared, u64 propagation of the container's root mount
Failure StepRootAttr(Run& run, Reader& r) {
  MountAttr attr;
  attr.attr_set = r.u64();
  attr.attr_clr = r.u64();
  attr.propagation = r.u64();
  if (r.bad()) return Malformed();
  const int at = run.root >= 0 ? run.root : AT_FDCWD;
  if (SysMountSetattr(at, run.root >= 0 ? "" : "/", run.root >= 0 ? AT_EMPTY_PATH : 0, &attr) != 0) {
    return Fail("mount_setattr", "/");
  }
  return Ok();
}

// flag chroot instead. Makes the container's root "/" of this mount namespace and lets go of the host's tree.
// The old root is stacked on the new one and detached at once, so no directory for it is needed
// (pivot_root(2), "pivot_root(\".\",
// \".\")").
Failure StepPivot(Run& run, Reader& r) {
  const bool only_chroot = r.flag();
  if (r.bad()) return Malformed();
  if (fchdir(run.root) != 0) return Fail("fchdir", "/");
  if (only_chroot) {
    if (chroot(".") != 0) return Fail("chroot", "/");
  } else {
    if (SysPivotRoot(".", ".") != 0) return Fail("pivot_root", "/");
    if (umount2(".", MNT_DETACH) != 0) return Fail("umount2", "/");
  }
  if (chdir("/") != 0) return Fail("chdir", "/");
  close(run.root);
  run.root = -1;
  if (run.tmpfs_mask >= 0) close(run.tmpfs_mask);
  run.tmpfs_mask = -1;
  return Ok();
}

// u32 n, (str path, u32 mode)…: directories in the container, such as the working directory
Failure StepMkdirsIn(Run& run, Reader& r) {
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* path = r.str();
    const uint32_t mode = r.u32();
    if (r.bad()) return Malformed();
    Fd target;
    NSBOX_TRY(OpenTarget(run, path, Create::kDirectory, mode, &target));
  }
  return Ok();
}

}  // namespace nsbox
