#include "init/keep_text.h"

namespace nsbox {

static char* Digits(char* out, unsigned value, int width) {
  for (int i = width; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + width;
}

size_t FormatTime(const timespec& t, char* out) {
  // Days to a civil date, without libc's time zones (Howard Hinnant's algorithm, proleptic Gregorian).
  const int64_t days = t.tv_sec / 86400;
  const unsigned second = static_cast<unsigned>(t.tv_sec % 86400);
  const int64_t z = days + 719468;
  const int64_t era = z / 146097;
  const unsigned doe = static_cast<unsigned>(z - era * 146097);
  const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const unsigned mp = (5 * doy + 2) / 153;
  const unsigned month = mp < 10 ? mp + 3 : mp - 9;
  const unsigned year = yoe + static_cast<unsigned>(era) * 400 + (month <= 2 ? 1 : 0);
  char* p = Digits(out, year, 4);
  *p++ = '-';
  p = Digits(p, month, 2);
  *p++ = '-';
  p = Digits(p, doy - (153 * mp + 2) / 5 + 1, 2);
  *p++ = 'T';
  p = Digits(p, second / 3600, 2);
  *p++ = ':';
  p = Digits(p, second / 60 % 60, 2);
  *p++ = ':';
  p = Digits(p, second % 60, 2);
  if (t.tv_nsec > 0) {
    *p++ = '.';
    p = Digits(p, static_cast<unsigned>(t.tv_nsec), 9);
    while (p[-1] == '0') p--;
  }
  *p++ = 'Z';
  return static_cast<size_t>(p - out);
}

timespec WallClock() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t;
}

}  // namespace nsbox
