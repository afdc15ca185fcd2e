#include "init/keep_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "init/keep_text.h"

namespace nsbox {

namespace {

constexpr const char* kName = "log.json";

// Length of the valid UTF-8 sequence at data, 0 where there is none (RFC 3629).
size_t Sequence(const unsigned char* data, size_t size) {
  const unsigned char a = data[0];
  if (a < 0x80) return 1;
  const size_t length = a >= 0xf0 ? 4 : a >= 0xe0 ? 3 : 2;
  if (a < 0xc2 || a > 0xf4 || length > size) return 0;
  const unsigned char low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
  if (data[1] < low || data[1] > high) return 0;
  for (size_t i = 2; i < length; i++) {
    if ((data[i] & 0xc0) != 0x80) return 0;
  }
  return length;
}

// How many bytes at the end are the beginning of a sequence that may still be completed.
size_t Incomplete(const char* data, size_t size) {
  for (size_t n = 1; n <= 3 && n < size; n++) {
    const unsigned char c = static_cast<unsigned char>(data[size - n]);
    if ((c & 0xc0) == 0x80) continue;
    const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return length > n ? n : 0;
  }
  return 0;
}

}  // namespace

Failure LogWriter::open(const KeepConfig& config) {
  if (config.log_driver == LogDriver::kNone) return Ok();
  directory_.reset(::open(config.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.ok()) return Fail("open", config.data_dir);
  // Read as well, for the byte before the end.
  file_.reset(openat(directory_.get(), kName, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!file_.ok()) return Fail("openat", kName);
  max_size_ = config.log_max_size;
  max_files_ = config.log_max_files;
  attrs_ = config.log_attrs;
  struct stat st;
  if (fstat(file_.get(), &st) != 0) return Fail("fstat", kName);
  size_ = static_cast<uint64_t>(st.st_size);
  char last = '\n';
  if (st.st_size > 0 && pread(file_.get(), &last, 1, st.st_size - 1) == 1) torn_ = last != '\n';
  return Ok();
}

void LogWriter::write(Stream stream, const char* data, size_t size) {
  if (!file_.ok()) return;
  Unfinished& line = lines_[stream];
  while (size > 0) {
    const char* newline = static_cast<const char*>(memchr(data, '\n', size));
    const size_t take = newline ? static_cast<size_t>(newline - data) : size;
    if (newline && line.size == 0 && take <= kLine) {  // a whole line: straight from the reader's buffer
      record(stream, data, take, true, line.continued ? line.since : WallClock());
      line.continued = false;
      data += take + 1;
      size -= take + 1;
      continue;
    }
    if (line.size == 0 && !line.continued) line.since = WallClock();
    const size_t room = kLine - line.size;
    const size_t part = take < room ? take : room;
    memcpy(line.bytes + line.size, data, part);
    line.size += part;
    data += part;
    size -= part;
    if (newline && part == take) {
      record(stream, line.bytes, line.size, true, line.since);
      line.size = 0;
      line.continued = false;
      data++;
      size--;
    } else if (line.size == kLine) {
      const size_t rest = Incomplete(line.bytes, line.size);
      record(stream, line.bytes, line.size - rest, false, line.since);
      memmove(line.bytes, line.bytes + line.size - rest, rest);
      line.size = rest;
      line.continued = true;
    }
  }
  flush();
}

void LogWriter::end(Stream stream) {
  Unfinished& line = lines_[stream];
  if (file_.ok() && line.size > 0) record(stream, line.bytes, line.size, false, line.since);
  line.size = 0;
  line.continued = false;
  flush();
}

void LogWriter::record(Stream stream, const char* data, size_t size, bool newline, const timespec& time) {
  if (max_size_ > 0 && size_ >= max_size_) {
    flush();
    rotate();
  }
  if (torn_) {
    torn_ = false;
    put("\n");
  }
  put("{\"log\":\"");
  encode(data, size);
  put(newline ? "\\n\",\"stream\":\"" : "\",\"stream\":\"");
  put(stream == kStdout ? "stdout\"," : "stderr\",");
  if (attrs_[0]) {
    put("\"attrs\":");
    put(attrs_);
    put(",");
  }
  char stamp[40];
  put("\"time\":\"");
  put(stamp, FormatTime(time, stamp));
  put("\"}\n");
}

// JSON as Go's encoder for logs writes it: <, > and & escaped, one U+FFFD for each byte that isn't UTF-8.
void LogWriter::encode(const char* text, size_t size) {
  const unsigned char* data = reinterpret_cast<const unsigned char*>(text);
  size_t plain = 0;  // start of what needs no escape
  for (size_t i = 0; i < size;) {
    const unsigned char c = data[i];
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
      i++;
      continue;
    }
    char escape[8] = {'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
    size_t escaped = 6, length = 1;
    if (c >= 0x80) {
      length = Sequence(data + i, size - i);
      const bool separator = length == 3 && c == 0xe2 && data[i + 1] == 0x80 && (data[i + 2] & 0xfe) == 0xa8;
      if (length > 0 && !separator) {  // U+2028 and U+2029 aside, valid UTF-8 goes as it is
        i += length;
        continue;
      }
      memcpy(escape, length == 0 ? "\\ufffd" : data[i + 2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
      if (length == 0) length = 1;
    } else if (c == '"' || c == '\\') {
      escape[1] = static_cast<char>(c);
      escaped = 2;
    } else if (c == '\n' || c == '\r') {
      escape[1] = c == '\n' ? 'n' : 'r';
      escaped = 2;
    }
    put(text + plain, i - plain);
    put(escape, escaped);
    i += length;
    plain = i;
  }
  put(text + plain, size - plain);
}

void LogWriter::put(const char* data, size_t size) {
  size_ += size;
  while (size > 0) {
    if (out_size_ == sizeof(out_)) flush();
    const size_t room = sizeof(out_) - out_size_;
    const size_t part = size < room ? size : room;
    memcpy(out_ + out_size_, data, part);
    out_size_ += part;
    data += part;
    size -= part;
  }
}

// A full disk costs lines of the log, never the container: what can't be written is dropped.
void LogWriter::flush() {
  for (size_t at = 0; at < out_size_;) {
    const ssize_t n = ::write(file_.get(), out_ + at, out_size_ - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      torn_ = true;
      size_ -= out_size_ - at;
      break;
    }
    at += static_cast<size_t>(n);
  }
  out_size_ = 0;
}

// log.json.2 is replaced by log.json.1, that by log.json. A follower keeps its open file and goes on with the new one.
void LogWriter::rotate() {
  char from[32], to[32];
  for (uint32_t i = max_files_ - 1; i > 0; i--) {
    snprintf(to, sizeof(to), "%s.%u", kName, i);
    snprintf(from, sizeof(from), i == 1 ? "%s" : "%s.%u", kName, i - 1);
    renameat(directory_.get(), from, directory_.get(), to);
  }
  if (max_files_ == 1) unlinkat(directory_.get(), kName, 0);
  const int fresh = openat(directory_.get(), kName, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (fresh < 0) return;  // goes on with the old one, tries again at the next line
  file_.reset(fresh);
  size_ = 0;
  torn_ = false;
}

}  // namespace nsbox
