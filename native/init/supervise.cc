#include "init/supervise.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace nsbox {
namespace {

volatile sig_atomic_t child = 0;
volatile sig_atomic_t ending = 0;

void HandOn(int number) {
  ending = 1;
  if (child > 0) kill(child, number);
}

int64_t Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

pid_t Start(char** command, const sigset_t& before) {
  const pid_t self = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  signal(SIGTERM, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0);
  if (getppid() != self) _exit(1);  // it died before that line
  sigprocmask(SIG_SETMASK, &before, nullptr);
  execv(command[0], command);
  perror(command[0]);
  _exit(127);
}

}  // namespace

int Supervise(char** command) {
  constexpr int64_t kShort = 10000;
  constexpr int64_t kLongestPause = 5000;
  constexpr int kFailures = 10;
  struct sigaction action {};
  action.sa_handler = HandOn;
  sigaction(SIGTERM, &action, nullptr);
  sigset_t term;
  sigset_t before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  int64_t pause = 50;
  for (int failures = 0; failures < kFailures;) {
    const int64_t began = Now();
    // Blocked until the pid is known, so that no SIGTERM is lost between the two.
    sigprocmask(SIG_BLOCK, &term, &before);
    const pid_t pid = Start(command, before);
    child = pid;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) {
      perror("fork");
      return 1;
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    child = 0;
    if (ending || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return 0;
    if (Now() - began > kShort) {
      failures = 0;
      pause = 50;
    } else {
      failures++;
    }
    timespec t{pause / 1000, (pause % 1000) * 1000000};
    nanosleep(&t, nullptr);
    if (ending) return 0;
    pause = pause * 2 < kLongestPause ? pause * 2 : kLongestPause;
  }
  return 1;
}

}  // namespace nsbox
