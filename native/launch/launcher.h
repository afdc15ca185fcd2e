// From a plan to a running program: the clone and the conversation around it.
#pragma once

#include <sys/resource.h>

#include "launch/run.h"

namespace nsbox {

// The monitor's ends of a started program.
struct Started {
  pid_t pid = -1;
  Fd pidfd;
  Fd stdin_pipe, stdout_pipe, stderr_pipe;  // Stdio::kPipes
  Fd terminal;                              // Stdio::kTerminal: the master
};

// Kills a child that isn't reaped yet (so that its number is its own), with what it started, where it leads a session.
void KillSession(pid_t pid, int pidfd);

class Launcher {
 public:
  // `runtime` is the control socket (-1: none); fds 0, 1, 2 and `passed` ones from `first_passed` on become
  // slots 0, 1, 2, 3 … . The monitor's own stdio is /dev/null afterwards.
  Launcher(const Plan& plan, int runtime, int first_passed, int passed);

  // Runs prepare, clone, parent and init. True when the program has been executed (or, for OCI create, init
  // waits for start). False: the failure has been reported, nothing of this run is left but what `EndRun`
  // undoes.
  bool Launch(Started* out);

  // The container's first process is gone: the exit list, then the exit message.
  void EndRun(int code, int signal, const rusage& usage);
  // The finish list.
  // Returns false where a step failed: the others are done all the same, error() says what it was.
  bool Finish();

  // Tells the runtime that the program runs. Launch does so itself unless a keeper must record it first.
  void TellStarted();
  // An fd that the runtime handed over, by slot; -1 where there is none. The caller owns it then.
  int TakePassed(uint32_t slot) { return run_.slots.take(slot).release(); }

  int runtime() const { return run_.runtime; }
  void RuntimeGone() { run_.runtime = -1; }
  // What the last failed launch said, for the exit record: "openat2 /x: ENOENT".
  const char* error() const { return error_; }
  int error_code() const { return error_code_; }
  // As the command line has it: 127 not found, 126 not executable, 125 for every other step.
  int exit_code() const { return exit_code_; }
  // Tells the runtime of a failure outside of any step.
  void Refuse(const Failure& failure) {
    run_.list = List::kPrepare;
    run_.index = ~0U;
    Note(failure);
  }

 private:
  Failure Clone(Reader& r);
  Failure MakeStdio(Started* out);
  [[noreturn]] void Init(int socket);
  bool Converse(Started* out);
  bool SendMounts();
  void Forward(const Incoming& in);
  void Note(const Failure& failure);

  const Plan& plan_;
  Run run_;
  Fd socket_;  // to init
  Fd pidfd_;
  Fd kept_userns_, kept_net_;  // outlive a restart
  uint32_t first_mount_slot_ = 0;
  bool keep_namespaces_ = false;
  uint32_t announced_ = 0;  // points that the runtime has been told of
  int error_code_ = 0;
  int exit_code_ = 125;
  char error_[512] = "";
};

}  // namespace nsbox
