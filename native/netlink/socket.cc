#include "netlink/socket.h"

#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace nsbox {
namespace {

struct Request {
  int netns_fd;
  int domain;
  int type;
  int protocol;
  int fd;
  int error;
  const char* syscall;
};

void* Join(void* argument) {
  auto* request = static_cast<Request*>(argument);
  if (setns(request->netns_fd, CLONE_NEWNET) != 0) {
    request->error = errno;
    request->syscall = "setns";
    return nullptr;
  }
  request->fd = socket(request->domain, request->type | SOCK_CLOEXEC, request->protocol);
  if (request->fd < 0) {
    request->error = errno;
    request->syscall = "socket";
  }
  return nullptr;
}

}  // namespace

int OpenSocketIn(int netns_fd, int domain, int type, int protocol, const char** syscall) {
  if (netns_fd < 0) {
    *syscall = "socket";
    return socket(domain, type | SOCK_CLOEXEC, protocol);
  }
  Request request{netns_fd, domain, type, protocol, -1, 0, "setns"};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread;
  const int failed = pthread_create(&thread, &attributes, Join, &request);
  pthread_attr_destroy(&attributes);
  if (failed != 0) {
    *syscall = "pthread_create";
    errno = failed;
    return -1;
  }
  pthread_join(thread, nullptr);
  *syscall = request.syscall;
  if (request.fd < 0) errno = request.error;
  return request.fd;
}

int PrepareNetlink(int fd) {
  const int on = 1;
  // Both came with 4.12 and 4.3; without them errors have less text and acks are longer.
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
  const timeval patience{10, 0};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) return -1;
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  return bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
}

int ExchangeNetlink(int fd, const void* data, size_t length, unsigned expected, std::vector<char>* replies,
                    const char** syscall) {
  ssize_t n;
  do n = send(fd, data, length, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    *syscall = "sendmsg";
    return -1;
  }
  constexpr size_t kChunk = 64 * 1024;
  size_t used = 0;
  while (expected > 0) {
    replies->resize(used + kChunk);
    do n = recv(fd, replies->data() + used, kChunk, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
      *syscall = "recvmsg";
      return -1;
    }
    char* at = replies->data() + used;
    size_t left = static_cast<size_t>(n);
    while (left >= sizeof(nlmsghdr)) {
      const auto* header = reinterpret_cast<const nlmsghdr*>(at);
      if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > left) break;
      if ((header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) && expected > 0) expected--;
      const size_t step = NLMSG_ALIGN(header->nlmsg_len);
      if (step >= left) break;
      at += step;
      left -= step;
    }
    used += NLMSG_ALIGN(static_cast<size_t>(n));
  }
  replies->resize(used);
  return 0;
}

}  // namespace nsbox
