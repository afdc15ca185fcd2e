// The plan as native code sees it: a header and six lists of steps, each an operation with its arguments.
//
// TypeScript writes it (src/plan/encode.ts); the two files name the same operations with the same numbers and
// the same order of arguments. A plan of another version is refused, so a stale helper can't misread a new
// plan.
//
//   list      who runs it, when
//   prepare   monitor, before the clone            (cgroups, limits, device program)
//   clone     monitor: namespaces to make and join, cgroup
//   parent    monitor, after the clone             (id maps, detached mounts, sync with the runtime)
//   init      init, the container's first process  (mounts, pivot_root, rights, execve)
//   exit      monitor, after each run              (kill what is left, remove cgroups)
//   finish    monitor, when the container ended for good (poststop hooks, --rm); one that fails stops no other
#pragma once

#include "launch/wire.h"

namespace nsbox {

inline constexpr uint32_t kPlanMagic = 0x3178736e;  // "nsx1"
inline constexpr uint32_t kPlanVersion = 1;

enum class Op : uint32_t {
  // monitor: files and cgroups
  kMkdirs = 1,
  kWriteFile = 2,
  kProcWrite = 3,
  kCgroupOpen = 4,
  kDeviceProgram = 5,
  kRlimits = 6,
  kCgroupKill = 7,
  kCgroupRemove = 8,
  kRemoveTree = 9,
  kUnlink = 10,
  kSync = 11,
  kListen = 12,
  kStdioOwner = 13,
  kReport = 14,
  kCgroupEnter = 16,
  kLimitChanges = 15,
  // monitor: detached mounts
  kOpenTree = 20,
  kOverlay = 21,
  kFsMount = 22,
  kNode = 23,
  kSymlinkIn = 24,
  kMkdirIn = 25,
  kOpenTreeOf = 26,
  // init: mounts
  kPropagation = 40,
  kAttachRoot = 41,
  kAttach = 42,
  kMountFs = 43,
  kMask = 44,
  kReadonlyPath = 45,
  kPivot = 46,
  kRootAttr = 47,
  kAttachAt = 48,
  kEnterRoot = 49,
  kUnmount = 50,
  // init: the world it sees
  kHostname = 60,
  kDomainname = 61,
  kSysctl = 62,
  kLoopback = 63,
  kConsole = 64,
  kHook = 65,
  kMkdirsIn = 66,
  // init: identity and rights
  kNamespaceRoot = 80,
  kSetsid = 81,
  kKeyring = 82,
  kCgroupNamespace = 97,
  kBounding = 83,
  kIds = 84,
  kCaps = 85,
  kUmask = 86,
  kChdir = 87,
  kNoNewPrivs = 88,
  kSeccomp = 89,
  kPersonality = 90,
  kScheduler = 91,
  kIoPriority = 92,
  kAffinity = 93,
  kMemoryPolicy = 94,
  kLsmLabel = 95,
  kDeathSignal = 96,
  // init: the end
  kFds = 110,
  kWaitStart = 111,
  kFindProgram = 114,
  kReaper = 112,
  kExec = 113,
  kLeave = 115,
};

enum class List : uint32_t { kPrepare, kClone, kParent, kInit, kExit, kFinish, kCount };

// What the container's stdin, stdout and stderr are.
enum class Stdio : uint32_t {
  kInherit = 0,         // those of the monitor, handed over by the runtime
  kPipes = 1,           // pipes to the monitor (stdin from /dev/null unless interactive)
  kTerminal = 2,        // a pty, its master with the monitor
  kConsoleSocket = 3,   // a pty, its master sent to the socket that the runtime handed over (OCI)
  kRuntimeTerminal = 4  // a pty, its master sent to the runtime
};

// Set in a step's operation: not repeated when the plan is replayed (the namespaces that outlive a restart
// keep their id maps and their network).
inline constexpr uint32_t kFirstRunOnly = 0x80000000;

struct StepView {
  uint32_t op = 0;
  Bytes args;
};

// A list of steps inside the mapped plan.
struct StepList {
  uint32_t count = 0;
  Bytes bytes;

  // Calls fn(index, Step) until it returns false.
  template <typename F>
  void each(F fn) const {
    Reader r(bytes.data, bytes.size);
    for (uint32_t i = 0; i < count; i++) {
      StepView s;
      s.op = r.u32();
      s.args = r.bytes();
      if (r.bad() || !fn(i, s)) return;
    }
  }
};

struct Plan {
  Stdio stdio = Stdio::kInherit;
  bool stdin_open = false;         // pipes: give the program a stdin pipe
  bool leave_after_start = false;  // OCI create: the monitor goes once init is ready
  bool die_with_runtime = false;   // the control socket's end kills the container
  bool trace = false;              // report each step with its time
  StepList lists[static_cast<uint32_t>(List::kCount)];
  uint32_t client_slot = 0;  // a connection that the keeper serves as its first client; 0: none
  Bytes keep;                // keep_config.h; empty: no logs, no attach, no restart

  const StepList& list(List l) const { return lists[static_cast<uint32_t>(l)]; }

  bool parse(const void* data, size_t size) {
    Reader r(data, size);
    if (r.u32() != kPlanMagic || r.u32() != kPlanVersion) return false;
    stdio = static_cast<Stdio>(r.u32());
    stdin_open = r.flag();
    leave_after_start = r.flag();
    die_with_runtime = r.flag();
    trace = r.flag();
    client_slot = r.u32();
    keep = r.bytes();
    for (StepList& l : lists) {
      l.count = r.u32();
      l.bytes = r.bytes();
    }
    return !r.bad() && r.done();
  }
};

}  // namespace nsbox
