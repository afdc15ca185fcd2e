// Every operation of a plan: one function each, one file per kind. Arguments are read in the order in which
// src/plan/encode.ts writes them.
#pragma once

#include "launch/run.h"

namespace nsbox {

// steps_host.cc: run by the monitor, with the host's rights, in the host's namespaces
Failure StepMkdirs(Run&, Reader&);         // str path, u32 mode
Failure StepWriteFile(Run&, Reader&);      // str path, bytes data, flag ignore failure
Failure StepProcWrite(Run&, Reader&);      // str name below /proc/<init>, bytes data
Failure StepCgroupOpen(Run&, Reader&);     // str cgroup v1 directory, u32 slot
Failure StepCgroupEnter(Run&, Reader&);    // u32 slot, str directory; by init
Failure StepDeviceProgram(Run&, Reader&);  // str cgroup directory, bytes instructions
Failure StepRlimits(Run&, Reader&);        // u32 n, (u32 resource, u64 soft, u64 hard, str name)…
Failure StepCgroupKill(Run&, Reader&);     // str directory
Failure StepCgroupRemove(Run&, Reader&);   // str directory
Failure StepRemoveTree(Run&, Reader&);     // str directory
Failure StepUnlink(Run&, Reader&);         // str path
Failure StepListen(Run&, Reader&);         // str directory, str name of a unix socket, u32 slot
Failure StepStdioOwner(Run&, Reader&);     // u32 uid, u32 gid (host ids)
Failure StepReport(Run&, Reader&);         // u32 n, str path…: contents go into the exit message
Failure StepLimitChanges(Run&, Reader&);   // str file, u8 pass: made by src/cgroup/changes.ts

// steps_detached.cc: run by the monitor; mounts that are attached nowhere
Failure StepOpenTree(Run&, Reader&);
Failure StepOpenTreeOf(Run&, Reader&);
Failure StepOverlay(Run&, Reader&);
Failure StepFsMount(Run&, Reader&);
Failure StepNode(Run&, Reader&);
Failure StepSymlinkIn(Run&, Reader&);
Failure StepMkdirIn(Run&, Reader&);

// steps_mount.cc: run by init, in the container's mount namespace
Failure StepPropagation(Run&, Reader&);
Failure StepAttachRoot(Run&, Reader&);
Failure StepAttachAt(Run&, Reader&);
Failure StepEnterRoot(Run&, Reader&);
Failure StepUnmount(Run&, Reader&);
Failure StepAttach(Run&, Reader&);
Failure StepMountFs(Run&, Reader&);
Failure StepMask(Run&, Reader&);
Failure StepReadonlyPath(Run&, Reader&);
Failure StepPivot(Run&, Reader&);
Failure StepRootAttr(Run&, Reader&);
Failure StepMkdirsIn(Run&, Reader&);

// steps_world.cc: run by init
Failure StepHostname(Run&, Reader&);
Failure StepDomainname(Run&, Reader&);
Failure StepSysctl(Run&, Reader&);
Failure StepLoopback(Run&, Reader&);
Failure StepConsole(Run&, Reader&);
Failure StepHook(Run&, Reader&);
Failure StepSync(Run&, Reader&);  // both sides

// steps_identity.cc: run by init
Failure StepNamespaceRoot(Run&, Reader&);
Failure StepSetsid(Run&, Reader&);
Failure StepKeyring(Run&, Reader&);
Failure StepCgroupNamespace(Run&, Reader&);
Failure StepBounding(Run&, Reader&);
Failure StepIds(Run&, Reader&);
Failure StepCaps(Run&, Reader&);
Failure StepUmask(Run&, Reader&);
Failure StepChdir(Run&, Reader&);
Failure StepNoNewPrivs(Run&, Reader&);
Failure StepSeccomp(Run&, Reader&);
Failure StepPersonality(Run&, Reader&);
Failure StepScheduler(Run&, Reader&);
Failure StepIoPriority(Run&, Reader&);
Failure StepAffinity(Run&, Reader&);
Failure StepMemoryPolicy(Run&, Reader&);
Failure StepLsmLabel(Run&, Reader&);
Failure StepDeathSignal(Run&, Reader&);

// steps_exec.cc: run by init
Failure StepFds(Run&, Reader&);
Failure StepFindProgram(Run&, Reader&);
Failure StepWaitStart(Run&, Reader&);
Failure StepReaper(Run&, Reader&);
Failure StepExec(Run&, Reader&);
Failure StepLeave(Run&, Reader&);

}  // namespace nsbox
