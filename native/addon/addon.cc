// The addon: one Register… per group of calls, each in a file of its own.
#include "addon/support.h"

namespace nsbox {
void RegisterLocks(Napi::Env env, Napi::Object& exports);
void RegisterFs(Napi::Env env, Napi::Object& exports);
void RegisterZstd(Napi::Env env, Napi::Object& exports);
void RegisterHost(Napi::Env env, Napi::Object& exports);
void RegisterBpf(Napi::Env env, Napi::Object& exports);
void RegisterWatch(Napi::Env env, Napi::Object& exports);
void RegisterLaunch(Napi::Env env, Napi::Object& exports);
void RegisterMounts(Napi::Env env, Napi::Object& exports);
void RegisterTerminal(Napi::Env env, Napi::Object& exports);
void RegisterSeccomp(Napi::Env env, Napi::Object& exports);
void RegisterProcess(Napi::Env env, Napi::Object& exports);
void RegisterNetlink(Napi::Env env, Napi::Object& exports);
void RegisterNvml(Napi::Env env, Napi::Object& exports);
void RegisterQuota(Napi::Env env, Napi::Object& exports);
void RegisterSha256(Napi::Env env, Napi::Object& exports);
}  // namespace nsbox

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  nsbox::RegisterLocks(env, exports);
  nsbox::RegisterFs(env, exports);
  nsbox::RegisterZstd(env, exports);
  nsbox::RegisterHost(env, exports);
  nsbox::RegisterBpf(env, exports);
  nsbox::RegisterWatch(env, exports);
  nsbox::RegisterLaunch(env, exports);
  nsbox::RegisterMounts(env, exports);
  nsbox::RegisterTerminal(env, exports);
  nsbox::RegisterSeccomp(env, exports);
  nsbox::RegisterProcess(env, exports);
  nsbox::RegisterNetlink(env, exports);
  nsbox::RegisterNvml(env, exports);
  nsbox::RegisterQuota(env, exports);
  nsbox::RegisterSha256(env, exports);
  return exports;
}

NODE_API_MODULE(nsbox, Init)
