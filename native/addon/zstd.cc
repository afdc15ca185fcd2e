// Streaming zstd, for Node versions without zlib.createZstdCompress. See src/kernel/zstd.ts.
#include <zstd.h>

#include "addon/support.h"

namespace nsbox {

namespace {

void FreeStream(Napi::Env, ZSTD_DStream* stream) { ZSTD_freeDStream(stream); }

Napi::Value ThrowZstd(Napi::Env env, const char* what) {
  Napi::Error error = Napi::Error::New(env, std::string("zstd: ") + what);
  error.Set("code", Napi::String::New(env, "EBADMSG"));
  error.Set("syscall", Napi::String::New(env, "zstd"));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

// [bytes consumed in all, bytes made, what is left]
Napi::Value Progress(Napi::Env env, size_t consumed, size_t made, size_t left) {
  Napi::Array result = Napi::Array::New(env, 3);
  result[0u] = Napi::Number::New(env, static_cast<double>(consumed));
  result[1u] = Napi::Number::New(env, static_cast<double>(made));
  result[2u] = Napi::Number::New(env, static_cast<double>(left));
  return result;
}

// zstdNew(window: log2 of the largest window accepted) → handle
Napi::Value ZstdNew(const Napi::CallbackInfo& info) {
  ZSTD_DStream* stream = ZSTD_createDStream();
  if (!stream) return ThrowErrno(info.Env(), "zstd", "", ENOMEM);
  ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Int(info, 0));
  return Napi::External<ZSTD_DStream>::New(info.Env(), stream, FreeStream);
}

// zstdPush(handle, input, consumed, output) → [bytes consumed in all, bytes made, 0 where a frame is complete]
Napi::Value ZstdPush(const Napi::CallbackInfo& info) {
  ZSTD_DStream* stream = info[0].As<Napi::External<ZSTD_DStream>>().Data();
  Napi::Buffer<char> from = info[1].As<Napi::Buffer<char>>();
  Napi::Buffer<char> to = info[3].As<Napi::Buffer<char>>();
  ZSTD_inBuffer input = {from.Data(), from.Length(), static_cast<size_t>(Int64(info, 2))};
  ZSTD_outBuffer output = {to.Data(), to.Length(), 0};
  size_t left = ZSTD_decompressStream(stream, &output, &input);
  if (ZSTD_isError(left)) return ThrowZstd(info.Env(), ZSTD_getErrorName(left));
  return Progress(info.Env(), input.pos, output.pos, left);
}

void FreeEncoder(Napi::Env, ZSTD_CStream* stream) { ZSTD_freeCStream(stream); }

// zstdEncoder(level) → handle; frames of it carry a checksum
Napi::Value ZstdEncoder(const Napi::CallbackInfo& info) {
  ZSTD_CStream* stream = ZSTD_createCStream();
  if (!stream) return ThrowErrno(info.Env(), "zstd", "", ENOMEM);
  ZSTD_CCtx_setParameter(stream, ZSTD_c_compressionLevel, Int(info, 0));
  ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1);
  return Napi::External<ZSTD_CStream>::New(info.Env(), stream, FreeEncoder);
}

// zstdEncode(handle, input, consumed, output, end) → [bytes consumed in all, bytes made, bytes still to come]
Napi::Value ZstdEncode(const Napi::CallbackInfo& info) {
  ZSTD_CStream* stream = info[0].As<Napi::External<ZSTD_CStream>>().Data();
  Napi::Buffer<char> from = info[1].As<Napi::Buffer<char>>();
  Napi::Buffer<char> to = info[3].As<Napi::Buffer<char>>();
  ZSTD_inBuffer input = {from.Data(), from.Length(), static_cast<size_t>(Int64(info, 2))};
  ZSTD_outBuffer output = {to.Data(), to.Length(), 0};
  ZSTD_EndDirective mode = info[4].As<Napi::Boolean>() ? ZSTD_e_end : ZSTD_e_continue;
  size_t left = ZSTD_compressStream2(stream, &output, &input, mode);
  if (ZSTD_isError(left)) return ThrowZstd(info.Env(), ZSTD_getErrorName(left));
  return Progress(info.Env(), input.pos, output.pos, left);
}

}  // namespace

void RegisterZstd(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "zstdNew", ZstdNew);
  Export(env, exports, "zstdPush", ZstdPush);
  Export(env, exports, "zstdEncoder", ZstdEncoder);
  Export(env, exports, "zstdEncode", ZstdEncode);
}

}  // namespace nsbox
