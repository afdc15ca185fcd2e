#include "init/keep_config.h"

namespace nsbox {

static Strings ReadStrings(Reader& r) {
  Strings list;
  list.count = r.u32();
  for (uint32_t i = 0; i < list.count && !r.bad(); i++) {
    const Bytes text = r.bytes();
    if (i == 0) list.first = text.data - sizeof(uint32_t);
    list.end = text.data + text.size + 1;
  }
  if (r.bad()) list = Strings();
  return list;
}

bool KeepConfig::parse(const void* data, size_t size) {
  Reader r(data, size);
  if (r.u32() != kKeepVersion) return false;
  id = r.str();
  state_dir = r.str();
  data_dir = r.str();
  events_file = r.str();
  event_from = r.str();
  event_attributes = r.str();
  log_driver = static_cast<LogDriver>(r.u8());
  log_max_size = r.u64();
  log_max_files = r.u32();
  log_attrs = r.str();
  tty = r.flag();
  open_stdin = r.flag();
  stdin_once = r.flag();
  restart = static_cast<Restart>(r.u8());
  restart_max = r.u32();
  restart_count = r.u32();
  stop_signal = r.u32();
  stop_timeout_ms = r.u32();
  die_with_runtime = r.flag();
  auto_remove = r.flag();
  oom_files = ReadStrings(r);
  health_command = ReadStrings(r);
  health_interval_ms = r.u64();
  health_start_interval_ms = r.u64();
  health_start_period_ms = r.u64();
  if (log_max_files == 0) log_max_files = 1;
  return !r.bad() && r.done();
}

}  // namespace nsbox
