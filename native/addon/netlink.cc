// Netlink sockets and libnftables. See src/kernel/netlink.ts and src/kernel/nftables.ts.
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "addon/support.h"
#include "netlink/socket.h"

namespace nsbox {
namespace {

// (netnsFd | -1, domain, type, protocol) -> fd
Napi::Value SocketIn(const Napi::CallbackInfo& info) {
  const char* syscall = "socket";
  const int fd = OpenSocketIn(Int(info, 0), Int(info, 1), Int(info, 2), Int(info, 3), &syscall);
  if (fd < 0) return ThrowErrno(info.Env(), syscall);
  if (Int(info, 1) == AF_NETLINK && PrepareNetlink(fd) != 0) {
    const int error = errno;
    close(fd);
    return ThrowErrno(info.Env(), "bind", "", error);
  }
  return Napi::Number::New(info.Env(), fd);
}

// (fd, batch, expected) -> replies
Napi::Value NetlinkExchange(const Napi::CallbackInfo& info) {
  auto batch = info[1].As<Napi::Buffer<char>>();
  std::vector<char> replies;
  const char* syscall = "sendmsg";
  if (ExchangeNetlink(Int(info, 0), batch.Data(), batch.Length(), Uint(info, 2), &replies, &syscall) != 0) {
    return ThrowErrno(info.Env(), syscall);
  }
  return Napi::Buffer<char>::Copy(info.Env(), replies.data(), replies.size());
}

// The part of libnftables.h that is used. Loaded when first needed: half a millisecond that only published ports
// and new networks pay, and no package that a host without networks must have.
struct Nftables {
  void* (*context_new)(uint32_t);
  void (*context_free)(void*);
  int (*buffer_output)(void*);
  int (*buffer_error)(void*);
  const char* (*output)(void*);
  const char* (*error)(void*);
  void (*output_flags)(void*, unsigned);
  int (*run)(void*, const char*);
};

bool LoadNftables(Nftables* nft) {
  // The handle is left open: the next call finds the library in memory.
  void* library = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return false;
  auto get = [library](const char* name, auto* to) {
    *to = reinterpret_cast<std::remove_reference_t<decltype(*to)>>(dlsym(library, name));
    return *to != nullptr;
  };
  return get("nft_ctx_new", &nft->context_new) && get("nft_ctx_free", &nft->context_free) &&
         get("nft_ctx_buffer_output", &nft->buffer_output) &&
         get("nft_ctx_buffer_error", &nft->buffer_error) && get("nft_ctx_get_output_buffer", &nft->output) &&
         get("nft_ctx_get_error_buffer", &nft->error) &&
         get("nft_ctx_output_set_flags", &nft->output_flags) && get("nft_run_cmd_from_buffer", &nft->run);
}

// (commands, outputFlags) -> [ok, output, errors], or null where libnftables isn't there
Napi::Value NftRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Nftables nft{};
  if (!LoadNftables(&nft)) return env.Null();
  void* context = nft.context_new(0);
  if (!context) return ThrowErrno(env, "nft_ctx_new", "", ENOMEM);
  nft.buffer_output(context);
  nft.buffer_error(context);
  nft.output_flags(context, Uint(info, 1));
  const std::string commands = Str(info, 0);
  const int failed = nft.run(context, commands.c_str());
  Napi::Array out = Napi::Array::New(env, 3);
  const char* output = nft.output(context);
  const char* error = nft.error(context);
  out.Set(0u, Napi::Boolean::New(env, failed == 0));
  out.Set(1u, Napi::String::New(env, output ? output : ""));
  out.Set(2u, Napi::String::New(env, error ? error : ""));
  nft.context_free(context);
  return out;
}

}  // namespace

void RegisterNetlink(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "socketIn", SocketIn);
  Export(env, exports, "netlinkExchange", NetlinkExchange);
  Export(env, exports, "nftRun", NftRun);
}

}  // namespace nsbox
