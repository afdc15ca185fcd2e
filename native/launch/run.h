// What the steps of a list work on.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "launch/failure.h"
#include "launch/fd.h"
#include "launch/message.h"
#include "launch/plan.h"

namespace nsbox {

// Fds by number, as the plan counts them: what the runtime handed over first, then detached mounts.
class Slots {
 public:
  int get(uint32_t slot) const { return slot < fds_.size() ? fds_[slot].get() : -1; }
  void set(uint32_t slot, int fd) {
    if (fds_.size() <= slot) fds_.resize(slot + 1);
    fds_[slot].reset(fd);
  }
  Fd take(uint32_t slot) {
    if (slot >= fds_.size()) return Fd();
    return std::move(fds_[slot]);
  }
  uint32_t size() const { return static_cast<uint32_t>(fds_.size()); }

 private:
  std::vector<Fd> fds_;
};

struct Report {
  const char* path;
  std::string content;
};

struct Run {
  const Plan* plan = nullptr;
  List list = List::kPrepare;
  uint32_t index = 0;
  Slots slots;

  // monitor
  int runtime = -1;        // control socket to the runtime; -1 when there is none or it has gone
  pid_t pid = -1;          // of init, in the monitor's pid namespace (init is told)
  int userns = -1;         // of the container
  uint32_t announced = 0;  // points that the runtime was told of (StepSync)
  bool replay = false;     // a restart: steps for the first run alone are left out
  std::vector<Report> reports;

  // init
  int monitor = -1;     // packet socket to the monitor
  int root = -1;        // the container's root mount
  int terminal = -1;    // slave of the pty, until it becomes stdio
  int tmpfs_mask = -1;  // an empty read-only tmpfs, cloned for each masked directory
  int listener = -1;    // where start knocks (kWaitStart)
  int error_to = -1;    // where a failure is told; the monitor, or after kWaitStart the one who said start
  const char* program = "";   // what kExec tried last
  uint32_t program_mode = 0;  // its st_mode
  char head[4096];            // its first bytes, so that TypeScript can tell why execve refused it
  size_t head_size = 0;
};

// Runs one list in order; stops at the first failure and leaves run.index at it. The list `finish` goes on, tells of
// each failure and gives the first.
Failure RunList(Run& run, List list);

// A kFailed message about the step at run.index.
void ReportFailure(int socket, const Run& run, const Failure& failure);

// A kNotice message: the step at run.index was done in another way, since the kernel said `err`.
void ReportNotice(const Run& run, int err);

inline Failure Malformed() { return Fail("decode", "", EPROTO); }

}  // namespace nsbox
