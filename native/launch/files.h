// Small file operations that monitor and init share.
#pragma once

#include "launch/failure.h"

namespace nsbox {

// mkdir -p of an absolute path.
Failure MakeDirectories(const char* path, unsigned mode);
// Opens, writes at once (as /proc and cgroup files want it), closes.
Failure WriteWhole(const char* path, const void* data, size_t size);
// rm -rf that never leaves the directory and follows no link.
Failure RemoveTreeAt(int dir, const char* name);

}  // namespace nsbox
