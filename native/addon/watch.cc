// Waiting for a file descriptor on Node's event loop: PSI triggers report by POLLPRI, v1's OOM notices by an eventfd,
// and Node itself has neither. See src/kernel/watch.ts.
#include <sys/eventfd.h>
#include <uv.h>

#include "addon/support.h"

namespace nsbox {

namespace {

// Lives until its handle is closed: by stop(), or when its environment (the process, a worker thread) ends.
struct Watch {
  uv_poll_t poll;
  napi_env env = nullptr;
  napi_ref callback = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool closing = false;
};

void Closed(uv_handle_t* handle) {
  Watch* watch = static_cast<Watch*>(handle->data);
  if (watch->hook) napi_remove_async_cleanup_hook(watch->hook);
  delete watch;
}

void Close(Watch* watch) {
  if (watch->closing) return;
  watch->closing = true;
  uv_poll_stop(&watch->poll);
  if (watch->callback) napi_delete_reference(watch->env, watch->callback);
  watch->callback = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll), Closed);
}

void Ready(uv_poll_t* handle, int status, int events) {
  Watch* watch = static_cast<Watch*>(handle->data);
  if (watch->closing) return;
  Napi::Env env(watch->env);
  Napi::HandleScope scope(env);
  napi_value fn = nullptr;
  if (napi_get_reference_value(watch->env, watch->callback, &fn) != napi_ok || !fn) return;
  const int said = status < 0 ? status : events;
  Napi::Function(env, fn).MakeCallback(env.Global(), {Napi::Number::New(env, said)});
}

// watchFd(fd, priority, callback): External; the callback gets libuv's events, or a negative errno.
Napi::Value WatchFd(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return ThrowErrno(env, "uv_loop", "", EINVAL);
  Watch* watch = new Watch;
  watch->env = env;
  if (const int err = uv_poll_init(loop, &watch->poll, Int(info, 0)); err != 0) {
    delete watch;
    return ThrowErrno(env, "epoll_ctl", "", -err);
  }
  watch->poll.data = watch;
  napi_create_reference(env, info[2], 1, &watch->callback);
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* data) { Close(static_cast<Watch*>(data)); }, watch,
      &watch->hook);
  const int wanted = info[1].As<Napi::Boolean>().Value() ? UV_PRIORITIZED | UV_DISCONNECT : UV_READABLE;
  if (const int err = uv_poll_start(&watch->poll, wanted, Ready); err != 0) {
    Close(watch);
    return ThrowErrno(env, "epoll_ctl", "", -err);
  }
  return Napi::External<Watch>::New(env, watch);
}

// unwatchFd(watch): once; the caller closes the fd afterwards.
Napi::Value UnwatchFd(const Napi::CallbackInfo& info) {
  Close(info[0].As<Napi::External<Watch>>().Data());
  return info.Env().Undefined();
}

// eventFd(): number
Napi::Value EventFd(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return ThrowErrno(info.Env(), "eventfd");
  return Napi::Number::New(info.Env(), fd);
}

}  // namespace

void RegisterWatch(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "watchFd", WatchFd);
  Export(env, exports, "unwatchFd", UnwatchFd);
  Export(env, exports, "eventFd", EventFd);
}

}  // namespace nsbox
