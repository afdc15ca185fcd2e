#include "launch/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/fd.h"

namespace nsbox {

Failure MakeDirectories(const char* path, unsigned mode) {
  if (mkdir(path, mode) == 0 || errno == EEXIST) return Ok();
  if (errno != ENOENT) return Fail("mkdir", path);
  char prefix[PATH_MAX];
  const size_t size = strlen(path);
  if (size >= sizeof(prefix)) return Fail("mkdir", path, ENAMETOOLONG);
  memcpy(prefix, path, size + 1);
  // A parent that is empty for a moment may be removed by a clean-up at the same time: then once more.
  for (int round = 0; round < 20; round++) {
    for (char* p = prefix + 1; *p; p++) {
      if (*p != '/') continue;
      *p = 0;
      const int made = mkdir(prefix, mode);
      *p = '/';
      if (made != 0 && errno != EEXIST && errno != ENOENT) return Fail("mkdir", path);
    }
    if (mkdir(path, mode) == 0 || errno == EEXIST) return Ok();
    if (errno != ENOENT) break;
  }
  return Fail("mkdir", path);
}

Failure WriteWhole(const char* path, const void* data, size_t size) {
  Fd fd(open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.ok()) return Fail("open", path);
  ssize_t n;
  do n = write(fd.get(), data, size);
  while (n < 0 && errno == EINTR);
  if (n < 0) return Fail("write", path);
  return Ok();
}

Failure RemoveTreeAt(int dir, const char* name) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return Ok();
  if (errno != EISDIR && errno != EPERM) return Fail("unlink", name);
  const int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? Ok() : Fail("open", name);
  DIR* d = fdopendir(fd);
  if (!d) {
    close(fd);
    return Fail("opendir", name);
  }
  Failure failure;
  while (dirent* e = readdir(d)) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    failure = RemoveTreeAt(dirfd(d), e->d_name);
    if (failure) {
      failure.path = "";  // the entry's name goes with the directory stream
      break;
    }
  }
  closedir(d);
  if (failure) return failure;
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
  return Fail("rmdir", name);
}

}  // namespace nsbox
