#include "init/keep.h"

#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

#include "init/keep_text.h"
#include "init/keeper.h"
#include "launch/message.h"
#include "launch/sys.h"

namespace nsbox {

// Docker's restart manager: 100 ms, doubled with each restart up to a minute; a run of 10 s starts afresh.
static constexpr uint64_t kFirstDelayMs = 100, kLongestDelayMs = 60000;
static constexpr time_t kGoodRunSeconds = 10;
// How long clients that neither read nor close may hold a monitor whose work is done.
static constexpr int kLingerMs = 10000;
// After so long without anything to do, the monitor makes itself small.
static constexpr int kQuietMs = 1000;

// Forgets the pages of code that the launch needed and waiting doesn't: they stay in the page cache, and no longer
// count as ours (madvise(2), MADV_DONTNEED on a private file mapping that was never written).
static void ForgetCode() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W)) continue;
          const uintptr_t start =
              (info->dlpi_addr + segment.p_vaddr) & ~static_cast<uintptr_t>(getpagesize() - 1);
          const uintptr_t end = info->dlpi_addr + segment.p_vaddr + segment.p_memsz;
          madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED);
        }
        return 0;
      },
      nullptr);
}

Failure KeepPrepare(const KeepConfig& config, Keeper** out) {
  *out = new (std::nothrow) Keeper(config);
  if (!*out) return Fail("malloc", "", ENOMEM);
  const Failure failure = (*out)->Prepare();
  if (failure) {
    KeepAbandon(*out);
    *out = nullptr;
  }
  return failure;
}

int Keep(Keeper* keeper, Launched first, KeepHost& host) {
  const int code = keeper->Run(first, host);
  delete keeper;
  return code;
}

void KeepAbandon(Keeper* keeper) {
  keeper->Abandon();
  delete keeper;
}

Failure Keeper::Prepare() {
  restart_ = config_.restart;
  restart_max_ = config_.restart_max;
  run_.restart_count = config_.restart_count;
  auto_remove_ = config_.auto_remove;
  if (!config_.id[0]) return Ok();
  Text<4200> path;
  path.add(config_.state_dir).add("/lock");
  // Held by this process alone: init's copy closes at execve, and the kernel frees it whatever ends us (flock(2)).
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.ok()) return Fail("open", config_.state_dir);
  // Whoever looks whether it is held (`ps`) holds it for a moment.
  for (int tries = 0; flock(lock.get(), LOCK_EX | LOCK_NB) != 0; tries++) {
    if (tries == 200) return Fail("flock", config_.state_dir, EBUSY);
    usleep(2000);
  }
  lock_.reset(lock.release());
  NSBOX_TRY(log_.open(config_));
  listen_.reset(ListenAt(config_.state_dir, "monitor.sock"));
  if (!listen_.ok()) return Fail("bind", config_.state_dir);
  return Ok();
}

void Keeper::Abandon() {
  if (listen_.ok()) {
    Text<4200> path;
    path.add(config_.state_dir).add("/monitor.sock");
    unlink(path.c_str());
  }
}

int Keeper::Run(Launched first, KeepHost& host) {
  host_ = &host;
  sigset_t mask;
  sigemptyset(&mask);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // What the container leaves behind in our pid namespace (--pid=host) comes to us, and is reaped.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  signals_.reset(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  Watch(signals_.get(), kSignals, EPOLLIN);
  Watch(timer_.get(), kTimer, EPOLLIN);
  if (listen_.ok()) Watch(listen_.get(), kListen, EPOLLIN);
  if (host.control_fd >= 0) Watch(host.control_fd, kControl, EPOLLIN);
  if (host.client_fd >= 0) {
    AddClient(host.client_fd);
    host.client_fd = -1;
  }
  Begin(first);
  Loop();
  Linger();
  return run_.exit_code;
}

// A program has been executed.
void Keeper::Begin(Launched launched) {
  program_ = launched;
  state_ = State::kRunning;
  run_.started = WallClock();
  run_.oom_killed = false;
  WriteRunning(config_, run_, program_.pid);
  Event("start");
  WatchOom();
  OpenStreams();
  BeginHealth();
  if (host_->started) host_->started(host_->self, program_.pid);
  // Whoever connected before the start misses nothing: accepted before the first byte is read.
  Accept();
  for (Client* c = clients_; c;) {
    Client* next = c->next;
    ReadClient(c);
    c = next;
  }
  outputs_watched_ = false;
  WatchOutputs();
  Reap();  // it may have ended before SIGCHLD was blocked
}

void Keeper::Loop() {
  bool small = false;
  while (stay_) {
    // One event at a time: what handling it closes can't be among others already fetched.
    epoll_event event;
    const int n = epoll_wait(epoll_.get(), &event, 1, small ? -1 : kQuietMs);
    if (n == 0) ForgetCode();
    small = n == 0;
    if (n <= 0) continue;
    switch (event.data.u64) {
      case kListen:
        Accept();
        break;
      case kSignals:
        OnSignal();
        break;
      case kTimer:
        OnTimer();
        break;
      case kControl:
        OnControl();
        break;
      case kOom:
        OnOom();
        break;
      case kHealth:
        OnHealth();
        break;
      case kStdin:
        FlushStdin();
        break;
      case kStdout:
      case kStderr:
      case kTerminal:
        ReadOutput(static_cast<Source>(event.data.u64));
        break;
      default:
        OnClient(reinterpret_cast<Client*>(event.data.u64), event.events);
    }
  }
}

void Keeper::OnSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGTERM) Stop(0, kStopDefault);
  }
  Reap();
}

void Keeper::Reap() {
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
    if (pid == program_.pid && state_ == State::kRunning) {
      EndRun(status, usage);
      return;  // a restart has begun its own round, or the loop ends
    }
    if (pid == health_pid_) HealthEnded(status);
  }
}

void Keeper::EndRun(int status, const rusage& usage) {
  SetTimer(Timer::kNone, 0);
  EndHealth();
  Drain();
  run_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  run_.exit_code = run_.signal ? 128 + run_.signal : WEXITSTATUS(status);
  OnOom();
  run_.oom_killed = oom_seen_ > oom_before_;
  UnwatchOom();
  if (host_->end_run) host_->end_run(host_->self, run_.exit_code, run_.signal, usage);
  Drain();  // what a process outside the container's pid namespace wrote before end_run killed it
  CloseStreams();
  if (program_.pidfd >= 0) close(program_.pidfd);
  program_ = Launched();
  run_.finished = WallClock();
  const bool restart = ShouldRestart();
  if (!auto_remove_) WriteExit(config_, run_);
  char code[12];
  snprintf(code, sizeof(code), "%d", run_.exit_code);
  Event("die", "exitCode", code);
  if (stop_event_) Event("stop");
  stop_event_ = false;
  if (!restart) {
    End();
    return;
  }
  state_ = State::kRestarting;
  if (run_.finished.tv_sec - run_.started.tv_sec >= kGoodRunSeconds) delay_ms_ = 0;
  delay_ms_ = delay_ms_ == 0 ? kFirstDelayMs : delay_ms_ * 2;
  if (delay_ms_ > kLongestDelayMs) delay_ms_ = kLongestDelayMs;
  run_.restart_count++;
  WriteRunning(config_, run_, 0);
  TellExit(true);
  SetTimer(Timer::kRestart, delay_ms_);
}

bool Keeper::ShouldRestart() const {
  if (stopped_ || auto_remove_ || !host_->relaunch) return false;
  switch (restart_) {
    case Restart::kNo:
      return false;
    case Restart::kOnFailure:
      return run_.exit_code != 0 && (restart_max_ == 0 || run_.restart_count < restart_max_);
    case Restart::kAlways:
    case Restart::kUnlessStopped:
      return true;
  }
  return false;
}

void Keeper::Relaunch() {
  Launched launched;
  if (host_->relaunch(host_->self, &launched)) {
    Begin(launched);
    return;
  }
  run_.error = host_->error;
  run_.exit_code = host_->error_exit_code;
  run_.signal = 0;
  run_.started = run_.finished = WallClock();
  const rusage usage{};
  if (host_->end_run) host_->end_run(host_->self, run_.exit_code, 0, usage);
  WriteExit(config_, run_);
  End();
}

// The container has ended for good. What others need is done and recorded before anybody is told.
void Keeper::End() {
  state_ = State::kEnded;
  if (host_->finish && !host_->finish(host_->self) && !auto_remove_) {
    run_.error = host_->error;
    WriteExit(config_, run_);
  }
  Abandon();
  Accept();  // whoever has connected meanwhile is told the end, too
  listen_.reset();
  if (auto_remove_) Event("destroy");
  RemoveRunning(config_);
  lock_.reset();
  TellExit(false);
  stay_ = false;
}

// Clients that are slow get what is theirs; clients that write are read, so that they see the exit and not EPIPE.
void Keeper::Linger() {
  signals_.reset();
  timer_.reset();
  if (host_->control_fd >= 0) Unwatch(host_->control_fd);
  while (clients_) {
    epoll_event event;
    const int n = epoll_wait(epoll_.get(), &event, 1, kLingerMs);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    if (event.data.u64 >= kSources) OnClient(reinterpret_cast<Client*>(event.data.u64), event.events);
  }
}

void Keeper::OnTimer() {
  uint64_t expirations;
  if (read(timer_.get(), &expirations, sizeof(expirations)) < 0) return;
  const Timer kind = timer_kind_;
  timer_kind_ = Timer::kNone;
  if (kind == Timer::kKill) Kill(SIGKILL);
  if (kind == Timer::kRestart) Relaunch();
}

void Keeper::SetTimer(Timer timer, uint64_t ms) {
  timer_kind_ = timer;
  itimerspec spec{};
  if (timer != Timer::kNone) {
    spec.it_value.tv_sec = static_cast<time_t>(ms / 1000);
    spec.it_value.tv_nsec = static_cast<long>(ms % 1000) * 1000000;
    if (ms == 0) spec.it_value.tv_nsec = 1;
  }
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

// The runtime hands signals on, and its end may be ours (library).
void Keeper::OnControl() {
  const ssize_t n =
      recv(host_->control_fd, control_ + control_size_, sizeof(control_) - control_size_, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    Unwatch(host_->control_fd);
    close(host_->control_fd);
    host_->control_fd = -1;
    if (config_.die_with_runtime) {
      stopped_ = true;
      if (state_ == State::kRestarting)
        End();
      else
        Kill(SIGKILL);
    }
    return;
  }
  control_size_ += static_cast<size_t>(n);
  while (control_size_ >= 8) {
    uint32_t words[3] = {};
    memcpy(words, control_, control_size_ < sizeof(words) ? control_size_ : sizeof(words));
    const size_t record = words[0] + 4U;
    if (record < 8 || record > sizeof(control_)) {
      control_size_ = 0;
      return;
    }
    if (control_size_ < record) return;
    if (static_cast<Message>(words[1]) == Message::kSignal && record >= 12) Kill(static_cast<int>(words[2]));
    control_size_ -= record;
    memmove(control_, control_ + record, control_size_);
  }
}

void Keeper::Watch(int fd, uint64_t source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = source;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Keeper::Unwatch(int fd) {
  epoll_event event{};
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &event);
}

void Keeper::Event(const char* action, const char* key, const char* value) {
  AppendEvent(config_, attributes_.c_str(), action, key, value);
}

}  // namespace nsbox
