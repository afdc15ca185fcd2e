// The container's log, in the format of Docker's json-file driver: one JSON object a line,
// {"log":"text\n","stream":"stdout","attrs":{…},"time":"2026-11-21T07:00:00.123456789Z"}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>

#include "init/keep_config.h"
#include "launch/failure.h"
#include "launch/fd.h"

namespace nsbox {

class LogWriter {
 public:
  enum Stream { kStdout = 0, kStderr = 1 };

  // Opens <data_dir>/log.json for appending; ends a line that a killed monitor left unfinished.
  Failure open(const KeepConfig& config);

  // Output of the program as it was read. Whole lines are on their way to the file when this returns; the start of
  // a line waits for its end. A line of more than 16 KiB is cut into records, as Docker does (but never inside a
  // UTF-8 sequence).
  void write(Stream stream, const char* data, size_t size);

  // The stream has ended: an unfinished line becomes a record without "\n".
  void end(Stream stream);

 private:
  static constexpr size_t kLine = 16384;
  struct Unfinished {
    size_t size = 0;
    bool continued = false;  // earlier records hold the beginning of this line
    timespec since{};        // all records of a line carry the time of its beginning
    char bytes[kLine];
  };

  void record(Stream stream, const char* data, size_t size, bool newline, const timespec& time);
  void encode(const char* data, size_t size);
  void put(const char* data, size_t size);
  void put(const char* text) { put(text, strlen(text)); }
  void flush();
  void rotate();

  Fd file_;
  Fd directory_;
  uint64_t max_size_ = 0;
  uint32_t max_files_ = 1;
  const char* attrs_ = "";
  uint64_t size_ = 0;  // of the file and what waits in out_
  bool torn_ = false;  // the last write was cut short: the next record starts on a line of its own
  Unfinished lines_[2];
  size_t out_size_ = 0;
  char out_[16384];
};

}  // namespace nsbox
