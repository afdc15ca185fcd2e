// The messages between runtime, monitor and init. One file; src/kernel/launch.ts has the other side.
//
//   runtime                 monitor                                  init
//      ── plan (sealed memory, fd 3) ──▶
//                             ── clone3 ────────────────────────────▶ waits
//      ◀── kSync point, pid ──   (the runtime works while mounts are made)
//                             ── kGo + mount fds ───────────────────▶ runs its steps
//      ── kGranted point ───▶
//                             ◀── kSync point ────────────────────── needs the point to be done
//                             ── kGranted point ─────────────────────▶
//                             ◀── kTerminal + pty master ─────────── (with a terminal)
//      ◀── kReady pid ───────  ◀── kReady ────────────────────────── OCI create: waits for start
//      ◀── kStarted pid ─────  ◀── end of file: execve succeeded
//      ◀── kFailed … ────────  ◀── kFailed {list, step, errno, call, path, detail, mode, head}
//      ◀── kExited … ────────  (only while the runtime listens)
//      ── kSignal n ────────▶
//      ── kAdopt pid ───────▶  (the program is criu, and has restored a process)
//
// Between runtime and monitor: a stream of [u32 size][u32 type][payload]; between monitor and init: the same
// records, one per packet (SOCK_SEQPACKET). Numbers are little-endian, strings as in wire.h.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstring>

#include "launch/send_fd.h"
#include "launch/wire.h"

namespace nsbox {

enum class Message : uint32_t {
  kSync = 1,      // u32 point, u32 pid
  kGranted = 2,   // u32 point, u32 ok
  kGo = 3,        // u32 count, u32 slot…; as many fds; u32 more; u32 init's pid as the monitor sees it
  kTerminal = 4,  // + fd
  kReady = 5,     // u32 pid
  kStarted = 6,   // u32 pid
  kFailed = 7,    // u32 list, u32 step, u32 errno, str call, str path, str detail, u32 st_mode, bytes head of
                  // the file
  kExited = 8,   // u32 code, u32 signal, u64 user µs, u64 system µs, u64 max rss KiB, u64 minor faults, u64
                 // major faults, u32 count, (str path, bytes content)…
  kSignal = 9,   // u32 signal
  kNotice = 10,  // u32 list, u32 step, u32 errno: a step was done in another way
  kTrace = 11,   // u32 list, u32 step, u64 start ns, u64 end ns (CLOCK_MONOTONIC)
  kPid = 12,     // u32 pid: from the stage that joins namespaces
  kAdopt = 13,   // u32 pid: a child that the program made for the monitor is what it waits for from now on
};

// Builds one message in place; what doesn't fit is cut, never overrun.
class Outgoing {
 public:
  explicit Outgoing(Message type) {
    u32(0);
    u32(static_cast<uint32_t>(type));
  }
  Outgoing& u32(uint32_t v) { return raw(&v, 4); }
  Outgoing& u64(uint64_t v) { return raw(&v, 8); }
  Outgoing& bytes(const void* data, size_t size) {
    const size_t room = sizeof(buffer_) - size_;
    if (room < 5) return *this;
    if (size > room - 5) size = room - 5;
    u32(static_cast<uint32_t>(size));
    raw(data, size);
    const char nul = 0;
    return raw(&nul, 1);
  }
  Outgoing& str(const char* s) { return bytes(s, strlen(s)); }

  // Whole record including its size field.
  const char* finish(size_t* size) {
    const uint32_t payload = static_cast<uint32_t>(size_ - 4);
    memcpy(buffer_, &payload, 4);
    *size = size_;
    return buffer_;
  }

 private:
  Outgoing& raw(const void* data, size_t size) {
    if (size <= sizeof(buffer_) - size_) {
      memcpy(buffer_ + size_, data, size);
      size_ += size;
    }
    return *this;
  }
  size_t size_ = 0;
  char buffer_[16384];
};

// One packet of the socket between monitor and init.
struct Incoming {
  static constexpr int kMaxFds = 200;
  Message type{};
  Reader reader;
  int fds[kMaxFds];
  int fd_count = 0;
  char buffer[16384];
};

// Sends the whole message, with up to Incoming::kMaxFds fds. False: the other side is gone.
bool Send(int socket, Outgoing& message, const int* fds = nullptr, int fd_count = 0);

// Receives one packet. False: end of file or error; errno is 0 at the end of file.
bool Receive(int socket, Incoming* in);

}  // namespace nsbox
