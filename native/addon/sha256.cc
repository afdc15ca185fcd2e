// SHA-256 on threads of the pool: node:crypto hashes a stream only in the thread that asks. See src/kernel/sha256.ts.
//
// The functions are OpenSSL's, which Node exports for addons (Node's manual, "C++ addons", "Linking to libraries
// included with Node.js"). Their structure and names are the same since OpenSSL 0.9.8. Looked up by name, so that a Node
// without them loads the addon all the same.
#include <dlfcn.h>

#include "addon/support.h"

namespace nsbox {

namespace {

// As SHA256_CTX of <openssl/sha.h>, 112 bytes, with room to spare.
struct State {
  alignas(16) unsigned char context[256];
};

struct Functions {
  int (*init)(void*);
  int (*update)(void*, const void*, size_t);
  int (*final)(unsigned char*, void*);
};

template <class Function>
Function Find(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const Functions& OpenSsl() {
  static const Functions functions = {
      Find<int (*)(void*)>("SHA256_Init"),
      Find<int (*)(void*, const void*, size_t)>("SHA256_Update"),
      Find<int (*)(unsigned char*, void*)>("SHA256_Final"),
  };
  return functions;
}

void FreeState(Napi::Env, State* state) { delete state; }

// sha256New() → handle, or undefined where this Node exports no OpenSSL
Napi::Value Sha256New(const Napi::CallbackInfo& info) {
  const Functions& f = OpenSsl();
  if (!f.init || !f.update || !f.final) return info.Env().Undefined();
  State* state = new State();
  if (f.init(state->context) != 1) {
    delete state;
    return info.Env().Undefined();
  }
  return Napi::External<State>::New(info.Env(), state, FreeState);
}

// Holds the handle and the bytes until it is done. Deletes itself then (Napi::AsyncWorker).
class Update : public Napi::AsyncWorker {
 public:
  Update(Napi::Env env, Napi::External<State> handle, Napi::Buffer<char> bytes)
      : AsyncWorker(env),
        deferred_(env),
        handle_(Napi::Persistent(handle)),
        bytes_(Napi::Persistent(bytes)),
        state_(handle.Data()),
        data_(bytes.Data()),
        length_(bytes.Length()) {}
  Napi::Promise Promise() const { return deferred_.Promise(); }
  void Execute() override { OpenSsl().update(state_->context, data_, length_); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::Reference<Napi::External<State>> handle_;
  Napi::Reference<Napi::Buffer<char>> bytes_;
  State* state_;
  const char* data_;
  size_t length_;
};

// sha256Update(handle, bytes) → promise; one at a time for a handle
Napi::Value Sha256Update(const Napi::CallbackInfo& info) {
  Update* update =
      new Update(info.Env(), info[0].As<Napi::External<State>>(), info[1].As<Napi::Buffer<char>>());
  Napi::Promise promise = update->Promise();
  update->Queue();
  return promise;
}

// sha256Final(handle) → the digest, 32 bytes
Napi::Value Sha256Final(const Napi::CallbackInfo& info) {
  unsigned char digest[32];
  OpenSsl().final(digest, info[0].As<Napi::External<State>>().Data()->context);
  return Napi::Buffer<char>::Copy(info.Env(), reinterpret_cast<char*>(digest), sizeof(digest));
}

}  // namespace

void RegisterSha256(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "sha256New", Sha256New);
  Export(env, exports, "sha256Update", Sha256Update);
  Export(env, exports, "sha256Final", Sha256Final);
}

}  // namespace nsbox
