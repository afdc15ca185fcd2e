// Reading what TypeScript wrote (src/kernel/wire.ts): little-endian numbers, strings with length and NUL.
//
// The reader copies nothing: strings stay in the sealed memory file they came in, and are valid C strings.
// A message that ends early sets bad(); the caller checks once, at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nsbox {

struct Bytes {
  const char* data = "";
  size_t size = 0;
};

class Reader {
 public:
  Reader() = default;
  Reader(const void* data, size_t size) : at_(static_cast<const uint8_t*>(data)), end_(at_ + size) {}

  uint8_t u8() { return number<uint8_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  int32_t i32() { return static_cast<int32_t>(number<uint32_t>()); }
  uint64_t u64() { return number<uint64_t>(); }
  int64_t i64() { return static_cast<int64_t>(number<uint64_t>()); }
  bool flag() { return u8() != 0; }

  // A C string inside the message (never null).
  const char* str() { return bytes().data; }

  // Bytes that may hold NULs; also followed by one.
  Bytes bytes() {
    const uint32_t size = u32();
    if (bad_ || static_cast<size_t>(end_ - at_) <= size) {
      bad_ = true;
      return {};
    }
    Bytes b{reinterpret_cast<const char*>(at_), size};
    at_ += size + 1;
    return b;
  }

  bool bad() const { return bad_; }
  bool done() const { return at_ == end_; }

 private:
  template <typename T>
  T number() {
    T value = 0;
    if (bad_ || static_cast<size_t>(end_ - at_) < sizeof(T)) {
      bad_ = true;
      return 0;
    }
    memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  bool bad_ = false;
};

}  // namespace nsbox
