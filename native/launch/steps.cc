// Which function carries out which operation.
#include "launch/steps.h"

#include <ctime>

namespace nsbox {

using Step = Failure (*)(Run&, Reader&);

static Step Find(Op op) {
  switch (op) {
    case Op::kMkdirs:
      return StepMkdirs;
    case Op::kWriteFile:
      return StepWriteFile;
    case Op::kProcWrite:
      return StepProcWrite;
    case Op::kCgroupOpen:
      return StepCgroupOpen;
    case Op::kCgroupEnter:
      return StepCgroupEnter;
    case Op::kDeviceProgram:
      return StepDeviceProgram;
    case Op::kRlimits:
      return StepRlimits;
    case Op::kCgroupKill:
      return StepCgroupKill;
    case Op::kCgroupRemove:
      return StepCgroupRemove;
    case Op::kRemoveTree:
      return StepRemoveTree;
    case Op::kUnlink:
      return StepUnlink;
    case Op::kSync:
      return StepSync;
    case Op::kListen:
      return StepListen;
    case Op::kStdioOwner:
      return StepStdioOwner;
    case Op::kReport:
      return StepReport;
    case Op::kLimitChanges:
      return StepLimitChanges;
    case Op::kOpenTree:
      return StepOpenTree;
    case Op::kOpenTreeOf:
      return StepOpenTreeOf;
    case Op::kOverlay:
      return StepOverlay;
    case Op::kFsMount:
      return StepFsMount;
    case Op::kNode:
      return StepNode;
    case Op::kSymlinkIn:
      return StepSymlinkIn;
    case Op::kMkdirIn:
      return StepMkdirIn;
    case Op::kPropagation:
      return StepPropagation;
    case Op::kAttachRoot:
      return StepAttachRoot;
    case Op::kAttach:
      return StepAttach;
    case Op::kMountFs:
      return StepMountFs;
    case Op::kMask:
      return StepMask;
    case Op::kReadonlyPath:
      return StepReadonlyPath;
    case Op::kPivot:
      return StepPivot;
    case Op::kRootAttr:
      return StepRootAttr;
    case Op::kAttachAt:
      return StepAttachAt;
    case Op::kEnterRoot:
      return StepEnterRoot;
    case Op::kUnmount:
      return StepUnmount;
    case Op::kLeave:
      return StepLeave;
    case Op::kMkdirsIn:
      return StepMkdirsIn;
    case Op::kHostname:
      return StepHostname;
    case Op::kDomainname:
      return StepDomainname;
    case Op::kSysctl:
      return StepSysctl;
    case Op::kLoopback:
      return StepLoopback;
    case Op::kConsole:
      return StepConsole;
    case Op::kHook:
      return StepHook;
    case Op::kNamespaceRoot:
      return StepNamespaceRoot;
    case Op::kSetsid:
      return StepSetsid;
    case Op::kKeyring:
      return StepKeyring;
    case Op::kCgroupNamespace:
      return StepCgroupNamespace;
    case Op::kBounding:
      return StepBounding;
    case Op::kIds:
      return StepIds;
    case Op::kCaps:
      return StepCaps;
    case Op::kUmask:
      return StepUmask;
    case Op::kChdir:
      return StepChdir;
    case Op::kNoNewPrivs:
      return StepNoNewPrivs;
    case Op::kSeccomp:
      return StepSeccomp;
    case Op::kPersonality:
      return StepPersonality;
    case Op::kScheduler:
      return StepScheduler;
    case Op::kIoPriority:
      return StepIoPriority;
    case Op::kAffinity:
      return StepAffinity;
    case Op::kMemoryPolicy:
      return StepMemoryPolicy;
    case Op::kLsmLabel:
      return StepLsmLabel;
    case Op::kDeathSignal:
      return StepDeathSignal;
    case Op::kFds:
      return StepFds;
    case Op::kFindProgram:
      return StepFindProgram;
    case Op::kWaitStart:
      return StepWaitStart;
    case Op::kReaper:
      return StepReaper;
    case Op::kExec:
      return StepExec;
  }
  return nullptr;
}

static uint64_t Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ULL + static_cast<uint64_t>(t.tv_nsec);
}

Failure RunList(Run& run, List list) {
  Failure failure, first;
  run.list = list;
  run.plan->list(list).each([&](uint32_t index, StepView& view) {
    run.index = index;
    if ((view.op & kFirstRunOnly) && run.replay) return true;
    Step step = Find(static_cast<Op>(view.op & ~kFirstRunOnly));
    if (!step) {
      failure = Fail("decode", "", EPROTO);
      return false;
    }
    Reader reader(view.args.data, view.args.size);
    const uint64_t start = run.plan->trace ? Now() : 0;
    const int trace_to = run.monitor >= 0 ? run.monitor : run.runtime;
    if (run.plan->trace && static_cast<Op>(view.op) == Op::kExec) {  // nothing comes back from it
      Outgoing m(Message::kTrace);
      m.u32(static_cast<uint32_t>(list)).u32(index).u64(start).u64(start);
      Send(trace_to, m);
    }
    failure = step(run, reader);
    if (!failure && reader.bad()) failure = Malformed();
    if (run.plan->trace && trace_to >= 0) {
      Outgoing m(Message::kTrace);
      m.u32(static_cast<uint32_t>(list)).u32(index).u64(start).u64(Now());
      Send(trace_to, m);
    }
    if (failure && list == List::kFinish) {  // the end goes on: what can be removed is, what failed is told
      ReportFailure(run.runtime, run, failure);
      if (!first) first = failure;
      failure = Ok();
    }
    return !failure;
  });
  return first ? first : failure;
}

void ReportFailure(int socket, const Run& run, const Failure& failure) {
  if (socket < 0) return;
  Outgoing m(Message::kFailed);
  m.u32(static_cast<uint32_t>(run.list)).u32(run.index).u32(static_cast<uint32_t>(failure.err));
  m.str(failure.call).str(failure.path).str(failure.detail);
  m.u32(run.program_mode).bytes(run.head, run.head_size);
  Send(socket, m);
}

void ReportNotice(const Run& run, int err) {
  if (run.runtime < 0) return;
  Outgoing m(Message::kNotice);
  m.u32(static_cast<uint32_t>(run.list)).u32(run.index).u32(static_cast<uint32_t>(err));
  Send(run.runtime, m);
}

}  // namespace nsbox
