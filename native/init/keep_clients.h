// The connections to <state_dir>/monitor.sock (stream, mode 0600). src/kernel/monitor.ts is the other side.
//
// Frames both ways, as Docker multiplexes its streams: {u8 stream, 3 zero bytes, u32 big-endian length}, payload.
//   0  client → monitor: data for the program's stdin
//   1, 2  monitor → client: stdout, stderr (a terminal's output is 1)
//   3  control: u8 operation, then little-endian numbers as in wire.h
//
//   client                                   monitor
//                                     ◀────  hello {version, tty, stdin open, restarting, pid}
//   attach {bits, rows, columns}       ────▶  from here on output is sent; nothing earlier is repeated
//   resize, signal, restartPolicy, …   ────▶
//                                     ◀────  ack {operation, errno}
//   stop, wait                         ────▶
//                                     ◀────  exit {code, signal, oom, restarting} to all; the client closes then
//
// Back-pressure: output that a client doesn't take stops the reading of more (and with it, in the end, the program),
// as with a pipe. A client that is gone is forgotten at once. Control requests should have a connection of their own:
// on one that carries stdin they wait behind it.
#pragma once

#include <cstdint>
#include <string>

#include "launch/fd.h"

namespace nsbox {

inline constexpr uint8_t kFrameStdin = 0, kFrameStdout = 1, kFrameStderr = 2, kFrameControl = 3;
inline constexpr size_t kFrameMax = 16384;

enum class Ask : uint8_t {
  kAttach = 1,           // u8 bits (1 stdin, 2 stdout, 4 stderr), u32 rows, u32 columns (0: as it is)
  kResize = 2,           // u32 rows, u32 columns
  kCloseStdin = 3,       //
  kStop = 4,             // u32 signal (0: the container's), u32 ms (kStopDefault, kStopNever)
  kSignal = 5,           // u32 signal
  kWait = 6,             //
  kRestartPolicy = 7,    // u8 name, u32 maximum
  kKeep = 8,             // the end of this run is not the end of a --rm container (`restart`)
  kEventAttributes = 9,  // str JSON object
};
enum class Tell : uint8_t {
  kHello = 1,  // u32 version, u8 tty, u8 stdin open, u8 restarting, u32 pid
  kExit = 2,   // u32 code, u32 signal, u8 oom, u8 restarting
  kAck = 3,    // u32 operation, u32 errno
};
inline constexpr uint32_t kStopNever = 0xffffffff, kStopDefault = 0xfffffffe;

struct Client {
  Fd fd;
  bool out = false, err = false, in = false;  // attached to
  bool done = false;                          // has been told the end: what it still says is thrown away
  bool paused = false;                        // its stdin data has nowhere to go yet: not read
  uint32_t events = 0;                        // registered with epoll; 0: not registered
  uint8_t head[8];
  size_t head_size = 0;
  uint32_t left = 0;    // of the payload
  std::string control;  // payload of a control frame so far
  std::string pending;  // what the socket didn't take
  size_t pending_at = 0;
  Client* next = nullptr;

  bool blocked() const { return pending_at < pending.size(); }
};

// A little-endian message in a few bytes.
struct Small {
  uint8_t bytes[32];
  size_t size = 0;
  Small& u8(uint8_t v) {
    bytes[size++] = v;
    return *this;
  }
  Small& u32(uint32_t v) {
    for (int i = 0; i < 4; i++) u8(static_cast<uint8_t>(v >> (8 * i)));
    return *this;
  }
};

// Sends a frame, or keeps what the socket doesn't take. False: the client is gone.
bool SendFrame(Client& client, uint8_t stream, const void* data, size_t size);
// Sends what was kept. False: the client is gone.
bool SendPending(Client& client);

// Makes, binds and listens on the socket, which an earlier monitor may have left. -1: errno tells.
int ListenAt(const char* directory, const char* name);

}  // namespace nsbox
