// Keeping a container: what the monitor does from the start of its program to its end.
//
// Who runs this: the monitor (nsbox-init), one thread, in the host's namespaces with the host's rights. It waits in
// epoll_wait(2) for the program's output, for attached clients, for timers and for the end; nothing is polled, and
// nothing is allocated per byte or line.
//
//   KeepPrepare   before the clone: lock, log file, listening socket (a client that connects now misses no output)
//   Keep          after execve succeeded: until the container has ended for good, restarts included
//   KeepAbandon   instead of Keep, where the first launch failed
//
// What each side of <state>/containers/<id>/monitor.sock may say is in keep_clients.h.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include "init/keep_config.h"
#include "launch/failure.h"

namespace nsbox {

// A container's program that has just been executed. Keep owns the fds from then on.
struct Launched {
  pid_t pid = -1;  // a child of the calling process
  int pidfd = -1;
  int stdin_fd = -1;  // the monitor's ends of the pipes; -1: inherited or none
  int stdout_fd = -1;
  int stderr_fd = -1;
  int pty_fd = -1;  // master of the terminal, or -1
};

// What the launching code gives. Callbacks are made by the loop's thread, one at a time.
struct KeepHost {
  void* self = nullptr;
  // running.json and the start event are written: tell the runtime. May be null.
  void (*started)(void* self, pid_t pid) = nullptr;
  // Runs the saved plan again. False: it failed; error and error_exit_code say how. SIGCHLD, SIGTERM and others
  // are blocked in the monitor by then, so that init must reset its signal mask before execve (as it must anyway).
  bool (*relaunch)(void* self, Launched* out) = nullptr;
  // Runs the exit steps of one run (kill what is left in its cgroup, remove it) and tells the runtime. May be null.
  void (*end_run)(void* self, int exit_code, int signal, const rusage& usage) = nullptr;
  // Runs the steps after the last run (poststop hooks, --rm). False: one failed, error says how. May be null.
  bool (*finish)(void* self) = nullptr;
  const char* error = "";
  int error_exit_code = 125;
  // Stream socket to the runtime (launch/message.h); -1 where there is none. Keep closes it when the other side has.
  int control_fd = -1;
  // A connection made by the runtime, served as if it had been accepted first; -1 where there is none.
  int client_fd = -1;
};

class Keeper;

// Takes the container's lock, opens its log, listens on its socket. The config's strings must outlive the keeper.
// Failures: EBUSY from flock where another monitor lives; whatever open(2), bind(2), write(2) say.
Failure KeepPrepare(const KeepConfig& config, Keeper** out);

// Runs until the container has ended for good and everything is recorded.
// Returns the exit code of the last run: 0–255, 128+n for signal n.
int Keep(Keeper* keeper, Launched first, KeepHost& host);

// Undoes KeepPrepare.
void KeepAbandon(Keeper* keeper);

}  // namespace nsbox
