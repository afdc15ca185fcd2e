// SCTP in network tests. `sctp listen PORT` answers each connection with the port and the caller's address;
// `sctp ask ADDRESS PORT [FROM]` prints what is answered there, to a caller that binds the address FROM. Exit code 3: the kernel has no SCTP; 1: no answer.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

[[noreturn]] void Fail(const char* what) {
  const int number = errno;
  perror(what);
  exit(number == EPROTONOSUPPORT ? 3 : 1);
}

int Socket(int family) {
  const int fd = socket(family, SOCK_STREAM, IPPROTO_SCTP);
  if (fd < 0) Fail("socket");
  return fd;
}

[[noreturn]] void Listen(int port) {
  const int server = Socket(AF_INET6);
  sockaddr_in6 own{};
  own.sin6_family = AF_INET6;
  own.sin6_port = htons(static_cast<uint16_t>(port));
  if (bind(server, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) Fail("bind");
  if (listen(server, 16) != 0) Fail("listen");
  if (puts("up") < 0 || fflush(stdout) != 0) Fail("stdout");
  for (;;) {
    sockaddr_in6 caller{};
    socklen_t size = sizeof caller;
    const int client = accept(server, reinterpret_cast<sockaddr*>(&caller), &size);
    if (client < 0) Fail("accept");
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, &caller.sin6_addr, address, sizeof address);
    dprintf(client, "%d %s\n", port, address);
    close(client);
  }
}

union Address {
  sockaddr any;
  sockaddr_in four;
  sockaddr_in6 six;
};

// Fills in an address; gives its size.
socklen_t Parse(const char* text, int port, Address* out) {
  *out = {};
  if (inet_pton(AF_INET, text, &out->four.sin_addr) == 1) {
    out->four.sin_family = AF_INET;
    out->four.sin_port = htons(static_cast<uint16_t>(port));
    return sizeof out->four;
  }
  if (inet_pton(AF_INET6, text, &out->six.sin6_addr) == 1) {
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons(static_cast<uint16_t>(port));
    return sizeof out->six;
  }
  fprintf(stderr, "not an address: %s\n", text);
  exit(2);
}

void Ask(const char* address, int port, const char* from) {
  Address there;
  const socklen_t size = Parse(address, port, &there);
  const int fd = Socket(there.any.sa_family);
  if (from != nullptr) {
    Address own;
    const socklen_t own_size = Parse(from, 0, &own);
    if (bind(fd, &own.any, own_size) != 0) Fail("bind");
  }
  alarm(20);  // ends it where nobody answers
  if (connect(fd, &there.any, size) != 0) Fail("connect");
  char answer[256];
  const ssize_t length = read(fd, answer, sizeof answer);
  if (length < 0) Fail("read");
  fwrite(answer, 1, static_cast<size_t>(length), stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 3 && strcmp(arguments[1], "listen") == 0) Listen(atoi(arguments[2]));
  if (count < 4 || count > 5 || strcmp(arguments[1], "ask") != 0) {
    fputs("usage: sctp listen PORT | sctp ask ADDRESS PORT [FROM]\n", stderr);
    return 2;
  }
  Ask(arguments[2], atoi(arguments[3]), count == 5 ? arguments[4] : nullptr);
  return 0;
}
