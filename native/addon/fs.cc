// File primitives relative to directory fds. See src/kernel/fs.ts, which validates and documents each.
//
// Names and xattr values are bytes: Buffers go in and come out untouched.
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <vector>

#include "addon/support.h"
#include "fs/plain.h"
#include "fs/tree.h"

namespace nsbox {

namespace {

// The result of a call that gives nothing but success.
Napi::Value Done(const Napi::CallbackInfo& info, int result, const char* syscall, const std::string& path) {
  if (result < 0) return ThrowErrno(info.Env(), syscall, path);
  return info.Env().Undefined();
}

// openat2(dirfd, path, flags, mode, resolve) → fd
Napi::Value OpenAt2(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(Int64(info, 2)) | O_CLOEXEC;
  how.mode = Uint(info, 3);
  how.resolve = static_cast<uint64_t>(Uint(info, 4));
  for (int tries = 0;; tries++) {
    long fd = syscall(SYS_openat2, Int(info, 0), path.c_str(), &how, sizeof(how));
    if (fd >= 0) return Napi::Number::New(info.Env(), static_cast<double>(fd));
    // EAGAIN: a rename elsewhere raced with the scoped lookup (openat2(2)); the answer is to try again.
    if (errno == EINTR || (errno == EAGAIN && tries < 128)) continue;
    return ThrowErrno(info.Env(), "openat2", path);
  }
}

Napi::Value MkdirAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  return Done(info, mkdirat(Int(info, 0), path.c_str(), Uint(info, 2)), "mkdirat", path);
}

// mknodat(dirfd, path, mode, major, minor)
Napi::Value MknodAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  dev_t dev = makedev(Uint(info, 3), Uint(info, 4));
  return Done(info, mknodat(Int(info, 0), path.c_str(), Uint(info, 2), dev), "mknodat", path);
}

// symlinkat(target, dirfd, path)
Napi::Value SymlinkAt(const Napi::CallbackInfo& info) {
  std::string target = Bytes(info, 0);
  std::string path = Bytes(info, 2);
  return Done(info, symlinkat(target.c_str(), Int(info, 1), path.c_str()), "symlinkat", path);
}

// linkat(olddirfd, oldpath, newdirfd, newpath, flags)
Napi::Value LinkAt(const Napi::CallbackInfo& info) {
  std::string from = Bytes(info, 1);
  std::string to = Bytes(info, 3);
  return Done(info, linkat(Int(info, 0), from.c_str(), Int(info, 2), to.c_str(), Int(info, 4)), "linkat", to);
}

Napi::Value UnlinkAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  return Done(info, unlinkat(Int(info, 0), path.c_str(), Int(info, 2)), "unlinkat", path);
}

// renameat2(olddirfd, oldpath, newdirfd, newpath, flags)
Napi::Value RenameAt2(const Napi::CallbackInfo& info) {
  std::string from = Bytes(info, 1);
  std::string to = Bytes(info, 3);
  long r = syscall(SYS_renameat2, Int(info, 0), from.c_str(), Int(info, 2), to.c_str(), Uint(info, 4));
  return Done(info, static_cast<int>(r), "renameat2", from);
}

// fchownat(dirfd, path, uid, gid, flags)
Napi::Value FchownAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  return Done(info, fchownat(Int(info, 0), path.c_str(), Uint(info, 2), Uint(info, 3), Int(info, 4)),
              "fchownat", path);
}

Napi::Value FchmodAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  return Done(info, fchmodat(Int(info, 0), path.c_str(), Uint(info, 2), 0), "fchmodat", path);
}

// utimensat(dirfd, path, atime s, atime ns, mtime s, mtime ns, flags); an empty path means the fd itself
Napi::Value UtimensAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  struct timespec times[2] = {};
  times[0].tv_sec = Int64(info, 2);
  times[0].tv_nsec = Int64(info, 3);
  times[1].tv_sec = Int64(info, 4);
  times[1].tv_nsec = Int64(info, 5);
  int r = path.empty() ? futimens(Int(info, 0), times)
                       : utimensat(Int(info, 0), path.c_str(), times, Int(info, 6));
  return Done(info, r, "utimensat", path);
}

// statat(dirfd, path, flags, out: Float64Array): false where there is no such file
Napi::Value StatAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  struct stat st;
  if (fstatat(Int(info, 0), path.c_str(), &st, Int(info, 2)) < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return Napi::Boolean::New(info.Env(), false);
    return ThrowErrno(info.Env(), "fstatat", path);
  }
  Napi::Float64Array out = info[3].As<Napi::Float64Array>();
  const double fields[] = {
      static_cast<double>(st.st_mode),         static_cast<double>(st.st_uid),
      static_cast<double>(st.st_gid),          static_cast<double>(st.st_size),
      static_cast<double>(st.st_nlink),        static_cast<double>(st.st_ino),
      static_cast<double>(st.st_dev),          static_cast<double>(major(st.st_rdev)),
      static_cast<double>(minor(st.st_rdev)),  static_cast<double>(st.st_mtim.tv_sec),
      static_cast<double>(st.st_mtim.tv_nsec), static_cast<double>(st.st_blocks),
      static_cast<double>(st.st_ctim.tv_sec),  static_cast<double>(st.st_ctim.tv_nsec),
      static_cast<double>(st.st_atim.tv_sec),  static_cast<double>(st.st_atim.tv_nsec),
  };
  size_t n = sizeof(fields) / sizeof(fields[0]);
  for (size_t i = 0; i < n && i < out.ElementLength(); i++) out[i] = fields[i];
  return Napi::Boolean::New(info.Env(), true);
}

Napi::Value ReadlinkAt(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  char target[PATH_MAX];
  ssize_t n = readlinkat(Int(info, 0), path.c_str(), target, sizeof(target));
  if (n < 0) return ThrowErrno(info.Env(), "readlinkat", path);
  return Napi::Buffer<char>::Copy(info.Env(), target, static_cast<size_t>(n));
}

// readdir(dirfd) → [name, type, name, type, …]
Napi::Value Readdir(const Napi::CallbackInfo& info) {
  std::vector<DirEntry> entries;
  if (int err = ListDirectory(Int(info, 0), &entries)) return ThrowErrno(info.Env(), "readdir", "", err);
  Napi::Array out = Napi::Array::New(info.Env(), entries.size() * 2);
  uint32_t i = 0;
  for (const DirEntry& e : entries) {
    out[i++] = Napi::Buffer<char>::Copy(info.Env(), e.name.data(), e.name.size());
    out[i++] = Napi::Number::New(info.Env(), e.type);
  }
  return out;
}

// Where a file's xattrs are reached without following a last symlink: setxattrat(2) is younger than most
// kernels.
std::string XattrPath(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  if (Int(info, 0) == AT_FDCWD) return path;
  std::string at = "/proc/self/fd/" + std::to_string(Int(info, 0));
  return path.empty() ? at : at + "/" + path;
}

// An empty path means the fd's own file, behind the magic link.
bool ThroughFd(const Napi::CallbackInfo& info) { return Bytes(info, 1).empty(); }

// setxattr(dirfd, path, name, value)
Napi::Value SetXattr(const Napi::CallbackInfo& info) {
  std::string name = Bytes(info, 2);
  std::string value = Bytes(info, 3);
  auto call = ThroughFd(info) ? setxattr : lsetxattr;
  int r = call(XattrPath(info).c_str(), name.c_str(), value.data(), value.size(), 0);
  return Done(info, r, "lsetxattr", Bytes(info, 1));
}

// getxattr(dirfd, path, name) → Buffer, or undefined where the file has none of that name
Napi::Value GetXattr(const Napi::CallbackInfo& info) {
  std::string name = Bytes(info, 2);
  auto call = ThroughFd(info) ? getxattr : lgetxattr;
  std::vector<char> value(256);
  for (;;) {
    ssize_t n = call(XattrPath(info).c_str(), name.c_str(), value.data(), value.size());
    if (n >= 0) return Napi::Buffer<char>::Copy(info.Env(), value.data(), static_cast<size_t>(n));
    if (errno == ENODATA || errno == EOPNOTSUPP) return info.Env().Undefined();
    if (errno != ERANGE || value.size() > XATTR_SIZE_MAX)
      return ThrowErrno(info.Env(), "lgetxattr", Bytes(info, 1));
    value.resize(XATTR_SIZE_MAX + 1);
  }
}

// listxattr(dirfd, path) → names, each ended by a NUL byte
Napi::Value ListXattr(const Napi::CallbackInfo& info) {
  auto call = ThroughFd(info) ? listxattr : llistxattr;
  std::vector<char> names(1024);
  for (;;) {
    ssize_t n = call(XattrPath(info).c_str(), names.data(), names.size());
    if (n >= 0) return Napi::Buffer<char>::Copy(info.Env(), names.data(), static_cast<size_t>(n));
    if (errno == EOPNOTSUPP) return Napi::Buffer<char>::New(info.Env(), 0);
    if (errno != ERANGE || names.size() > XATTR_LIST_MAX)
      return ThrowErrno(info.Env(), "llistxattr", Bytes(info, 1));
    names.resize(XATTR_LIST_MAX + 1);
  }
}

// removexattr(dirfd, path, name): a missing one is no error
Napi::Value RemoveXattr(const Napi::CallbackInfo& info) {
  std::string name = Bytes(info, 2);
  auto call = ThroughFd(info) ? removexattr : lremovexattr;
  int r = call(XattrPath(info).c_str(), name.c_str());
  if (r < 0 && errno == ENODATA) r = 0;
  return Done(info, r, "lremovexattr", Bytes(info, 1));
}

// lseek(fd, offset, whence) → offset, or -1 where SEEK_DATA/SEEK_HOLE find nothing behind it
Napi::Value Lseek(const Napi::CallbackInfo& info) {
  off_t at = lseek(Int(info, 0), static_cast<off_t>(Int64(info, 1)), Int(info, 2));
  if (at < 0 && errno != ENXIO) return ThrowErrno(info.Env(), "lseek");
  return Napi::Number::New(info.Env(), static_cast<double>(at));
}

// copy_file_range(in, inOffset, out, outOffset, length) → bytes copied
Napi::Value CopyFileRange(const Napi::CallbackInfo& info) {
  off_t from = static_cast<off_t>(Int64(info, 1));
  off_t to = static_cast<off_t>(Int64(info, 3));
  ssize_t n = copy_file_range(Int(info, 0), &from, Int(info, 2), &to, static_cast<size_t>(Int64(info, 4)), 0);
  if (n < 0) return ThrowErrno(info.Env(), "copy_file_range");
  return Napi::Number::New(info.Env(), static_cast<double>(n));
}

// dup(fd), close-on-exec
Napi::Value Dup(const Napi::CallbackInfo& info) {
  int fd = fcntl(Int(info, 0), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return ThrowErrno(info.Env(), "fcntl");
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value RemoveTreeSync(const Napi::CallbackInfo& info) {
  std::string path = Bytes(info, 1);
  if (int err = RemoveTree(Int(info, 0), path.c_str())) return ThrowErrno(info.Env(), "unlinkat", path, err);
  return info.Env().Undefined();
}

// unpackPlain(dirfd, parent, tar, at, out: Float64Array) → bytes of `tar` that are unpacked; members and file bytes in out
Napi::Value UnpackPlainMembers(const Napi::CallbackInfo& info) {
  Napi::Buffer<char> parent = info[1].As<Napi::Buffer<char>>();
  Napi::Buffer<char> tar = info[2].As<Napi::Buffer<char>>();
  const size_t at = static_cast<size_t>(Int64(info, 3));
  if (at > tar.Length()) return ThrowErrno(info.Env(), "unpackPlain", "", EINVAL);
  PlainRun run =
      UnpackPlain(Int(info, 0), {parent.Data(), parent.Length()}, {tar.Data() + at, tar.Length() - at});
  Napi::Float64Array out = info[4].As<Napi::Float64Array>();
  out[0] = static_cast<double>(run.members);
  out[1] = static_cast<double>(run.size);
  return Napi::Number::New(info.Env(), static_cast<double>(run.consumed));
}

// A call that may take long, on a thread of libuv's pool; resolves or rejects a promise.
class Later : public Napi::AsyncWorker {
 public:
  Later(Napi::Env env, const char* syscall, int fd, std::string path)
      : AsyncWorker(env), deferred_(env), syscall_(syscall), fd_(fd), path_(std::move(path)) {}
  Napi::Promise Promise() const { return deferred_.Promise(); }
  virtual int Call() = 0;  // 0 or an errno
  void Execute() override { err_ = Call(); }
  void OnOK() override {
    if (!err_) return deferred_.Resolve(Env().Undefined());
    ThrowErrno(Env(), syscall_, path_, err_);
    deferred_.Reject(Env().GetAndClearPendingException().Value());
  }

 protected:
  Napi::Promise::Deferred deferred_;
  const char* syscall_;
  int fd_;
  std::string path_;
  int err_ = 0;
};

class SyncfsLater : public Later {
  using Later::Later;
  int Call() override { return syncfs(fd_) < 0 ? errno : 0; }
};

class RemoveTreeLater : public Later {
  using Later::Later;
  int Call() override { return RemoveTree(fd_, path_.c_str()); }
};

// The worker deletes itself when it is done (Napi::AsyncWorker).
template <class Work>
Napi::Value Start(Work* work) {
  Napi::Promise promise = work->Promise();
  work->Queue();
  return promise;
}

// syncfs(fd) → promise; the fd must stay open until then
Napi::Value Syncfs(const Napi::CallbackInfo& info) {
  return Start(new SyncfsLater(info.Env(), "syncfs", Int(info, 0), ""));
}

Napi::Value RemoveTreeAsync(const Napi::CallbackInfo& info) {
  return Start(new RemoveTreeLater(info.Env(), "unlinkat", Int(info, 0), Bytes(info, 1)));
}

}  // namespace

void RegisterFs(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "openat2", OpenAt2);
  Export(env, exports, "mkdirat", MkdirAt);
  Export(env, exports, "mknodat", MknodAt);
  Export(env, exports, "symlinkat", SymlinkAt);
  Export(env, exports, "linkat", LinkAt);
  Export(env, exports, "unlinkat", UnlinkAt);
  Export(env, exports, "renameat2", RenameAt2);
  Export(env, exports, "fchownat", FchownAt);
  Export(env, exports, "fchmodat", FchmodAt);
  Export(env, exports, "utimensat", UtimensAt);
  Export(env, exports, "statat", StatAt);
  Export(env, exports, "readlinkat", ReadlinkAt);
  Export(env, exports, "readdir", Readdir);
  Export(env, exports, "setxattr", SetXattr);
  Export(env, exports, "getxattr", GetXattr);
  Export(env, exports, "listxattr", ListXattr);
  Export(env, exports, "removexattr", RemoveXattr);
  Export(env, exports, "lseek", Lseek);
  Export(env, exports, "copyFileRange", CopyFileRange);
  Export(env, exports, "dup", Dup);
  Export(env, exports, "removeTree", RemoveTreeSync);
  Export(env, exports, "removeTreeAsync", RemoveTreeAsync);
  Export(env, exports, "syncfs", Syncfs);
  Export(env, exports, "unpackPlain", UnpackPlainMembers);
}

}  // namespace nsbox
