// Device programs from Node (update of a running container, tests). See src/kernel/bpf.ts.
#include "bpf/device_program.h"

#include <fcntl.h>

#include "addon/support.h"
#include "launch/fd.h"

namespace nsbox {

// attachDeviceProgram(directory: string, instructions: Uint8Array): void
static Napi::Value AttachProgram(const Napi::CallbackInfo& info) {
  const std::string directory = Bytes(info, 0);
  auto program = info[1].As<Napi::Uint8Array>();
  Fd group(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.ok()) return ThrowErrno(info.Env(), "open", directory);
  const char* call = "";
  const int err = AttachDeviceProgram(group.get(), program.Data(), program.ByteLength(), &call);
  if (err != 0) return ThrowErrno(info.Env(), call, directory, err);
  return info.Env().Undefined();
}

void RegisterBpf(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "attachDeviceProgram", AttachProgram);
}

}  // namespace nsbox
