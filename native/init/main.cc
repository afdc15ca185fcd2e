// main() of nsbox-init: monitor, and through it init of a container. Started by the addon, never by hand.
//
// Who runs this: a child of the runtime (made by vfork), with the caller's rights, in the host's namespaces.
// Its fds: 0, 1, 2 the program's stdio (or /dev/null), 3 the plan in sealed memory, 4 the control socket, 5 …
// what the runtime hands over for the plan's slots 3 ….
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "init/keep.h"
#include "init/supervise.h"
#include "launch/launcher.h"
#include "launch/sys.h"

namespace nsbox {
namespace {

constexpr int kPlanFd = 3;
constexpr int kControlFd = 4;
constexpr int kFirstPassedFd = 5;

int CodeOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// The program made another child for us (CLONE_PARENT), and tells so before it ends: that one is the container.
void Adopt(pid_t pid, Started& started) {
  const int pidfd = SysPidfdOpen(pid, 0);
  if (pidfd < 0) return;
  while (waitpid(started.pid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  started.pid = pid;
  started.pidfd.reset(pidfd);
}

// Without logs and attach: wait for the program, hand signals on, tell how it ended.
int Wait(Launcher& launcher, const Plan& plan, Started& started) {
  for (;;) {
    pollfd p[2] = {{started.pidfd.get(), POLLIN, 0}, {launcher.runtime(), POLLIN, 0}};
    if (poll(p, 2, -1) < 0 && errno != EINTR) break;
    if (p[1].revents) {
      uint32_t message[3];
      const ssize_t n = recv(launcher.runtime(), message, sizeof(message), MSG_WAITALL);
      if (n != static_cast<ssize_t>(sizeof(message))) {
        launcher.RuntimeGone();
        if (plan.die_with_runtime) KillSession(started.pid, started.pidfd.get());
      } else if (static_cast<Message>(message[1]) == Message::kSignal) {
        SysPidfdSendSignal(started.pidfd.get(), static_cast<int>(message[2]));
      } else if (static_cast<Message>(message[1]) == Message::kAdopt) {
        Adopt(static_cast<pid_t>(message[2]), started);
        continue;
      }
    }
    if (p[0].revents) break;
  }
  int status = 0;
  rusage usage{};
  while (wait4(started.pid, &status, __WALL, &usage) < 0 && errno == EINTR) {
  }
  launcher.EndRun(CodeOf(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0, usage);
  launcher.Finish();
  return CodeOf(status);
}

// What the keeping loop asks of the launcher.
struct Host {
  Launcher& launcher;
  KeepHost& keep;

  // The keeper closes the control socket when the runtime has gone.
  Launcher& Ready() {
    if (keep.control_fd < 0) launcher.RuntimeGone();
    return launcher;
  }
  static Launched Convert(Started& s) {
    Launched out;
    out.pid = s.pid;
    out.pidfd = s.pidfd.release();
    out.stdin_fd = s.stdin_pipe.release();
    out.stdout_fd = s.stdout_pipe.release();
    out.stderr_fd = s.stderr_pipe.release();
    out.pty_fd = s.terminal.release();
    return out;
  }
  static bool Relaunch(void* self, Launched* out) {
    auto* host = static_cast<Host*>(self);
    Started started;
    if (!host->Ready().Launch(&started)) {
      host->keep.error = host->launcher.error();
      host->keep.error_exit_code = host->launcher.exit_code();
      return false;
    }
    *out = Convert(started);
    return true;
  }
  static void StartedNow(void* self, pid_t) { static_cast<Host*>(self)->Ready().TellStarted(); }
  static void EndRun(void* self, int code, int signal, const rusage& usage) {
    static_cast<Host*>(self)->Ready().EndRun(code, signal, usage);
  }
  static bool Finish(void* self) {
    auto* host = static_cast<Host*>(self);
    if (host->Ready().Finish()) return true;
    host->keep.error = host->launcher.error();
    return false;
  }
};

// A launch that failed: what was made for it goes.
int Undo(Launcher& launcher) {
  rusage usage{};
  launcher.EndRun(launcher.exit_code(), 0, usage);
  return launcher.exit_code();
}

// With a record, logs, attach and restarts: see keep.h.
int KeepContainer(Launcher& launcher, const Plan& plan) {
  KeepConfig config;
  if (!config.parse(plan.keep.data, plan.keep.size)) return 125;
  Keeper* keeper = nullptr;
  if (Failure failure = KeepPrepare(config, &keeper)) {
    launcher.Refuse(failure);
    return 125;
  }
  KeepHost host;
  Host self{launcher, host};
  host.self = &self;
  host.started = Host::StartedNow;
  host.relaunch = Host::Relaunch;
  host.end_run = Host::EndRun;
  host.finish = Host::Finish;
  host.control_fd = kControlFd;
  Started started;
  if (!launcher.Launch(&started)) {
    const int code = Undo(launcher);
    KeepAbandon(keeper);
    return code;
  }
  host.client_fd = plan.client_slot ? launcher.TakePassed(plan.client_slot) : -1;
  return Keep(keeper, Host::Convert(started), host);
}

int Main(int passed) {
  // Nothing inside a container that this process enters may look into it or reach its executable
  // (CVE-2019-5736, CVE-2016-9962); the user's program gets its own setting at execve.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  struct stat st;
  if (fstat(kPlanFd, &st) != 0) {
    fputs("nsbox-init is started by nsbox, not by hand\n", stderr);
    return 125;
  }
  // No plan: a process that only is there, until the runtime lets go of it or ends.
  if (st.st_size == 0) {
    char byte;
    ssize_t n;
    do n = read(kControlFd, &byte, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    return 0;
  }
  void* memory = mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_PRIVATE, kPlanFd, 0);
  if (memory == MAP_FAILED) return 125;
  close(kPlanFd);
  Plan plan;
  if (!plan.parse(memory, static_cast<size_t>(st.st_size))) {
    fputs("nsbox-init: the plan is of another version: rebuild nsbox\n", stderr);
    return 125;
  }
  fcntl(kControlFd, F_SETFD, FD_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  Launcher launcher(plan, kControlFd, kFirstPassedFd, passed);
  if (plan.keep.size > 0) return KeepContainer(launcher, plan);
  Started started;
  if (!launcher.Launch(&started)) {
    const int code = Undo(launcher);
    launcher.Finish();
    return code;
  }
  if (plan.leave_after_start) return 0;
  return Wait(launcher, plan, started);
}

}  // namespace
}  // namespace nsbox

int main(int argc, char** argv) {
  // argv: nsbox-init ID PASSED-FDS, or nsbox-init --supervise PROGRAM ARGUMENT...
  if (argc > 3 && strcmp(argv[1], "--supervise") == 0) return nsbox::Supervise(argv + 2);
  return nsbox::Main(argc > 2 ? atoi(argv[2]) : 0);
}
