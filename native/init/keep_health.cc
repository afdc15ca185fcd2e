// Health checks: a program of the runtime, started again and again while the container runs. What it finds, records and
// tells is its own affair (src/engine/health-check.ts); here is the clock, and that none outlives a run.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "init/keeper.h"

namespace nsbox {

namespace {

constexpr uint32_t kArgumentsMax = 32;

uint64_t MonotonicMs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000U + static_cast<uint64_t>(t.tv_nsec) / 1000000U;
}

// Who runs this: a child of the monitor, with its rights, in the host's namespaces. It dies with the monitor.
[[noreturn]] void Execute(const Strings& command, pid_t monitor) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != monitor) _exit(1);  // it died before that line
  const char* argv[kArgumentsMax + 1] = {};
  uint32_t count = 0;
  command.each([&](const char* word) {
    if (count < kArgumentsMax) argv[count++] = word;
  });
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  char* const environment[] = {nullptr};
  if (chdir("/") == 0) execve(argv[0], const_cast<char* const*>(argv), environment);
  _exit(127);
}

}  // namespace

// A run has begun.
void Keeper::BeginHealth() {
  if (config_.health_command.count == 0) return;
  health_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!health_.ok()) return;
  health_good_ = false;
  health_began_ms_ = MonotonicMs();
  Watch(health_.get(), kHealth, EPOLLIN);
  ArmHealth();
}

// The run has ended: a check that still looks at it is of no use to anybody, and must write nothing any more.
void Keeper::EndHealth() {
  health_.reset();
  if (health_pid_ < 0) return;
  kill(health_pid_, SIGKILL);
  while (waitpid(health_pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  health_pid_ = -1;
}

// The pause between two checks, as Docker measures it: from the end of one to the start of the next.
void Keeper::ArmHealth() {
  const bool starting = !health_good_ && MonotonicMs() - health_began_ms_ < config_.health_start_period_ms;
  const uint64_t ms = starting ? config_.health_start_interval_ms : config_.health_interval_ms;
  itimerspec spec{};
  spec.it_value.tv_sec = static_cast<time_t>(ms / 1000);
  spec.it_value.tv_nsec = static_cast<long>(ms % 1000) * 1000000;
  if (ms == 0) spec.it_value.tv_nsec = 1;
  timerfd_settime(health_.get(), 0, &spec, nullptr);
}

void Keeper::OnHealth() {
  uint64_t expirations;
  if (read(health_.get(), &expirations, sizeof(expirations)) < 0) return;
  const pid_t monitor = getpid();
  health_pid_ = fork();
  if (health_pid_ == 0) Execute(config_.health_command, monitor);
  if (health_pid_ < 0) ArmHealth();  // no memory, no pids: perhaps there are next time
}

void Keeper::HealthEnded(int status) {
  health_pid_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) health_good_ = true;
  if (health_.ok()) ArmHealth();
}

}  // namespace nsbox
