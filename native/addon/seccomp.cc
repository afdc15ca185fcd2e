// Seccomp filters by libseccomp. See src/kernel/seccomp.ts.
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "addon/support.h"

namespace nsbox {
namespace {

// Owns a filter under construction.
class Filter {
 public:
  explicit Filter(uint32_t default_action) : context_(seccomp_init(default_action)) {}
  ~Filter() {
    if (context_) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  scmp_filter_ctx get() const { return context_; }

 private:
  scmp_filter_ctx context_;
};

// -> "2.5.4"
Napi::Value Version(const Napi::CallbackInfo& info) {
  const scmp_version* v = seccomp_version();
  return Napi::String::New(
      info.Env(), std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->micro));
}

// (architecture, names) -> Int32Array of the numbers there; negative where that architecture has none.
Napi::Value Resolve(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t arch = seccomp_arch_resolve_name(Str(info, 0).c_str());
  const auto names = info[1].As<Napi::Array>();
  auto numbers = Napi::Int32Array::New(env, names.Length());
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = Napi::Value(names[i]).As<Napi::String>().Utf8Value();
    numbers[i] = arch == 0 ? -1 : seccomp_syscall_resolve_name_arch(arch, name.c_str());
  }
  return numbers;
}

// (architecture) -> its AUDIT_ARCH_… token as the kernel reports it, or 0 where libseccomp doesn't know it.
Napi::Value Arch(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), seccomp_arch_resolve_name(Str(info, 0).c_str()));
}

// (default action, architectures, names, numbers) -> the program: struct sock_filter[].
// One rule per name; its numbers follow each other in a BigUint64Array: action, count of comparisons, and for
// each comparison argument, operator, a, b. Names and architectures that libseccomp doesn't know are left
// out: the caller takes care of them.
Napi::Value Compile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Filter filter(Uint(info, 0));
  if (!filter.get()) return ThrowErrno(env, "seccomp_init", "", EINVAL);
  const auto arches = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < arches.Length(); i++) {
    const uint32_t arch =
        seccomp_arch_resolve_name(Napi::Value(arches[i]).As<Napi::String>().Utf8Value().c_str());
    if (arch == 0) continue;
    const int r = seccomp_arch_add(filter.get(), arch);
    if (r < 0 && r != -EEXIST) return ThrowErrno(env, "seccomp_arch_add", "", -r);
  }
  // A binary tree instead of a list. Refused by libseccomp < 2.5, where the list is right, only slower.
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);

  const auto names = info[2].As<Napi::Array>();
  const auto numbers = info[3].As<Napi::BigUint64Array>();
  const uint64_t* at = numbers.Data();
  const uint64_t* const end = at + numbers.ElementLength();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = Napi::Value(names[i]).As<Napi::String>().Utf8Value();
    if (end - at < 2 || end - at - 2 < static_cast<ptrdiff_t>(at[1] & 7) * 4) {
      return ThrowErrno(env, "seccomp rules", name, EINVAL);
    }
    const uint32_t action = static_cast<uint32_t>(*at++);
    std::vector<scmp_arg_cmp> comparisons(*at++ & 7);
    for (scmp_arg_cmp& c : comparisons) {
      c.arg = static_cast<unsigned>(*at++);
      c.op = static_cast<scmp_compare>(*at++);
      c.datum_a = *at++;
      c.datum_b = *at++;
    }
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) continue;
    const int e = seccomp_rule_add_array(filter.get(), action, number,
                                         static_cast<unsigned>(comparisons.size()), comparisons.data());
    if (e < 0) return ThrowErrno(env, "seccomp_rule_add", name, -e);
  }

  const int fd = memfd_create("nsbox-seccomp", MFD_CLOEXEC);
  if (fd < 0) return ThrowErrno(env, "memfd_create");
  int e = seccomp_export_bpf(filter.get(), fd);
  const off_t size = e < 0 ? 0 : lseek(fd, 0, SEEK_END);
  auto program = Napi::Buffer<uint8_t>::New(env, static_cast<size_t>(size < 0 ? 0 : size));
  if (e == 0 && pread(fd, program.Data(), program.Length(), 0) != size) e = -EIO;
  close(fd);
  if (e < 0) return ThrowErrno(env, "seccomp_export_bpf", "", -e);
  return program;
}

}  // namespace

void RegisterSeccomp(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "seccompVersion", Version);
  Export(env, exports, "seccompResolve", Resolve);
  Export(env, exports, "seccompArch", Arch);
  Export(env, exports, "seccompCompile", Compile);
}

}  // namespace nsbox
