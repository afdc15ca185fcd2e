// Making filesystems with the mount API of Linux 5.2 (fsopen(2), fsconfig(2), fsmount(2)).
#pragma once

#include "launch/failure.h"
#include "launch/fd.h"
#include "launch/wire.h"

namespace nsbox {

// A failure with the newest line of the filesystem context's own log.
Failure FsFailure(int fs, const char* call, const char* path);
// u32 n, (str key, str value, flag has value)…
Failure SetOptions(int fs, Reader& r, const char* what);
// str type, str source, u32 attrs, options: a mount that is attached nowhere.
Failure NewMount(Reader& r, Fd* mount);

}  // namespace nsbox
