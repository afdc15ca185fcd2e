// Device access of a cgroup: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, written by TypeScript
// (src/cgroup/device-program.ts), loaded and attached here. Needs CAP_BPF and CAP_NET_ADMIN, or
// CAP_SYS_ADMIN.
#pragma once

#include <cstddef>

namespace nsbox {

// Loads a program and attaches it to the cgroup2 group behind `cgroup_fd` (not O_PATH). A program of ours
// that is there already is replaced in one step, so that a running container is never without one. Returns 0
// or an errno; *call (if given) then names what failed.
int AttachDeviceProgram(int cgroup_fd, const void* instructions, size_t size, const char** call);

}  // namespace nsbox
