#include "fs/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "launch/fd.h"

namespace nsbox {

int ListDirectory(int dirfd, std::vector<DirEntry>* out) {
  // A description of its own: readdir moves the position, and the caller's fd may be shared. An O_PATH fd
  // works too.
  Fd fd(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return errno;
  DIR* dir = fdopendir(fd.get());
  if (!dir) return errno;
  fd.release();  // closedir closes it
  int err = 0;
  for (;;) {
    errno = 0;
    const dirent* e = readdir(dir);
    if (!e) {
      err = errno;
      break;
    }
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    out->push_back({e->d_name, e->d_type});
  }
  closedir(dir);
  return err;
}

// Empties an open directory. Depth costs one fd and one list of names a level.
static int EmptyDirectory(int dirfd) {
  std::vector<DirEntry> entries;
  if (int err = ListDirectory(dirfd, &entries)) return err;
  int first = 0;
  for (const DirEntry& e : entries) {
    int err = RemoveTree(dirfd, e.name.c_str());
    if (err && !first) first = err;
  }
  return first;
}

int RemoveTree(int dirfd, const char* name) {
  if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  Fd dir(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.ok()) return errno == ENOENT ? 0 : errno;
  int err = EmptyDirectory(dir.get());
  if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return err == ENOENT ? 0 : err;
  return err ? err : errno;
}

}  // namespace nsbox
