// Small messages over TCP and questions to a name server, measured from the asking side. Static, so that the same bytes
// run on the host and in every container.
//   net server PORT                  answers every byte with the same bytes, on all addresses
//   net wait ADDRESS SECONDS PORT…   until something listens on each of the ports
//   net rr ADDRESS PORT COUNT        one byte there and one back, COUNT times: the median in nanoseconds
//   net connect ADDRESS PORT COUNT   connect, one byte to and fro, close: the median in nanoseconds
//   net dns NAME COUNT               asks the first name server of /etc/resolv.conf for NAME's address: the median
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void Die(const char* what) {
  fprintf(stderr, "net: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in Address(const char* address, const char* port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
    fprintf(stderr, "net: %s is no IPv4 address\n", address);
    exit(2);
  }
  return a;
}

static int Connect(const struct sockaddr_in* to) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, (const struct sockaddr*)to, sizeof(*to)) != 0) {
    close(fd);
    return -1;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

static void Server(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const struct sockaddr_in a = Address("0.0.0.0", port);
  if (bind(listener, (const struct sockaddr*)&a, sizeof(a)) != 0 || listen(listener, 1024) != 0) Die("bind");
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) != 0) Die("epoll");
  for (;;) {
    struct epoll_event ready[64];
    const int n = epoll_wait(poll, ready, 64, -1);
    for (int i = 0; i < n; i++) {
      if (ready[i].data.fd == listener) {
        const int fd = accept4(listener, 0, 0, SOCK_CLOEXEC);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        event.data.fd = fd;
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0) close(fd);
        continue;
      }
      char bytes[4096];
      const ssize_t got = read(ready[i].data.fd, bytes, sizeof(bytes));
      if (got <= 0 || write(ready[i].data.fd, bytes, (size_t)got) != got) close(ready[i].data.fd);
    }
  }
}

static void Wait(char** argv) {
  const int64_t end = Now() + (int64_t)atoi(argv[1]) * 1000000000;
  for (char** port = argv + 2; *port; port++) {
    const struct sockaddr_in to = Address(argv[0], *port);
    for (;;) {
      const int fd = Connect(&to);
      if (fd >= 0) {
        close(fd);
        break;
      }
      if (Now() > end) {
        fprintf(stderr, "net: nothing listens on %s:%s after %s s: %s\n", argv[0], *port, argv[1],
                strerror(errno));
        exit(1);
      }
      usleep(20000);
    }
  }
  puts("ready");
}

static int Compare(const void* a, const void* b) {
  const int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return x < y ? -1 : x > y;
}

static void Median(int64_t* times, long count) {
  qsort(times, (size_t)count, sizeof(*times), Compare);
  printf("%lld\n", (long long)times[count / 2]);
}

static void Exchange(int fd) {
  char byte = 'x';
  if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) Die("exchange");
}

static void RoundTrips(char** argv, int connecting) {
  const struct sockaddr_in to = Address(argv[0], argv[1]);
  const long count = atol(argv[2]);
  int64_t* times = calloc((size_t)count + 1, sizeof(*times));
  if (count < 1 || !times) Die("count");
  int fd = connecting ? -1 : Connect(&to);
  if (!connecting && fd < 0) Die("connect");
  for (long i = 0; i < count; i++) {
    const int64_t start = Now();
    if (connecting) {
      fd = Connect(&to);
      if (fd < 0) Die("connect");
    }
    Exchange(fd);
    if (connecting) {
      // Reset instead of TIME_WAIT: thousands of those would be the next round's work.
      const struct linger at_once = {.l_onoff = 1};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      close(fd);
    }
    times[i] = Now() - start;
  }
  Median(times, count);
  free(times);
}

/** A question for an A record (RFC 1035, 4.1). Returns its size. */
static size_t Question(unsigned char* q, const char* name, uint16_t id) {
  memset(q, 0, 12);
  q[0] = (unsigned char)(id >> 8);
  q[1] = (unsigned char)id;
  q[2] = 1;  // recursion desired
  q[5] = 1;  // one question
  unsigned char* at = q + 12;
  while (*name) {
    const size_t label = strcspn(name, ".");
    *at++ = (unsigned char)label;
    memcpy(at, name, label);
    at += label;
    name += label + (name[label] == '.');
  }
  const unsigned char tail[] = {0, 0, 1, 0, 1};  // the root, type A, class IN
  memcpy(at, tail, sizeof(tail));
  return (size_t)(at - q) + sizeof(tail);
}

static void Dns(char** argv) {
  char line[256], server[64] = "";
  FILE* f = fopen("/etc/resolv.conf", "r");
  while (f && !server[0] && fgets(line, sizeof(line), f)) sscanf(line, "nameserver %63s", server);
  if (!server[0]) {
    fprintf(stderr, "net: /etc/resolv.conf names no server\n");
    exit(1);
  }
  fclose(f);
  const struct sockaddr_in to = Address(server, "53");
  const long count = atol(argv[1]);
  int64_t* times = calloc((size_t)count + 1, sizeof(*times));
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct timeval patience = {.tv_sec = 5};
  if (count < 1 || !times || fd < 0 || strlen(argv[0]) > 200) Die("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connect(fd, (const struct sockaddr*)&to, sizeof(to)) != 0) Die(server);
  for (long i = 0; i < count; i++) {
    unsigned char bytes[512];
    const size_t size = Question(bytes, argv[0], (uint16_t)i);
    const int64_t start = Now();
    if (send(fd, bytes, size, 0) != (ssize_t)size) Die("send");
    const ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    times[i] = Now() - start;
    if (got < 12) Die("answer");
    if ((bytes[3] & 15) != 0 || bytes[7] == 0) {
      fprintf(stderr, "net: %s does not know %s (code %d)\n", server, argv[0], bytes[3] & 15);
      exit(1);
    }
  }
  Median(times, count);
  free(times);
  close(fd);
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const char* mode = argc > 1 ? argv[1] : "";
  if (argc == 3 && strcmp(mode, "server") == 0) {
    Server(argv[2]);
  } else if (argc > 4 && strcmp(mode, "wait") == 0) {
    Wait(argv + 2);
  } else if (argc == 5 && strcmp(mode, "rr") == 0) {
    RoundTrips(argv + 2, 0);
  } else if (argc == 5 && strcmp(mode, "connect") == 0) {
    RoundTrips(argv + 2, 1);
  } else if (argc == 4 && strcmp(mode, "dns") == 0) {
    Dns(argv + 2);
  } else {
    fprintf(stderr, "usage: net server|wait|rr|connect|dns ARGUMENTS\n");
    return 2;
  }
  return 0;
}
