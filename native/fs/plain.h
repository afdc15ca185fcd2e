// Ordinary members of a tar, unpacked without a call from JavaScript for each. See src/image/layer/extract.ts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nsbox {

struct PlainRun {
  size_t consumed = 0;  // bytes of the archive, whole members
  uint64_t members = 0;
  uint64_t size = 0;  // bytes of regular files
};

// Unpacks members from the beginning of `tar` (a member's first header) while they are ordinary: new regular
// files and symlinks directly in the directory `parent` (its clean path in the archive, "" for the root; open as
// dirfd), that lie in `tar` as a whole, with octal numbers and PAX records of names and times alone.
//
// At the first that is anything else, or that fails, it stops before it, with nothing of it left: the caller reads
// that one by the full rules, which also say what is wrong with it.
PlainRun UnpackPlain(int dirfd, std::string_view parent, std::string_view tar);

}  // namespace nsbox
