// Shared by the files of the addon: argument access and errors.
//
// JS validates everything (src/kernel/*.ts); these functions receive clean positional arguments.
// Every file of native/addon registers its functions in one Register…(env, exports), called from addon.cc.
// No globals: what must live with an environment hangs on it (worker threads have their own).
#pragma once

#include <napi.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace nsbox {

// "EPERM" for EPERM; strerrorname_np(3) is glibc >= 2.32.
inline const char* ErrnoName(int err) {
  const char* name = strerrorname_np(err);
  return name ? name : "EUNKNOWN";
}

// Makes a pending JS Error { message, code: "EPERM", syscall, path? } of the current errno (or `err`).
inline Napi::Value ThrowErrno(Napi::Env env, const char* syscall, const std::string& path = "",
                              int err = errno) {
  // An argument that isn't what it should be has thrown already; a second error would end the process.
  if (env.IsExceptionPending()) return env.Undefined();
  std::string message = std::string(syscall) + (path.empty() ? "" : " " + path) + ": " + strerror(err);
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, ErrnoName(err)));
  error.Set("syscall", Napi::String::New(env, syscall));
  if (!path.empty()) error.Set("path", Napi::String::New(env, path));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

inline int Int(const Napi::CallbackInfo& info, size_t i) { return info[i].As<Napi::Number>().Int32Value(); }
inline int64_t Int64(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::Number>().Int64Value();
}
inline uint32_t Uint(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::Number>().Uint32Value();
}
inline std::string Str(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::String>().Utf8Value();
}

// A path or other bytes: a Buffer (names that aren't UTF-8) or a string.
inline std::string Bytes(const Napi::Value& value) {
  if (value.IsBuffer()) {
    auto b = value.As<Napi::Buffer<char>>();
    return std::string(b.Data(), b.Length());
  }
  return value.As<Napi::String>().Utf8Value();
}
inline std::string Bytes(const Napi::CallbackInfo& info, size_t i) { return Bytes(info[i]); }

inline void Export(Napi::Env env, Napi::Object& exports, const char* name,
                   Napi::Value (*fn)(const Napi::CallbackInfo&)) {
  exports.Set(name, Napi::Function::New(env, fn, name));
}

}  // namespace nsbox
