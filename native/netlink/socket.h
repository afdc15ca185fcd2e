// Netlink sockets, also in another network namespace, and one exchange over them.
//
// Encoding and decoding is TypeScript's (src/kernel/netlink.ts): nothing here knows what a message means.
#pragma once

#include <cstddef>
#include <vector>

namespace nsbox {

// Opens a socket in the network namespace behind `netns_fd` (-1: the caller's own). The caller's thread never
// changes its namespace: a short-lived thread joins, makes the socket and ends; a socket belongs to the namespace
// it was made in (network_namespaces(7)).
// Returns the fd, or -1 with errno; *syscall names the call that failed.
int OpenSocketIn(int netns_fd, int domain, int type, int protocol, const char** syscall);

// Sets what every netlink socket of ours has: extended acks, short acks, a receive timeout of 10 seconds.
int PrepareNetlink(int fd);

// Sends a batch of messages in one sendmsg and gathers replies until `expected` of them are closed by an
// acknowledgement, an error or the end of a dump.
// Returns 0, or -1 with errno; *syscall names the call that failed.
int ExchangeNetlink(int fd, const void* data, size_t length, unsigned expected, std::vector<char>* replies,
                    const char** syscall);

}  // namespace nsbox
