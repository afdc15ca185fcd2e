// How an operation fails: the system call, its errno, the path it was about, and what else the kernel said.
//
// The C++ side never words a message for people; it carries these facts to TypeScript, which does.
#pragma once

#include <cerrno>
#include <cstring>

namespace nsbox {

struct Failure {
  int err = 0;
  const char* call = "";
  const char* path = "";  // points into the plan, or to static text
  char detail[192] = "";  // from a filesystem context's log (fsopen(2)), if any
  explicit operator bool() const { return err != 0; }
};

inline Failure Ok() { return {}; }

inline Failure Fail(const char* call, const char* path = "", int err = errno) {
  Failure f;
  f.err = err ? err : EINVAL;
  f.call = call;
  f.path = path;
  return f;
}

}  // namespace nsbox

// Returns from the function with the failure of `expression`, if it has one.
#define NSBOX_TRY(expression)                             \
  do {                                                    \
    if (Failure failure_ = (expression)) return failure_; \
  } while (0)
