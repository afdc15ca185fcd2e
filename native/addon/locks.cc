// Kernel locks. See src/kernel/locks.ts.
#include <sys/file.h>

#include "addon/support.h"

namespace nsbox {

static Napi::Value Flock(const Napi::CallbackInfo& info) {
  int r;
  do r = flock(Int(info, 0), Int(info, 1));
  while (r < 0 && errno == EINTR);
  if (r == 0) return Napi::Boolean::New(info.Env(), true);
  if (errno == EWOULDBLOCK) return Napi::Boolean::New(info.Env(), false);
  return ThrowErrno(info.Env(), "flock");
}

void RegisterLocks(Napi::Env env, Napi::Object& exports) { Export(env, exports, "flock", Flock); }

}  // namespace nsbox
