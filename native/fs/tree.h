// Whole trees, reached through directory fds only, so that nothing inside a tree can lead out of it.
#pragma once

#include <string>
#include <vector>

namespace nsbox {

struct DirEntry {
  std::string name;
  unsigned char type;  // DT_* of readdir(3); DT_UNKNOWN where the filesystem doesn't say
};

// Fills `out` with the entries of an open directory, without "." and "..". The fd stays open and keeps no
// position. Returns 0 or an errno.
int ListDirectory(int dirfd, std::vector<DirEntry>* out);

// Removes `name` in `dirfd` and everything below it; a missing one is no error. Doesn't follow symlinks and
// doesn't cross into other mounts (EBUSY from the kernel). Returns 0 or the first errno; goes on past it.
int RemoveTree(int dirfd, const char* name);

}  // namespace nsbox
