// Who: init, after pivot_root. Gives up, in the plan's order, whatever the program shall not have.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

// Becomes root of its new user namespace: until now its ids were those of the host, unmapped here.
Failure StepNamespaceRoot(Run&, Reader&) {
  if (syscall(SYS_setresgid, 0, 0, 0) != 0) return Fail("setresgid", "0");
  if (syscall(SYS_setresuid, 0, 0, 0) != 0) return Fail("setresuid", "0");
  // Groups of the caller would be kept; with setgroups denied (rootless maps) there are none to drop.
  if (syscall(SYS_setgroups, 0, nullptr) != 0 && errno != EPERM) return Fail("setgroups", "");
  return Ok();
}

// On hosts with cgroup v1 hierarchies init is put into its groups after the clone, and the namespace's root is the group that
// one is in when it is made (cgroup_namespaces(7)): so it is made now.
Failure StepCgroupNamespace(Run&, Reader&) {
  if (unshare(CLONE_NEWCGROUP) != 0) return Fail("unshare", "cgroup");
  return Ok();
}

Failure StepSetsid(Run&, Reader&) {
  if (setsid() < 0 && errno != EPERM) return Fail("setsid");
  return Ok();
}

// str name: a session keyring of its own, so that the caller's keys aren't inherited (keyctl(2))
Failure StepKeyring(Run&, Reader& r) {
  const char* name = r.str();
  if (r.bad()) return Malformed();
  constexpr int kJoinSessionKeyring = 1;
  if (syscall(SYS_keyctl, kJoinSessionKeyring, name, 0, 0, 0) < 0 && errno != ENOSYS) {
    // A quota that is used up (EDQUOT) is no reason to refuse a container; runc does the same.
    if (errno != EDQUOT && errno != EACCES) return Fail("keyctl", name);
  }
  return Ok();
}

// u64 mask of the capabilities that stay in the bounding set
Failure StepBounding(Run&, Reader& r) {
  const uint64_t keep = r.u64();
  if (r.bad()) return Malformed();
  for (int cap = 0; cap < 64; cap++) {
    if (keep & (1ULL << cap)) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the kernel's last capability
      return Fail("prctl", "PR_CAPBSET_DROP");
    }
  }
  return Ok();
}

// u32 uid, u32 gid, u32 n, u32 group…; capabilities survive until StepCaps
Failure StepIds(Run&, Reader& r) {
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  std::vector<gid_t> groups;
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) groups.push_back(r.u32());
  const bool may_set_groups = r.flag();
  if (r.bad()) return Malformed();
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return Fail("prctl", "PR_SET_KEEPCAPS");
  if (may_set_groups && syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return Fail("setgroups");
  if (syscall(SYS_setresgid, gid, gid, gid) != 0) return Fail("setresgid");
  if (syscall(SYS_setresuid, uid, uid, uid) != 0) return Fail("setresuid");
  return Ok();
}

// u64 effective, u64 permitted, u64 inheritable, u64 ambient
Failure StepCaps(Run&, Reader& r) {
  const uint64_t effective = r.u64();
  const uint64_t permitted = r.u64();
  const uint64_t inheritable = r.u64();
  const uint64_t ambient = r.u64();
  if (r.bad()) return Malformed();
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int i = 0; i < 2; i++) {
    data[i].effective = static_cast<uint32_t>(effective >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(permitted >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &header, data) != 0) return Fail("capset");
  for (int cap = 0; cap < 64; cap++) {
    if (!(ambient & (1ULL << cap))) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
      return Fail("prctl", "PR_CAP_AMBIENT_RAISE");
  }
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return Fail("prctl", "PR_SET_KEEPCAPS");
  return Ok();
}

Failure StepUmask(Run&, Reader& r) {
  umask(r.u32());
  return Ok();
}

// str path, flag make it, u32 uid, u32 gid
Failure StepChdir(Run&, Reader& r) {
  const char* path = r.str();
  if (r.bad()) return Malformed();
  if (chdir(path) != 0) return Fail("chdir", path);
  // The directory must be beneath our root: a path left from a joined namespace is not (CVE-2024-21626).
  char where[8];
  if (syscall(SYS_getcwd, where, sizeof(where)) < 0 && errno == ENOENT) return Fail("getcwd", path, ENOENT);
  return Ok();
}

Failure StepNoNewPrivs(Run&, Reader&) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Fail("prctl", "PR_SET_NO_NEW_PRIVS");
  return Ok();
}

// u32 flags (SECCOMP_FILTER_FLAG_…), bytes program, str listener socket, bytes state to send with the
// listener's fd
Failure StepSeccomp(Run& run, Reader& r) {
  const uint32_t flags = r.u32();
  const Bytes program = r.bytes();
  const uint32_t listener_slot = r.u32();
  const Bytes state = r.bytes();
  if (r.bad() || program.size < sizeof(sock_filter)) return Malformed();
  // The kernel wants the instructions aligned, and the plan packs them anywhere.
  std::vector<sock_filter> filter(program.size / sizeof(sock_filter));
  memcpy(filter.data(), program.data, filter.size() * sizeof(sock_filter));
  sock_fprog prog{static_cast<unsigned short>(filter.size()), filter.data()};
  const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
  if (fd < 0) return Fail("seccomp");
  if (!(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)) return Ok();
  Fd notify(static_cast<int>(fd));
  // Nobody knew the pid when the document was written: it is filled in where it says 0.
  std::string document(state.data, state.size);
  const std::string zero = "\"pid\":0", actual = "\"pid\":" + std::to_string(run.pid);
  for (size_t at = 0; (at = document.find(zero, at)) != std::string::npos; at += actual.size()) {
    document.replace(at, zero.size(), actual);
  }
  if (!SendWithFd(run.slots.get(listener_slot), document.data(), document.size(), notify.get())) {
    return Fail("sendmsg", "seccomp listener");
  }
  return Ok();
}

Failure StepPersonality(Run&, Reader& r) {
  if (personality(r.u32()) < 0) return Fail("personality");
  return Ok();
}

// u32 policy, u64 flags, i32 nice, u32 priority, u64 runtime, u64 deadline, u64 period (ns): sched_setattr(2)
Failure StepScheduler(Run&, Reader& r) {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attr{};
  attr.size = 48;
  attr.policy = r.u32();
  attr.flags = r.u64();
  attr.nice = r.i32();
  attr.priority = r.u32();
  attr.runtime = r.u64();
  attr.deadline = r.u64();
  attr.period = r.u64();
  if (r.bad()) return Malformed();
  if (syscall(SYS_sched_setattr, 0, &attr, 0) != 0) return Fail("sched_setattr");
  return Ok();
}

// u32 class, u32 priority
Failure StepIoPriority(Run&, Reader& r) {
  const uint32_t io_class = r.u32();
  const uint32_t priority = r.u32();
  if (r.bad()) return Malformed();
  if (syscall(SYS_ioprio_set, 1, 0, (io_class << 13) | priority) != 0) return Fail("ioprio_set");
  return Ok();
}

// bytes: the mask as sched_setaffinity(2) takes it
Failure StepAffinity(Run&, Reader& r) {
  const Bytes mask = r.bytes();
  if (r.bad()) return Malformed();
  std::vector<unsigned long> words((mask.size + sizeof(unsigned long) - 1) / sizeof(unsigned long));
  if (mask.size > 0) memcpy(words.data(), mask.data, mask.size);
  if (syscall(SYS_sched_setaffinity, 0, words.size() * sizeof(unsigned long), words.data()) < 0) {
    return Fail("sched_setaffinity");
  }
  return Ok();
}

// u32 mode with its flags, bytes node mask: set_mempolicy(2)
Failure StepMemoryPolicy(Run&, Reader& r) {
  const uint32_t mode = r.u32();
  const Bytes mask = r.bytes();
  if (r.bad()) return Malformed();
  std::vector<unsigned long> words(mask.size / sizeof(unsigned long) + 1);
  if (mask.size > 0) memcpy(words.data(), mask.data, mask.size);
  const long done = mask.size == 0 ? syscall(SYS_set_mempolicy, mode, nullptr, 0)
                                   : syscall(SYS_set_mempolicy, mode, words.data(),
                                             words.size() * sizeof(unsigned long) * 8);
  if (done != 0) return Fail("set_mempolicy");
  return Ok();
}

// str attribute file below /proc/self/attr, str label: taken on at execve
Failure StepLsmLabel(Run&, Reader& r) {
  const char* name = r.str();
  const Bytes label = r.bytes();
  if (r.bad()) return Malformed();
  char path[128];
  snprintf(path, sizeof(path), "/proc/self/attr/%s", name);
  Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.ok()) return Fail("open", name);
  if (write(fd.get(), label.data, label.size) < 0) return Fail("write", name);
  return Ok();
}

// u32 signal. After the last change of credentials, which clears it (prctl(2), PR_SET_PDEATHSIG).
Failure StepDeathSignal(Run& run, Reader& r) {
  const uint32_t signal = r.u32();
  if (r.bad()) return Malformed();
  if (prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0) return Fail("prctl", "PR_SET_PDEATHSIG");
  // Did the monitor die before that? Its end of the socket tells.
  char byte;
  if (recv(run.monitor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) _exit(128 + 9);
  return Ok();
}

}  // namespace nsbox
