// Who: the monitor, after the clone. Where: the host's namespaces. What it makes is attached nowhere: a mount
// is an fd, and the kernel drops it with the last reference. Nothing here appears in the host's mount table.
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "launch/attached_overlay.h"
#include "launch/detached.h"
#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

Failure FsFailure(int fs, const char* call, const char* path) {
  Failure f = Fail(call, path);
  // "e overlay: …": the newest message of the context's log, see fsopen(2)
  char line[sizeof(f.detail)];
  for (;;) {
    const ssize_t n = read(fs, line, sizeof(line) - 1);
    if (n <= 0) break;
    line[n] = 0;
    if (n > 2) strncpy(f.detail, line + 2, sizeof(f.detail) - 1);
  }
  return f;
}

Failure SetOptions(int fs, Reader& r, const char* what) {
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* key = r.str();
    const char* value = r.str();
    const bool has_value = r.flag();
    if (r.bad()) return Malformed();
    const int done = has_value ? SysFsconfig(fs, kFsconfigString, key, value, 0)
                               : SysFsconfig(fs, kFsconfigFlag, key, nullptr, 0);
    if (done != 0) {
      Failure f = FsFailure(fs, "fsconfig", what);
      if (!f.detail[0])
        snprintf(f.detail, sizeof(f.detail), "option %s%s%s", key, has_value ? "=" : "", value);
      return f;
    }
  }
  return Ok();
}

static int SetAttr(int tree, bool recursive, MountAttr& attr) {
  return SysMountSetattr(tree, "", AT_EMPTY_PATH | (recursive ? kAtRecursive : 0), &attr);
}

// All that one mount gets, in one call. An optional idmap is left out where the filesystem has none.
static Failure SetAll(Run& run, int tree, MountAttr& attr, bool optional_idmap, const char* path) {
  if (SetAttr(tree, false, attr) == 0) return Ok();
  if (!optional_idmap || errno != EINVAL) return Fail("mount_setattr", path);
  attr.attr_set &= ~kAttrIdmap;
  attr.userns_fd = 0;
  const bool more = (attr.attr_set | attr.attr_clr | attr.propagation) != 0;
  if (more && SetAttr(tree, false, attr) != 0) return Fail("mount_setattr", path);
  ReportNotice(run, EINVAL);  // ids stay as they are
  return Ok();
}

static Failure IdmapTree(Run& run, int tree, bool recursive, bool optional, int userns, const char* path) {
  MountAttr attr;
  attr.attr_set = kAttrIdmap;
  attr.userns_fd = static_cast<uint64_t>(userns);
  if (!recursive) return SetAll(run, tree, attr, optional, path);
  if (SetAttr(tree, true, attr) == 0) return Ok();
  if (!optional || errno != EINVAL) return Fail("mount_setattr", path);
  ReportNotice(run, EINVAL);  // ids stay as they are
  return Ok();
}

// u32 slot, str source, flag recursive, u64 attrs set, u64 attrs cleared, u64 recursive attrs set, u64
// recursive attrs cleared, u64 propagation, u8 idmap (0 no, 1 the container's, 2 that of an open user
// namespace), flag optional idmap, flag recursive idmap, u32 slot of that namespace
Failure StepOpenTree(Run& run, Reader& r) {
  const uint32_t slot = r.u32();
  const char* source = r.str();
  const bool recursive = r.flag();
  MountAttr attr, deep;
  attr.attr_set = r.u64();
  attr.attr_clr = r.u64();
  deep.attr_set = r.u64();
  deep.attr_clr = r.u64();
  // The copy must not pass mounts back to where it was taken from, unless asked.
  deep.propagation = r.u64();
  const uint8_t idmap = r.u8();
  const bool optional = r.flag();
  const bool idmap_recursive = r.flag();
  const uint32_t userns_slot = r.u32();
  if (r.bad()) return Malformed();
  Fd tree(SysOpenTree(AT_FDCWD, source, kOpenTreeClone | kOpenTreeCloexec | (recursive ? kAtRecursive : 0)));
  if (!tree.ok()) return Fail("open_tree", source);
  const int userns = idmap == 0 ? -1 : idmap == 1 ? run.userns : run.slots.get(userns_slot);
  // The attributes of the one mount follow those of the whole tree: they win.
  const bool apart = recursive && (deep.attr_set | deep.attr_clr | deep.propagation) != 0;
  if (apart) {
    if (idmap != 0) NSBOX_TRY(IdmapTree(run, tree.get(), idmap_recursive, optional, userns, source));
    if (SetAttr(tree.get(), true, deep) != 0) return Fail("mount_setattr", source);
    if ((attr.attr_set | attr.attr_clr) != 0 && SetAttr(tree.get(), false, attr) != 0)
      return Fail("mount_setattr", source);
  } else {
    attr.attr_set |= deep.attr_set & ~attr.attr_clr;
    attr.attr_clr |= deep.attr_clr;
    attr.propagation = deep.propagation;
    if (idmap != 0) {
      attr.attr_set |= kAttrIdmap;
      attr.userns_fd = static_cast<uint64_t>(userns);
    }
    if ((attr.attr_set | attr.attr_clr | attr.propagation) != 0)
      NSBOX_TRY(SetAll(run, tree.get(), attr, optional && idmap != 0, source));
  }
  run.slots.set(slot, tree.release());
  return Ok();
}

// u32 slot, u32 pid, str path: a mount of another container, cloned from inside its mount namespace by a child that enters it
// (open_tree(2) clones only mounts of one's own namespace). Its path is resolved in that container's root.
Failure StepOpenTreeOf(Run& run, Reader& r) {
  const uint32_t slot = r.u32();
  const uint32_t pid = r.u32();
  const char* path = r.str();
  if (r.bad()) return Malformed();
  Fd target(SysPidfdOpen(static_cast<pid_t>(pid), 0));
  if (!target.ok()) return Fail("pidfd_open", path);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return Fail("socketpair", path);
  Fd ours(pair[0]), theirs(pair[1]);
  const pid_t child = fork();
  if (child < 0) return Fail("fork", path);
  if (child == 0) {
    uint32_t err = 0;
    Fd root, at, tree;
    if (setns(target.get(), CLONE_NEWNS) != 0) err = static_cast<uint32_t>(errno);
    if (!err) {
      root.reset(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
      at.reset(OpenInRoot(root.get(), path, O_PATH));
      if (at.ok()) tree.reset(SysOpenTree(at.get(), "", kOpenTreeClone | kOpenTreeCloexec | AT_EMPTY_PATH));
      if (!tree.ok()) err = static_cast<uint32_t>(errno);
    }
    Outgoing m(Message::kGo);
    m.u32(err);
    const int fd = tree.get();
    Send(theirs.get(), m, &fd, err ? 0 : 1);
    _exit(0);
  }
  theirs.reset();
  Incoming in;
  const bool told = Receive(ours.get(), &in);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!told) return Fail("open_tree", path, ECHILD);
  const uint32_t err = in.reader.u32();
  if (err != 0 || in.fd_count != 1) return Fail("open_tree", path, static_cast<int>(err ? err : EIO));
  run.slots.set(slot, in.fds[0]);
  return Ok();
}

// The rest of an overlay step in the form 2.
static Failure OverlayOfAttached(Run& run, Reader& r, uint32_t slot, uint32_t count, AttachedOverlay* what) {
  for (uint32_t i = 0; i < count; i++) {
    what->lowers.push_back(r.str());
    if (r.bad()) return Malformed();
  }
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* key = r.str();
    const char* value = r.str();
    const bool has_value = r.flag();
    if (r.bad()) return Malformed();
    what->options += (what->options.empty() ? "" : ",") + std::string(key);
    if (has_value) what->options += "=" + std::string(value);
  }
  if (r.bad()) return Malformed();
  Fd mount;
  NSBOX_TRY(MountAttachedOverlay(*what, &mount));
  run.slots.set(slot, mount.release());
  return Ok();
}

// u32 slot, u8 form (0: FSCONFIG_SET_FD lowerdir+, 1: lowerdir+ as strings, 2: see attached_overlay.h), flag
// idmap, str upper ("" for none), str work, u32 attrs, u32 n lowers (topmost first), str…, options
Failure StepOverlay(Run& run, Reader& r) {
  const uint32_t slot = r.u32();
  const uint8_t form = r.u8();
  const bool idmap = r.flag();
  const char* upper = r.str();
  const char* work = r.str();
  const uint32_t attrs = r.u32();
  const uint32_t count = r.u32();
  if (r.bad()) return Malformed();
  if (form == 2) {
    AttachedOverlay what;
    what.userns = idmap ? run.userns : -1;
    what.upper = upper;
    what.work = work;
    what.attrs = attrs;
    return OverlayOfAttached(run, r, slot, count, &what);
  }
  Fd fs(SysFsopen("overlay"));
  if (!fs.ok()) return Fail("fsopen", "overlay");
  SysFsconfig(fs.get(), kFsconfigString, "source", "overlay", 0);
  std::vector<Fd> layers;  // open until the superblock holds them
  for (uint32_t i = 0; i < count; i++) {
    const char* lower = r.str();
    if (r.bad()) return Malformed();
    Fd fd;
    if (idmap) {
      fd.reset(SysOpenTree(AT_FDCWD, lower, kOpenTreeClone | kOpenTreeCloexec));
      if (!fd.ok()) return Fail("open_tree", lower);
      NSBOX_TRY(IdmapTree(run, fd.get(), false, false, run.userns, lower));
    } else {
      fd.reset(open(lower, O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!fd.ok()) return Fail("open", lower);
    }
    char name[32];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd.get());
    int done = 0;
    if (form == 0) done = SysFsconfig(fs.get(), kFsconfigFd, "lowerdir+", nullptr, fd.get());
    if (form == 1) done = SysFsconfig(fs.get(), kFsconfigString, "lowerdir+", name, 0);
    if (done != 0) return FsFailure(fs.get(), "fsconfig", lower);
    layers.push_back(std::move(fd));
  }
  if (upper[0]) {
    const char* keys[] = {"upperdir", "workdir"};
    const char* paths[] = {upper, work};
    for (int i = 0; i < 2; i++) {
      Fd fd(open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!fd.ok()) return Fail("open", paths[i]);
      char name[32];
      snprintf(name, sizeof(name), "/proc/self/fd/%d", fd.get());
      if (SysFsconfig(fs.get(), kFsconfigString, keys[i], name, 0) != 0) {
        return FsFailure(fs.get(), "fsconfig", paths[i]);
      }
      layers.push_back(std::move(fd));
    }
  }
  NSBOX_TRY(SetOptions(fs.get(), r, "overlay"));
  if (r.bad()) return Malformed();
  if (SysFsconfig(fs.get(), kFsconfigCreate, nullptr, nullptr, 0) != 0) {
    return FsFailure(fs.get(), "fsconfig", "overlay");
  }
  Fd mount(SysFsmount(fs.get(), attrs));
  if (!mount.ok()) return FsFailure(fs.get(), "fsmount", "overlay");
  run.slots.set(slot, mount.release());
  return Ok();
}

Failure NewMount(Reader& r, Fd* mount) {
  const char* type = r.str();
  const char* source = r.str();
  const uint32_t attrs = r.u32();
  if (r.bad()) return Malformed();
  Fd fs(SysFsopen(type));
  if (!fs.ok()) return Fail("fsopen", type);
  if (source[0] && SysFsconfig(fs.get(), kFsconfigString, "source", source, 0) != 0) {
    return FsFailure(fs.get(), "fsconfig", type);
  }
  NSBOX_TRY(SetOptions(fs.get(), r, type));
  if (r.bad()) return Malformed();
  if (SysFsconfig(fs.get(), kFsconfigCreate, nullptr, nullptr, 0) != 0)
    return FsFailure(fs.get(), "fsconfig", type);
  mount->reset(SysFsmount(fs.get(), attrs));
  if (!mount->ok()) return FsFailure(fs.get(), "fsmount", type);
  return Ok();
}

// u32 slot, str type, str source, u32 attrs, options
Failure StepFsMount(Run& run, Reader& r) {
  const uint32_t slot = r.u32();
  Fd mount;
  NSBOX_TRY(NewMount(r, &mount));
  run.slots.set(slot, mount.release());
  return Ok();
}

// Opens the directory of a path inside a detached mount and gives the last name. The mount may be an image's
// root, so every component is resolved in it.
static Failure Parent(int mount, const char* path, Fd* parent, const char** name) {
  char prefix[PATH_MAX];
  const char* slash = strrchr(path, '/');
  *name = slash ? slash + 1 : path;
  const size_t size = slash ? static_cast<size_t>(slash - path) : 0;
  if (size >= sizeof(prefix)) return Fail("openat2", path, ENAMETOOLONG);
  memcpy(prefix, path, size);
  prefix[size] = 0;
  parent->reset(OpenInRoot(mount, size ? prefix : "/", O_PATH | O_DIRECTORY));
  if (!parent->ok()) return Fail("openat2", path);
  return Ok();
}

static Failure Own(int dir, const char* name, uint32_t uid, uint32_t gid, const char* path) {
  if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0) return Fail("fchownat", path);
  return Ok();
}

// u32 slot, str path, u32 type and permission bits, u32 major, u32 minor, u32 uid, u32 gid
Failure StepNode(Run& run, Reader& r) {
  const int mount = run.slots.get(r.u32());
  const char* path = r.str();
  const uint32_t mode = r.u32();
  const uint32_t major_number = r.u32();
  const uint32_t minor_number = r.u32();
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  if (r.bad()) return Malformed();
  Fd dir;
  const char* name;
  NSBOX_TRY(Parent(mount, path, &dir, &name));
  const dev_t device = makedev(major_number, minor_number);
  const mode_t mask = umask(0);
  int made = mknodat(dir.get(), name, mode, device);
  umask(mask);
  if (made != 0 && errno == EEXIST) {  // an image that brings the very node is as good
    struct stat st;
    if (fstatat(dir.get(), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (mode & S_IFMT) &&
        (st.st_rdev == device || S_ISFIFO(st.st_mode))) {
      made = 0;
    } else {
      errno = EEXIST;
    }
  }
  if (made != 0) return Fail("mknodat", path);
  return Own(dir.get(), name, uid, gid, path);
}

// u32 slot, str path, str target, u32 uid, u32 gid
Failure StepSymlinkIn(Run& run, Reader& r) {
  const int mount = run.slots.get(r.u32());
  const char* path = r.str();
  const char* target = r.str();
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  if (r.bad()) return Malformed();
  Fd dir;
  const char* name;
  NSBOX_TRY(Parent(mount, path, &dir, &name));
  if (symlinkat(target, dir.get(), name) != 0) return errno == EEXIST ? Ok() : Fail("symlinkat", path);
  return Own(dir.get(), name, uid, gid, path);
}

// u32 slot, str path, u32 mode, u32 uid, u32 gid
Failure StepMkdirIn(Run& run, Reader& r) {
  const int mount = run.slots.get(r.u32());
  const char* path = r.str();
  const uint32_t mode = r.u32();
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  if (r.bad()) return Malformed();
  Fd dir;
  const char* name;
  NSBOX_TRY(Parent(mount, path, &dir, &name));
  if (mkdirat(dir.get(), name, mode) != 0) return errno == EEXIST ? Ok() : Fail("mkdirat", path);
  return Own(dir.get(), name, uid, gid, path);
}

}  // namespace nsbox
