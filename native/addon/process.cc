// Processes by pidfd, and fds over unix sockets. See src/kernel/process.ts.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "addon/support.h"
#include "launch/send_fd.h"
#include "launch/sys.h"

namespace nsbox {
namespace {

class Owned {
 public:
  explicit Owned(int fd) : fd_(fd) {}
  ~Owned() {
    if (fd_ >= 0) close(fd_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

// A socket connected to a path, or bound to it. A path too long for sockaddr_un is reached through the fd of its
// directory; one that begins with '@' is abstract.
int Connect(const std::string& path, int type, bool listen = false) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path;
  int directory = -1;
  const size_t slash = path.rfind('/');
  if (path.size() >= sizeof(address.sun_path) && slash != std::string::npos) {
    directory = open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -1;
    name = "/proc/self/fd/" + std::to_string(directory) + path.substr(slash);
  }
  const Owned hold(directory);
  if (name.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, name.c_str(), name.size() + 1);
  socklen_t size = sizeof(address);
  if (name[0] == '@') {
    address.sun_path[0] = 0;
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  }
  Owned s(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (s.get() < 0) return -1;
  const auto* to = reinterpret_cast<sockaddr*>(&address);
  if ((listen ? bind(s.get(), to, size) : connect(s.get(), to, size)) != 0) return -1;
  return s.release();
}

// (path) -> fd of a stream socket connected to it
Napi::Value UnixConnect(const Napi::CallbackInfo& info) {
  const std::string path = Str(info, 0);
  const int fd = Connect(path, SOCK_STREAM);
  if (fd < 0) return ThrowErrno(info.Env(), "connect", path);
  return Napi::Number::New(info.Env(), fd);
}

// (path, bind it) -> fd of a datagram socket there
Napi::Value UnixDatagram(const Napi::CallbackInfo& info) {
  const std::string path = Str(info, 0);
  const bool listen = info[1].ToBoolean();
  const int fd = Connect(path, SOCK_DGRAM, listen);
  if (fd < 0) return ThrowErrno(info.Env(), listen ? "bind" : "connect", path);
  return Napi::Number::New(info.Env(), fd);
}

// -> both ends of a SOCK_SEQPACKET pair
Napi::Value SeqpacketPair(const Napi::CallbackInfo& info) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ThrowErrno(info.Env(), "socketpair");
  Napi::Array out = Napi::Array::New(info.Env(), 2);
  out.Set(0U, Napi::Number::New(info.Env(), ends[0]));
  out.Set(1U, Napi::Number::New(info.Env(), ends[1]));
  return out;
}

// (socket, data, fd): one message with one fd
Napi::Value SendFd(const Napi::CallbackInfo& info) {
  std::string data = Bytes(info, 1);
  const int fd = Int(info, 2);
  if (!SendWithFd(Int(info, 0), data.data(), data.size(), fd)) return ThrowErrno(info.Env(), "sendmsg");
  return info.Env().Undefined();
}

// (path, byte, SOCK_… type) -> all that the listener answers until it closes. Blocks.
Napi::Value UnixAsk(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = Str(info, 0);
  Owned fd(Connect(path, Int(info, 2)));
  if (fd.get() < 0) return ThrowErrno(env, "connect", path);
  const char byte = static_cast<char>(Int(info, 1));
  if (send(fd.get(), &byte, 1, MSG_NOSIGNAL) != 1) return ThrowErrno(env, "send", path);
  std::string answer;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ECONNRESET) break;
    if (n < 0) return ThrowErrno(env, "read", path);
    if (n == 0) break;
    answer.append(buffer, static_cast<size_t>(n));
  }
  return Napi::Buffer<char>::Copy(env, answer.data(), answer.size());
}

// (pid) -> pidfd
Napi::Value PidfdOpen(const Napi::CallbackInfo& info) {
  const int fd = SysPidfdOpen(Int(info, 0), 0);
  if (fd < 0) return ThrowErrno(info.Env(), "pidfd_open");
  return Napi::Number::New(info.Env(), fd);
}

// (pidfd, signal)
Napi::Value PidfdSignal(const Napi::CallbackInfo& info) {
  if (SysPidfdSendSignal(Int(info, 0), Int(info, 1)) != 0) return ThrowErrno(info.Env(), "pidfd_send_signal");
  return info.Env().Undefined();
}

// (pidfd, milliseconds or -1) -> whether the process has ended. Blocks.
Napi::Value PidfdWait(const Napi::CallbackInfo& info) {
  pollfd p{Int(info, 0), POLLIN, 0};
  int r;
  do r = poll(&p, 1, Int(info, 1));
  while (r < 0 && errno == EINTR);
  if (r < 0) return ThrowErrno(info.Env(), "poll");
  return Napi::Boolean::New(info.Env(), r > 0);
}

// (code): ends this process at once, as _exit(2)
Napi::Value ExitNow(const Napi::CallbackInfo& info) { _exit(Int(info, 0)); }

}  // namespace

void RegisterProcess(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "unixConnect", UnixConnect);
  Export(env, exports, "unixDatagram", UnixDatagram);
  Export(env, exports, "seqpacketPair", SeqpacketPair);
  Export(env, exports, "sendFd", SendFd);
  Export(env, exports, "unixAsk", UnixAsk);
  Export(env, exports, "pidfdOpen", PidfdOpen);
  Export(env, exports, "pidfdSignal", PidfdSignal);
  Export(env, exports, "pidfdWait", PidfdWait);
  Export(env, exports, "exitNow", ExitNow);
}

}  // namespace nsbox
