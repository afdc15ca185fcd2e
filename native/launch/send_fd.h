#pragma once

#include <cstddef>

namespace nsbox {

// Plain data and one fd in one message, as console sockets and seccomp listeners take them. False: errno says why.
bool SendWithFd(int socket, const void* data, size_t size, int fd);

}  // namespace nsbox
