// Knowing that the kernel killed for memory: the counter in memory.events (v2) or memory.oom_control (v1), and the
// kernel's notice when it changes (cgroup-v2.rst "memory.events": a file modified event; memory-v1: an eventfd).
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cstdlib>

#include "init/keep_text.h"
#include "init/keeper.h"

namespace nsbox {

uint64_t Keeper::OomKills() const {
  uint64_t most = 0;
  config_.oom_files.each([&](const char* path) {
    const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
    char text[512];
    const ssize_t n = fd.ok() ? read(fd.get(), text, sizeof(text) - 1) : -1;
    if (n <= 0) return;
    text[n] = 0;
    const char* found = strstr(text, "oom_kill ");
    if (!found) return;
    const uint64_t kills = strtoull(found + strlen("oom_kill "), nullptr, 10);
    if (kills > most) most = kills;
  });
  return most;
}

void Keeper::WatchOom() {
  oom_before_ = oom_seen_ = OomKills();
  config_.oom_files.each([&](const char* path) {
    if (oom_.ok()) return;
    const char* name = strrchr(path, '/');
    if (!name) return;
    if (strcmp(name, "/memory.events") == 0) {
      oom_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
      if (inotify_add_watch(oom_.get(), path, IN_MODIFY) < 0) oom_.reset();
      return;
    }
    Text<4200> control;
    for (const char* p = path; p < name; p++) control.put(*p);
    control.add("/cgroup.event_control");
    const Fd counter(open(path, O_RDONLY | O_CLOEXEC));
    const Fd registry(open(control.c_str(), O_WRONLY | O_CLOEXEC));
    if (!counter.ok() || !registry.ok()) return;
    oom_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    char line[32];
    const int n = snprintf(line, sizeof(line), "%d %d", oom_.get(), counter.get());
    if (write(registry.get(), line, static_cast<size_t>(n)) != n) oom_.reset();
  });
  if (oom_.ok()) Watch(oom_.get(), kOom, EPOLLIN);
}

void Keeper::UnwatchOom() { oom_.reset(); }

void Keeper::OnOom() {
  char events[512];
  bool notice = false;  // v1's eventfd: eight bytes
  if (oom_.ok()) {
    ssize_t n;
    while ((n = read(oom_.get(), events, sizeof(events))) > 0) notice = notice || n == 8;
  }
  const uint64_t kills = OomKills();
  // v1 gives notice before it kills, and not again when it counts the kill.
  if (kills > oom_seen_) {
    if (!oom_told_) {
      Event("oom");
      notice = false;
    }
    oom_told_ = false;
    oom_seen_ = kills;
  }
  if (notice && !oom_told_) {
    Event("oom");
    oom_told_ = true;
  }
}

}  // namespace nsbox
