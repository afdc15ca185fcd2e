// The keeping loop's state. keep.cc has the loop and a run's beginning and end, keep_io.cc what flows through it,
// keep_requests.cc what clients ask, keep_health.cc when health is checked.
#pragma once

#include <signal.h>

#include "init/keep.h"
#include "init/keep_clients.h"
#include "init/keep_log.h"
#include "init/keep_records.h"
#include "launch/fd.h"

namespace nsbox {

class Keeper {
 public:
  explicit Keeper(const KeepConfig& config) : config_(config), attributes_(config.event_attributes) {}
  ~Keeper() { DropAll(); }

  Failure Prepare();
  int Run(Launched first, KeepHost& host);
  void Abandon();

 private:
  // What epoll reports; a client is reported by its address instead.
  enum Source : uint64_t {
    kListen,
    kSignals,
    kTimer,
    kStdin,
    kStdout,
    kStderr,
    kTerminal,
    kControl,
    kOom,
    kHealth,
    kSources
  };
  enum class State { kRunning, kRestarting, kEnded };
  enum class Timer { kNone, kKill, kRestart };

  // keep.cc
  void Begin(Launched launched);
  void Loop();
  void Reap();
  void EndRun(int status, const rusage& usage);
  bool ShouldRestart() const;
  void Relaunch();
  void End();
  void Linger();
  void Watch(int fd, uint64_t source, uint32_t events);
  void Unwatch(int fd);
  void SetTimer(Timer timer, uint64_t ms);
  void OnTimer();
  void OnSignal();
  void OnControl();
  void Event(const char* action, const char* key = "", const char* value = "");

  // keep_io.cc
  void OpenStreams();
  void CloseStreams();
  void ReadOutput(Source source);
  void Drain();
  void WatchOutputs();
  void Deliver(uint8_t stream, const char* data, size_t size);
  void FlushStdin();
  void CloseStdin();
  bool AnyBlocked() const;
  void EndStream(Source source);

  // keep_oom.cc
  void WatchOom();
  void UnwatchOom();
  void OnOom();
  uint64_t OomKills() const;

  // keep_health.cc
  void BeginHealth();
  void EndHealth();
  void ArmHealth();
  void OnHealth();
  void HealthEnded(int status);

  // keep_requests.cc
  void Accept();
  void AddClient(int fd);
  void Drop(Client* client);
  void DropAll();
  void OnClient(Client* client, uint32_t events);
  void ReadClient(Client* client);
  void WatchClient(Client* client);
  void ResumePaused();
  void Answer(Client* client);
  bool Ack(Client* client, Ask ask, int err);
  int Stop(uint32_t signal, uint32_t timeout_ms);
  int Kill(int signal);
  void Resize(uint32_t rows, uint32_t columns);
  void TellExit(bool restarting);

  const KeepConfig& config_;
  std::string attributes_;  // of events; `rename` changes them
  char control_[64];
  size_t control_size_ = 0;
  KeepHost* host_ = nullptr;
  LogWriter log_;
  RunState run_;
  Launched program_;
  State state_ = State::kRunning;
  Timer timer_kind_ = Timer::kNone;
  Restart restart_ = Restart::kNo;
  uint32_t restart_max_ = 0;
  uint64_t delay_ms_ = 0;  // before the last restart
  bool stopped_ = false;   // by a person: not restarted
  bool stop_event_ = false;
  bool auto_remove_ = false;
  bool stay_ = true;  // in the loop

  Fd epoll_, lock_, listen_, signals_, timer_, oom_, slave_, health_;
  pid_t health_pid_ = -1;         // the check that runs
  bool health_good_ = false;      // one of this run has succeeded
  uint64_t health_began_ms_ = 0;  // of CLOCK_MONOTONIC
  uint64_t oom_before_ = 0, oom_seen_ = 0;
  bool oom_told_ = false;
  bool outputs_watched_ = false;
  Client* clients_ = nullptr;
  bool stdin_watched_ = false;
  bool stdin_closing_ = false;  // close it once what is kept has been written
  size_t in_at_ = 0, in_size_ = 0;
  char in_[16384];
  char io_[16384];  // for one read
};

}  // namespace nsbox
