#include "init/keep_records.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "init/keep_text.h"
#include "launch/fd.h"

namespace nsbox {

namespace {

constexpr off_t kEventsLimit = 1 << 20;  // bytes after which the file is renamed to ….1

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// Old content or new, never a part: temporary name, (fsync,) rename.
bool Replace(const char* directory, const char* name, const char* data, size_t size, bool durable) {
  const Fd dir(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok()) return false;
  char temporary[64];
  snprintf(temporary, sizeof(temporary), "%s.tmp.%d", name, getpid());
  Fd file(openat(dir.get(), temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.ok()) return false;
  bool good = WriteAll(file.get(), data, size);
  if (good && durable) good = fsync(file.get()) == 0;
  file.reset();
  if (good) good = renameat(dir.get(), temporary, dir.get(), name) == 0;
  if (!good) unlinkat(dir.get(), temporary, 0);
  if (good && durable) fsync(dir.get());
  return good;
}

template <size_t Size>
void AddTime(Text<Size>& text, const timespec& time) {
  char stamp[40];
  stamp[FormatTime(time, stamp)] = 0;
  text.put('"').add(stamp).put('"');
}

}  // namespace

void WriteRunning(const KeepConfig& config, const RunState& run, pid_t pid) {
  if (!config.id[0]) return;
  Text<512> t;
  t.add("{\"state\":\"").add(pid > 0 ? "running" : "restarting").add("\",\"pid\":");
  t.number(static_cast<uint64_t>(pid > 0 ? pid : 0)).add(",\"monitorPid\":");
  t.number(static_cast<uint64_t>(getpid())).add(",\"startedAt\":");
  AddTime(t, run.started);
  t.add(",\"restartCount\":").number(run.restart_count).add("}\n");
  Replace(config.state_dir, "running.json", t.c_str(), t.size(), false);
}

void RemoveRunning(const KeepConfig& config) {
  if (!config.id[0]) return;
  Text<4200> path;
  path.add(config.state_dir).add("/running.json");
  if (!path.full()) unlink(path.c_str());
}

void WriteExit(const KeepConfig& config, const RunState& run) {
  if (!config.id[0]) return;
  Text<2048> t;
  t.add("{\"exitCode\":").number(static_cast<uint64_t>(run.exit_code));
  t.add(",\"signal\":").number(static_cast<uint64_t>(run.signal));
  t.add(",\"oomKilled\":").add(run.oom_killed ? "true" : "false").add(",\"startedAt\":");
  AddTime(t, run.started);
  t.add(",\"finishedAt\":");
  AddTime(t, run.finished);
  t.add(",\"restartCount\":").number(run.restart_count);
  if (run.error[0]) t.add(",\"error\":").quoted(run.error);
  t.add("}\n");
  if (t.full()) return;
  // A full disk must not lose the end: beside the state of this boot it waits for the next command that finds room.
  if (!Replace(config.data_dir, "exit.json", t.c_str(), t.size(), true)) {
    Replace(config.state_dir, "exit.json", t.c_str(), t.size(), false);
  }
}

void AppendEvent(const KeepConfig& config, const char* attributes, const char* action, const char* key,
                 const char* value) {
  if (!config.events_file[0]) return;
  const timespec now = WallClock();
  Text<16384> t;
  t.add("{\"status\":").quoted(action).add(",\"id\":").quoted(config.id).add(",\"from\":");
  t.add(config.event_from[0] ? config.event_from : "\"\"");
  t.add(",\"Type\":\"container\",\"Action\":").quoted(action).add(",\"Actor\":{\"ID\":").quoted(config.id);
  t.add(",\"Attributes\":{");
  if (key[0]) t.quoted(key).put(':').quoted(value);
  if (attributes[0] == '{' && attributes[1] != '}' && attributes[1]) {
    if (key[0]) t.put(',');
    t.add(attributes + 1);  // with its closing brace
  } else {
    t.put('}');
  }
  t.add("},\"scope\":\"local\",\"time\":").number(static_cast<uint64_t>(now.tv_sec));
  t.add(",\"timeNano\":");
  t.number(static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec)).add("}\n");
  if (t.full()) return;
  for (int attempt = 0; attempt < 3; attempt++) {
    const Fd file(open(config.events_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    if (!file.ok()) return;
    struct stat open_one, named;
    // Only where it is large is a lock worth its time: one of the writers renames it.
    if (fstat(file.get(), &open_one) == 0 && open_one.st_size > kEventsLimit) {
      flock(file.get(), LOCK_EX);
      if (stat(config.events_file, &named) == 0 && named.st_ino == open_one.st_ino) {
        Text<4200> old;
        old.add(config.events_file).add(".1");
        if (!old.full()) rename(config.events_file, old.c_str());
      }
      continue;
    }
    WriteAll(file.get(), t.c_str(), t.size());
    return;
  }
}

}  // namespace nsbox
