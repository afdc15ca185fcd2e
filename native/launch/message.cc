#include "launch/message.h"

#include <sys/socket.h>

#include <cerrno>

namespace nsbox {

bool Send(int socket, Outgoing& message, const int* fds, int fd_count) {
  size_t size = 0;
  const char* data = message.finish(&size);
  size_t sent = 0;
  while (sent < size) {
    iovec iov{const_cast<char*>(data + sent), size - sent};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * Incoming::kMaxFds)];
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    if (fd_count > 0 && sent == 0) {
      msg.msg_control = control;
      msg.msg_controllen = CMSG_SPACE(sizeof(int) * static_cast<size_t>(fd_count));
      cmsghdr* c = CMSG_FIRSTHDR(&msg);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * static_cast<size_t>(fd_count));
      memcpy(CMSG_DATA(c), fds, sizeof(int) * static_cast<size_t>(fd_count));
    }
    const ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool SendWithFd(int socket, const void* data, size_t size, int fd) {
  iovec iov{const_cast<void*>(data), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof(control);
  cmsghdr* c = CMSG_FIRSTHDR(&msg);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof(int));
  return sendmsg(socket, &msg, MSG_NOSIGNAL) >= 0;
}

bool Receive(int socket, Incoming* in) {
  iovec iov{in->buffer, sizeof(in->buffer)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * Incoming::kMaxFds)];
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof(control);
  ssize_t n;
  do n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n <= 0) {
    if (n == 0) errno = 0;
    return false;
  }
  in->fd_count = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(in->fds, CMSG_DATA(c), count * sizeof(int));
    in->fd_count = static_cast<int>(count);
  }
  in->reader = Reader(in->buffer, static_cast<size_t>(n));
  in->reader.u32();
  in->type = static_cast<Message>(in->reader.u32());
  if (in->reader.bad()) {
    errno = EPROTO;
    return false;
  }
  return true;
}

}  // namespace nsbox
