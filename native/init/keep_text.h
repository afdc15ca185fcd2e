// Text built in place, for records of a line or two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>

namespace nsbox {

// What doesn't fit is cut, and full() says so.
template <size_t Size>
class Text {
 public:
  Text& add(const char* s) {
    while (*s) put(*s++);
    return *this;
  }
  Text& number(uint64_t v) {
    char digits[20];
    int n = 0;
    do digits[n++] = static_cast<char>('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0) put(digits[--n]);
    return *this;
  }
  // A JSON string with its quotes.
  Text& quoted(const char* s) {
    put('"');
    for (; *s; s++) {
      const unsigned char c = static_cast<unsigned char>(*s);
      if (c == '"' || c == '\\') {
        put('\\');
        put(*s);
      } else if (c < 0x20) {
        add("\\u00").put("0123456789abcdef"[c >> 4]);
        put("0123456789abcdef"[c & 15]);
      } else {
        put(*s);
      }
    }
    put('"');
    return *this;
  }
  Text& put(char c) {
    if (size_ + 1 < Size) {
      text_[size_++] = c;
      text_[size_] = 0;
    } else {
      full_ = true;
    }
    return *this;
  }
  void clear() {
    size_ = 0;
    text_[0] = 0;
    full_ = false;
  }
  const char* c_str() const { return text_; }
  size_t size() const { return size_; }
  bool full() const { return full_; }

 private:
  char text_[Size] = "";
  size_t size_ = 0;
  bool full_ = false;
};

// RFC 3339 in UTC with nanoseconds, trailing zeros dropped as Go's RFC3339Nano does. Returns the length (≤ 30).
size_t FormatTime(const timespec& t, char* out);

timespec WallClock();

}  // namespace nsbox
