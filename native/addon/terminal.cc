// Size of a terminal. See src/kernel/terminal.ts.
#include <sys/ioctl.h>
#include <termios.h>

#include "addon/support.h"

namespace nsbox {

// setWindowSize(fd, rows, columns)
static Napi::Value SetWindowSize(const Napi::CallbackInfo& info) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(Uint(info, 1));
  size.ws_col = static_cast<unsigned short>(Uint(info, 2));
  if (ioctl(Int(info, 0), TIOCSWINSZ, &size) < 0) return ThrowErrno(info.Env(), "ioctl");
  return info.Env().Undefined();
}

void RegisterTerminal(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "setWindowSize", SetWindowSize);
}

}  // namespace nsbox
