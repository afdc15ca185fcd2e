// What the keeping loop of the monitor is told, as src/kernel/monitor.ts encodes it. Strings point into the plan.
#pragma once

#include <cstdint>

#include "launch/wire.h"

namespace nsbox {

inline constexpr uint32_t kKeepVersion = 1;

enum class LogDriver : uint8_t { kNone = 0, kJsonFile = 1 };

// docker run --restart
enum class Restart : uint8_t { kNo = 0, kOnFailure = 1, kAlways = 2, kUnlessStopped = 3 };

// A list of strings, read when it is needed.
struct Strings {
  uint32_t count = 0;
  const char* first = nullptr;  // wire form: u32 size, text, NUL, …
  const char* end = nullptr;

  template <typename F>
  void each(F fn) const {
    Reader r(first, static_cast<size_t>(end - first));
    for (uint32_t i = 0; i < count && !r.bad(); i++) fn(r.str());
  }
};

struct KeepConfig {
  const char* id = "";                // empty: no records, no socket, no log: only wait, signal and report
  const char* state_dir = "";         // <state>/containers/<id>: lock, running.json, monitor.sock
  const char* data_dir = "";          // <root>/containers/<id>: log.json, exit.json
  const char* events_file = "";       // empty: no events
  const char* event_from = "";        // JSON text of the image's name, quotes included
  const char* event_attributes = "";  // JSON object: {"image":…,"name":…}

  LogDriver log_driver = LogDriver::kNone;
  uint64_t log_max_size = 0;   // bytes; 0: never rotated
  uint32_t log_max_files = 1;  // log.json and its predecessors together
  const char* log_attrs = "";  // JSON object added to each line, or empty

  bool tty = false;
  bool open_stdin = false;  // -i
  bool stdin_once = false;  // stdin ends with the first client that had it

  Restart restart = Restart::kNo;
  uint32_t restart_max = 0;    // on-failure: 0 is without end
  uint32_t restart_count = 0;  // where to go on counting
  uint32_t stop_signal = 15;
  uint32_t stop_timeout_ms = 10000;

  bool die_with_runtime = false;  // the control socket's end kills the container
  bool auto_remove = false;       // --rm: nothing need be recorded, finish() removes everything

  Strings oom_files;  // memory.events or memory.oom_control of the container's groups

  Strings health_command;  // a path and arguments; none: no health checks
  uint64_t health_interval_ms = 0;
  uint64_t health_start_interval_ms = 0;  // within the start period, until a check has succeeded
  uint64_t health_start_period_ms = 0;

  // False: malformed, or of another version.
  bool parse(const void* data, size_t size);
};

}  // namespace nsbox
