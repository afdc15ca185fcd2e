// What the monitor leaves on disk for others: running.json, exit.json, events. src/engine/records.ts has the types.
#pragma once

#include <sys/types.h>

#include <ctime>

#include "init/keep_config.h"

namespace nsbox {

struct RunState {
  timespec started{};
  timespec finished{};
  uint32_t restart_count = 0;
  int exit_code = 0;
  int signal = 0;
  bool oom_killed = false;
  const char* error = "";  // of a failed restart
};

// <state_dir>/running.json; pid 0 while a restart is awaited.
void WriteRunning(const KeepConfig& config, const RunState& run, pid_t pid);
void RemoveRunning(const KeepConfig& config);

// <data_dir>/exit.json, on disk for good when this returns (fsync(2) of file and directory).
void WriteExit(const KeepConfig& config, const RunState& run);

// Appends {"status":action,…} to the events file with the container's attributes and one more: `key` (if not empty).
void AppendEvent(const KeepConfig& config, const char* attributes, const char* action, const char* key = "",
                 const char* value = "");

}  // namespace nsbox
