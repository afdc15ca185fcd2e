#include "bpf/device_program.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "launch/fd.h"

namespace nsbox {

// What the kernel and bpftool show for programs of ours; at most 15 characters.
static const char kName[] = "nsbox_device";
static const unsigned kMaxAttached = 64;

static int Bpf(int command, union bpf_attr* attr) {
  return static_cast<int>(syscall(SYS_bpf, command, attr, sizeof(*attr)));
}

static int Load(const void* instructions, size_t size) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = reinterpret_cast<uintptr_t>(instructions);
  attr.insn_cnt = static_cast<uint32_t>(size / sizeof(struct bpf_insn));
  attr.license = reinterpret_cast<uintptr_t>("Apache-2.0");
  memcpy(attr.prog_name, kName, sizeof(kName));
  return Bpf(BPF_PROG_LOAD, &attr);
}

// An fd of the program of ours that is attached already, or none.
static Fd Attached(int cgroup_fd) {
  uint32_t ids[kMaxAttached] = {};
  union bpf_attr query;
  memset(&query, 0, sizeof(query));
  query.query.target_fd = static_cast<uint32_t>(cgroup_fd);
  query.query.attach_type = BPF_CGROUP_DEVICE;
  query.query.prog_ids = reinterpret_cast<uintptr_t>(ids);
  query.query.prog_cnt = kMaxAttached;
  if (Bpf(BPF_PROG_QUERY, &query) != 0) return Fd();
  for (uint32_t i = 0; i < query.query.prog_cnt && i < kMaxAttached; i++) {
    union bpf_attr get;
    memset(&get, 0, sizeof(get));
    get.prog_id = ids[i];
    Fd fd(Bpf(BPF_PROG_GET_FD_BY_ID, &get));
    if (!fd.ok()) continue;
    struct bpf_prog_info info;
    memset(&info, 0, sizeof(info));
    union bpf_attr about;
    memset(&about, 0, sizeof(about));
    about.info.bpf_fd = static_cast<uint32_t>(fd.get());
    about.info.info_len = sizeof(info);
    about.info.info = reinterpret_cast<uintptr_t>(&info);
    if (Bpf(BPF_OBJ_GET_INFO_BY_FD, &about) == 0 && strcmp(info.name, kName) == 0) return fd;
  }
  return Fd();
}

int AttachDeviceProgram(int cgroup_fd, const void* instructions, size_t size, const char** call) {
  const char* ignored;
  const char** where = call ? call : &ignored;
  *where = "bpf(BPF_PROG_LOAD)";
  Fd program(Load(instructions, size));
  if (!program.ok()) return errno;
  Fd old = Attached(cgroup_fd);
  union bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.target_fd = static_cast<uint32_t>(cgroup_fd);
  attr.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  *where = "bpf(BPF_PROG_ATTACH)";
  if (old.ok()) {
    attr.attach_flags |= BPF_F_REPLACE;
    attr.replace_bpf_fd = static_cast<uint32_t>(old.get());
    if (Bpf(BPF_PROG_ATTACH, &attr) == 0) return 0;
    if (errno != EINVAL) return errno;
    // Linux before 5.6 has no BPF_F_REPLACE: attach the new one, then detach the old.
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    attr.replace_bpf_fd = 0;
  }
  if (Bpf(BPF_PROG_ATTACH, &attr) != 0) return errno;
  if (old.ok()) {
    union bpf_attr detach;
    memset(&detach, 0, sizeof(detach));
    detach.target_fd = static_cast<uint32_t>(cgroup_fd);
    detach.attach_bpf_fd = static_cast<uint32_t>(old.get());
    detach.attach_type = BPF_CGROUP_DEVICE;
    *where = "bpf(BPF_PROG_DETACH)";
    if (Bpf(BPF_PROG_DETACH, &detach) != 0) return errno;
  }
  return 0;
}

}  // namespace nsbox
