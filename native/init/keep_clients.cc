#include "init/keep_clients.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nsbox {

bool SendFrame(Client& client, uint8_t stream, const void* data, size_t size) {
  uint8_t head[8] = {stream,
                     0,
                     0,
                     0,
                     static_cast<uint8_t>(size >> 24),
                     static_cast<uint8_t>(size >> 16),
                     static_cast<uint8_t>(size >> 8),
                     static_cast<uint8_t>(size)};
  size_t sent = 0;
  if (!client.blocked()) {
    iovec parts[2] = {{head, sizeof(head)}, {const_cast<void*>(data), size}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t n;
    do n = sendmsg(client.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != ENOBUFS) return false;
    if (n > 0) sent = static_cast<size_t>(n);
    if (sent == sizeof(head) + size) return true;
    client.pending.clear();
    client.pending_at = 0;
  }
  if (sent < sizeof(head)) {
    client.pending.append(reinterpret_cast<char*>(head) + sent, sizeof(head) - sent);
    sent = sizeof(head);
  }
  client.pending.append(static_cast<const char*>(data) + (sent - sizeof(head)), size - (sent - sizeof(head)));
  return true;
}

bool SendPending(Client& client) {
  while (client.blocked()) {
    const ssize_t n = send(client.fd.get(), client.pending.data() + client.pending_at,
                           client.pending.size() - client.pending_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == ENOBUFS;
    }
    client.pending_at += static_cast<size_t>(n);
  }
  client.pending = std::string();  // its memory goes back
  client.pending_at = 0;
  return true;
}

int ListenAt(const char* directory, const char* name) {
  // A socket's address has 107 bytes: reached through a short name of the directory.
  const Fd dir(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok()) return -1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir.get(), name);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.ok()) return -1;
  unlinkat(dir.get(), name, 0);
  const mode_t mask = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  umask(mask);
  if (bound != 0 || listen(fd.get(), 64) != 0) return -1;
  return fd.release();
}

}  // namespace nsbox
