#include "fs/plain.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "launch/fd.h"

namespace nsbox {

namespace {

constexpr size_t kBlock = 512;
// What ext4 and most others take as one name; a PAX path may be longer than a header's.
constexpr size_t kNameMax = 255;
constexpr size_t kPathMax = 4096;
constexpr int kNewFile = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

size_t Padded(size_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

// A field up to its first NUL.
std::string_view Text(const char* field, size_t length) { return {field, strnlen(field, length)}; }

// Octal text between spaces or NULs, as src/image/tar/numbers.ts reads it. False for anything else.
bool Octal(const char* field, size_t length, uint64_t* out) {
  size_t i = 0;
  while (i < length && (field[i] == ' ' || field[i] == '\0')) i++;
  uint64_t value = 0;
  for (; i < length && field[i] != ' ' && field[i] != '\0'; i++) {
    if (field[i] < '0' || field[i] > '7') return false;
    value = value * 8 + static_cast<uint64_t>(field[i] - '0');
  }
  *out = value;
  return true;
}

bool ChecksumFits(const char* header) {
  uint64_t expected;
  if (!Octal(header + 148, 8, &expected)) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; i++) sum += static_cast<unsigned char>(header[i]);
  for (size_t i = 148; i < 156; i++) sum -= static_cast<unsigned char>(header[i]);
  return expected == sum + 8 * ' ';
}

struct Member {
  char type = 0;
  std::string_view path;    // its prefix, where a header has one, is `prefix`
  std::string_view prefix;  // "" or what stands before the path and a slash
  std::string_view link;
  uint64_t mode = 0, uid = 0, gid = 0, size = 0;
  timespec mtime = {};
  bool has_mtime = false;
};

// Seconds and maybe decimals, of which nine count.
bool PaxTime(std::string_view text, timespec* out) {
  size_t i = 0;
  int64_t sec = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; i++) sec = sec * 10 + (text[i] - '0');
  if (i == 0 || i > 12) return false;
  long nsec = 0;
  if (i < text.size()) {
    if (text[i++] != '.') return false;
    for (long unit = 100000000; i < text.size(); i++, unit /= 10) {
      if (text[i] < '0' || text[i] > '9') return false;
      nsec += (text[i] - '0') * unit;
    }
  }
  out->tv_sec = sec;
  out->tv_nsec = nsec;
  return true;
}

// The records of a PAX header, `LENGTH KEYWORD=VALUE\n`. False where one is not a name or a time.
bool Pax(std::string_view body, Member* m) {
  while (!body.empty()) {
    size_t length = 0, i = 0;
    for (; i < body.size() && i < 7 && body[i] >= '0' && body[i] <= '9'; i++)
      length = length * 10 + static_cast<size_t>(body[i] - '0');
    if (i == 0 || i >= body.size() || body[i] != ' ') return false;
    if (length <= i + 2 || length > body.size() || body[length - 1] != '\n') return false;
    std::string_view record = body.substr(i + 1, length - i - 2);
    body.remove_prefix(length);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (value.empty() || value.find('\0') != std::string_view::npos) return false;
    if (key == "mtime") {
      if (!PaxTime(value, &m->mtime)) return false;
      m->has_mtime = true;
    } else if (key == "path") {
      m->path = value;
    } else if (key == "linkpath") {
      m->link = value;
    } else if (key != "atime" && key != "ctime") {
      return false;
    }
  }
  return true;
}

bool Header(const char* h, Member* m) {
  uint64_t mtime;
  if (!Octal(h + 100, 8, &m->mode) || !Octal(h + 108, 8, &m->uid) || !Octal(h + 116, 8, &m->gid) ||
      !Octal(h + 124, 12, &m->size) || !Octal(h + 136, 12, &mtime))
    return false;
  m->mode &= 07777;
  if (!m->has_mtime) m->mtime.tv_sec = static_cast<time_t>(mtime);
  if (m->path.empty()) {
    m->path = Text(h, 100);
    if (memcmp(h + 257, "ustar\0", 6) == 0) {
      // star's own format has other things at the end of the prefix.
      if (memcmp(h + 508, "tar\0", 4) == 0) return false;
      m->prefix = Text(h + 345, 155);
    }
  }
  if (m->link.empty()) m->link = Text(h + 157, 100);
  m->type = h[156] == '\0' ? '0' : h[156];
  if (m->type == '2') m->size = 0;
  return m->type == '0' || m->type == '2';
}

// Takes `start` and a slash off the front of a path. True for an empty start.
bool Within(std::string_view start, std::string_view* path) {
  if (start.empty()) return true;
  if (path->size() <= start.size() || path->substr(0, start.size()) != start || (*path)[start.size()] != '/')
    return false;
  path->remove_prefix(start.size() + 1);
  return true;
}

// The member's name where it lies directly in `parent`; empty where it doesn't, or is a name with a meaning.
std::string_view NameIn(std::string_view parent, const Member& m, char (&joined)[kPathMax]) {
  std::string_view path = m.path;
  if (!m.prefix.empty()) {
    // At most 155 and 100 bytes.
    memcpy(joined, m.prefix.data(), m.prefix.size());
    joined[m.prefix.size()] = '/';
    memcpy(joined + m.prefix.size() + 1, path.data(), path.size());
    path = {joined, m.prefix.size() + 1 + path.size()};
  }
  if (path.substr(0, 2) == "./") path.remove_prefix(2);
  if (!Within(parent, &path)) return {};
  if (path.size() > kNameMax || path.find('/') != std::string_view::npos) return {};
  if (path == "." || path == ".." || path.substr(0, 4) == ".wh.") return {};
  return path;
}

bool WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool MakeFile(int dirfd, const char* name, const Member& m, std::string_view data) {
  Fd fd(openat(dirfd, name, kNewFile, m.mode & 0777));
  if (!fd.ok()) return false;
  const timespec times[2] = {m.mtime, m.mtime};
  struct stat st;
  bool made = WriteAll(fd.get(), data) && fstat(fd.get(), &st) == 0;
  // Owner first: chown clears setuid bits. Mostly both are right already.
  const bool owned = made && st.st_uid == m.uid && st.st_gid == m.gid;
  if (made && !owned) made = fchown(fd.get(), static_cast<uid_t>(m.uid), static_cast<gid_t>(m.gid)) == 0;
  if (made && (!owned || (st.st_mode & 07777) != m.mode))
    made = fchmod(fd.get(), static_cast<mode_t>(m.mode)) == 0;
  made = made && futimens(fd.get(), times) == 0;
  if (!made) unlinkat(dirfd, name, 0);
  return made;
}

bool MakeSymlink(int dirfd, const char* name, const Member& m) {
  char target[kPathMax];
  if (m.link.size() >= sizeof(target)) return false;
  memcpy(target, m.link.data(), m.link.size());
  target[m.link.size()] = '\0';
  if (symlinkat(target, dirfd, name) < 0) return false;
  const timespec times[2] = {m.mtime, m.mtime};
  struct stat st;
  bool made = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (made && (st.st_uid != m.uid || st.st_gid != m.gid))
    made =
        fchownat(dirfd, name, static_cast<uid_t>(m.uid), static_cast<gid_t>(m.gid), AT_SYMLINK_NOFOLLOW) == 0;
  made = made && utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) == 0;
  if (!made) unlinkat(dirfd, name, 0);
  return made;
}

// Unpacks the first member. Returns its bytes in the archive, 0 where it is not for us.
size_t UnpackOne(int dirfd, std::string_view parent, std::string_view tar, uint64_t* size) {
  Member m;
  size_t at = 0;
  if (tar.size() >= kBlock && tar[156] == 'x') {
    uint64_t length;
    if (!ChecksumFits(tar.data()) || !Octal(tar.data() + 124, 12, &length)) return 0;
    if (length == 0 || length > tar.size() || kBlock + Padded(length) > tar.size()) return 0;
    if (!Pax(tar.substr(kBlock, length), &m)) return 0;
    at = kBlock + Padded(length);
  }
  if (tar.size() - at < kBlock) return 0;
  const char* header = tar.data() + at;
  if (!ChecksumFits(header) || !Header(header, &m)) return 0;
  at += kBlock;
  if (m.size > tar.size() - at || Padded(m.size) > tar.size() - at) return 0;

  char joined[kPathMax];
  std::string_view found = NameIn(parent, m, joined);
  if (found.empty()) return 0;
  char name[kNameMax + 1];
  memcpy(name, found.data(), found.size());
  name[found.size()] = '\0';
  bool made = m.type == '2' ? MakeSymlink(dirfd, name, m) : MakeFile(dirfd, name, m, tar.substr(at, m.size));
  if (!made) return 0;
  *size += m.size;
  return at + Padded(m.size);
}

}  // namespace

PlainRun UnpackPlain(int dirfd, std::string_view parent, std::string_view tar) {
  PlainRun run;
  while (size_t n = UnpackOne(dirfd, parent, tar.substr(run.consumed), &run.size)) {
    run.consumed += n;
    run.members++;
  }
  return run;
}

}  // namespace nsbox
