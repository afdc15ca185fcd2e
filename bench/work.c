// The work that is measured bare and in containers: `work MODE AMOUNT [DIRECTORY]` does a fixed amount of it and
// prints the nanoseconds that it took. Static, so that the same bytes run everywhere; it times itself, so that
// starting a container is not part of the figure.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void Die(const char* what) {
  fprintf(stderr, "work: %s: %s\n", what, strerror(errno));
  exit(1);
}

static volatile uint64_t sink;
static const char* self;
static char path[4096];
static const char* directory = ".";

static const char* In(const char* name, long n) {
  snprintf(path, sizeof(path), "%s/%s-%ld-%d", directory, name, n, (int)getpid());
  return path;
}

// Rounds of a 64-bit mixing function: integer units and nothing else.
static void Integer(long amount) {
  uint64_t x = 88172645463325252u;
  for (long i = 0; i < amount; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    x *= 0x2545f4914f6cdd1du;
  }
  sink = x;
}

// A chain of dependent and independent multiplications and divisions.
static void Float(long amount) {
  double a = 1.000001, b = 0.999999, c = 1.5;
  for (long i = 0; i < amount; i++) {
    a = a * b + 1e-9;
    c = c / a + 0.5;
    b = b * 1.0000001 - 1e-10;
  }
  sink = (uint64_t)(a + b + c);
}

enum { kArray = 4 << 20 };  // doubles: 32 MiB each, beyond the caches

static double *one, *two, *three;
static void ReadyTriad(void) {
  double** const arrays[] = {&one, &two, &three};
  for (int k = 0; k < 3; k++) {
    *arrays[k] = malloc(kArray * sizeof(double));
    if (!*arrays[k]) Die("malloc");
    for (long i = 0; i < kArray; i++) (*arrays[k])[i] = (double)(i + k);
  }
}
// STREAM's triad (McCalpin 1995).
static void Triad(long amount) {
  for (long k = 0; k < amount; k++) {
    for (long i = 0; i < kArray; i++) one[i] = two[i] + 3.0 * three[i];
    sink += (uint64_t)one[k];
  }
}

static void Allocate(long amount) {
  void* held[256] = {0};
  uint32_t x = 1;
  for (long i = 0; i < amount; i++) {
    x = x * 1664525 + 1013904223;
    void** slot = &held[(x >> 16) & 255];
    free(*slot);
    *slot = malloc(16 + (x >> 20));
    if (!*slot) Die("malloc");
    *(char*)*slot = 1;
  }
  for (int i = 0; i < 256; i++) free(held[i]);
}

static void Faults(long amount) {
  const size_t size = 32 << 20;
  for (long k = 0; k < amount; k++) {
    char* m = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) Die("mmap");
    madvise(m, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096) m[i] = 1;
    munmap(m, size);
  }
}

static void Getpid(long amount) {
  for (long i = 0; i < amount; i++) syscall(SYS_getpid);
}

static void Open(long amount) {
  for (long i = 0; i < amount; i++) {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) Die("open /dev/null");
    close(fd);
  }
}

static void ReadWrite(long amount) {
  const int from = open("/dev/zero", O_RDONLY), to = open("/dev/null", O_WRONLY);
  if (from < 0 || to < 0) Die("open /dev/zero");
  char byte;
  for (long i = 0; i < amount; i++) {
    if (read(from, &byte, 1) != 1 || write(to, &byte, 1) != 1) Die("read");
  }
}

static int word;
static void* Other(void* count) {
  for (long i = (long)(intptr_t)count; i > 0; i--) {
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != 1)
      syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    __atomic_store_n(&word, 0, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
  }
  return 0;
}
// Two threads hand a word to and fro.
static void Futex(long amount) {
  pthread_t thread;
  if (pthread_create(&thread, 0, Other, (void*)(intptr_t)amount) != 0) Die("pthread_create");
  for (long i = 0; i < amount; i++) {
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != 0)
      syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0);
  }
  pthread_join(thread, 0);
}

static void ForkExec(long amount) {
  for (long i = 0; i < amount; i++) {
    const pid_t pid = fork();
    if (pid == 0) {
      execl(self, self, "nothing", "0", (char*)0);
      _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) Die("fork and exec");
  }
}

static char block[1 << 20];

static void WriteFile(long amount) {
  const int fd = open(In("write", 0), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0) Die(path);
  for (long i = 0; i < amount; i++) {
    if (write(fd, block, sizeof(block)) != sizeof(block)) Die("write");
  }
  if (fdatasync(fd) != 0) Die("fdatasync");
  close(fd);
  unlink(path);
}

static int data = -1;
static void ReadyRead(void) {
  data = open(In("read", 0), O_CREAT | O_RDWR | O_TRUNC, 0600);
  if (data < 0) Die(path);
  unlink(path);
  for (int i = 0; i < 16; i++) {
    if (write(data, block, sizeof(block)) != sizeof(block)) Die("write");
  }
}
static void RandomRead(long amount) {
  uint32_t x = 1;
  for (long i = 0; i < amount; i++) {
    x = x * 1664525 + 1013904223;
    if (pread(data, block, 4096, (off_t)(x >> 20) * 4096) != 4096) Die("pread");
  }
}

static void Sync(long amount) {
  const int fd = open(In("sync", 0), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0) Die(path);
  for (long i = 0; i < amount; i++) {
    if (pwrite(fd, block, 4096, 4096 * (i % 16)) != 4096 || fsync(fd) != 0) Die("fsync");
  }
  close(fd);
  unlink(path);
}

static void Metadata(long amount) {
  char renamed[4200];
  struct stat st;
  for (long i = 0; i < amount; i++) {
    const int fd = open(In("meta", i), O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) Die(path);
    close(fd);
    snprintf(renamed, sizeof(renamed), "%s.moved", path);
    if (rename(path, renamed) != 0 || stat(renamed, &st) != 0 || unlink(renamed) != 0) Die(renamed);
  }
}

static void Read(long amount) {
  for (long i = 0; i < amount; i++) {
    for (off_t at = 0; at < 16 << 20; at += sizeof(block)) {
      if (pread(data, block, sizeof(block), at) != sizeof(block)) Die("pread");
    }
  }
}

// Updates of words all over an array beyond the caches, as HPC Challenge's RandomAccess makes them.
static void Random(long amount) {
  uint64_t x = 88172645463325252u;
  uint64_t* words = (uint64_t*)one;
  for (long i = 0; i < amount; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    words[x & (kArray - 1)] ^= x;
  }
}

// Files of an image: DIRECTORY/lower/large of 16 MiB and 200 small ones in DIRECTORY/lower/small. Made before, so that
// in a container they are files of the overlay's lower layer.
enum { kLarge = 16, kSmall = 200 };
static const char* Lower(const char* name, int n) {
  snprintf(path, sizeof(path), n < 0 ? "%s/lower/%s" : "%s/lower/%s/%d", directory, name, n);
  return path;
}
static void LowerMake(long amount) {
  (void)amount;
  snprintf(path, sizeof(path), "%s/lower", directory);
  mkdir(path, 0755);
  mkdir(Lower("small", -1), 0755);
  for (int n = -1; n < kSmall; n++) {
    const int fd = open(Lower(n < 0 ? "large" : "small", n), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) Die(path);
    for (int i = 0; i < (n < 0 ? kLarge : 1); i++) {
      const size_t size = n < 0 ? sizeof(block) : 512;
      if (write(fd, block, size) != (ssize_t)size) Die("write");
    }
    fsync(fd);  // a copy-up would have to write it back first
    close(fd);
  }
}
static void ReadyLower(void) {
  data = open(Lower("large", -1), O_RDONLY | O_CLOEXEC);
  if (data < 0) Die(path);
}
static void LowerOpen(long amount) {
  for (long i = 0; i < amount; i++) {
    for (int n = 0; n < kSmall; n++) {
      const int fd = open(Lower("small", n), O_RDONLY | O_CLOEXEC);
      if (fd < 0) Die(path);
      close(fd);
    }
  }
}
static void LowerStat(long amount) {
  struct stat st;
  for (long i = 0; i < amount; i++) {
    for (int n = 0; n < kSmall; n++) {
      if (stat(Lower("small", n), &st) != 0) Die(path);
    }
  }
}
static void CopyUp(long amount) {
  (void)amount;
  const int fd = open(Lower("large", -1), O_WRONLY | O_CLOEXEC);
  if (fd < 0) Die(path);
  if (pwrite(fd, "x", 1, 0) != 1) Die("pwrite");
  close(fd);
}
// What a copy costs that isn't the kernel's: read, write, then the same byte.
static void CopyHand(long amount) {
  (void)amount;
  const int from = open(Lower("large", -1), O_RDONLY | O_CLOEXEC);
  const int to = open(In("copy", 0), O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
  if (from < 0 || to < 0) Die("copy");
  for (int i = 0; i < kLarge; i++) {
    if (read(from, block, sizeof(block)) != sizeof(block) || write(to, block, sizeof(block)) != sizeof(block))
      Die("copy");
  }
  if (pwrite(to, "x", 1, 0) != 1) Die("pwrite");
  close(to);
  close(from);
}
static void Remove(void) { unlink(In("copy", 0)); }

static const struct {
  const char* name;
  void (*ready)(void);  // not timed
  void (*work)(long);
  void (*after)(void);  // not timed
} modes[] = {
    {"integer", 0, Integer, 0},      {"float", 0, Float, 0},
    {"triad", ReadyTriad, Triad, 0}, {"random", ReadyTriad, Random, 0},
    {"allocate", 0, Allocate, 0},    {"faults", 0, Faults, 0},
    {"getpid", 0, Getpid, 0},        {"open", 0, Open, 0},
    {"readwrite", 0, ReadWrite, 0},  {"futex", 0, Futex, 0},
    {"forkexec", 0, ForkExec, 0},    {"write", 0, WriteFile, 0},
    {"read", ReadyRead, Read, 0},    {"randomread", ReadyRead, RandomRead, 0},
    {"fsync", 0, Sync, 0},           {"metadata", 0, Metadata, 0},
    {"lowermake", 0, LowerMake, 0},  {"lowerread", ReadyLower, Read, 0},
    {"loweropen", 0, LowerOpen, 0},  {"lowerstat", 0, LowerStat, 0},
    {"copyup", 0, CopyUp, 0},        {"copyhand", 0, CopyHand, Remove},
};

// Runs another program AMOUNT times and prints its time; its output goes nowhere.
static int Command(long amount, char** argv) {
  const int64_t start = Now();
  for (long i = 0; i < amount; i++) {
    const pid_t pid = fork();
    if (pid == 0) {
      const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(null, 1);
      execvp(argv[0], argv);
      _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0) Die(argv[0]);
    if (status != 0) {
      fprintf(stderr, "work: %s failed with status %d\n", argv[0], WEXITSTATUS(status));
      return 1;
    }
  }
  printf("%lld\n", (long long)(Now() - start));
  return 0;
}

// Puts files, and all files below directories, out of the page cache. What a running program maps stays.
static int EvictOne(const char* file, const struct stat* st, int type, struct FTW* at) {
  (void)at;
  if (type != FTW_F || !S_ISREG(st->st_mode)) return 0;
  const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return 0;
  fdatasync(fd);  // only clean pages can go
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  return 0;
}
static int Evict(char** files) {
  for (; *files; files++) {
    if (nftw(*files, EvictOne, 32, FTW_PHYS) != 0 && errno != ENOENT) Die(*files);
  }
  return 0;
}

int main(int argc, char** argv) {
  self = argv[0];
  if (argc > 3) directory = argv[3];
  if (argc > 1 && strcmp(argv[1], "nothing") == 0) return 0;  // the child of ForkExec
  if (argc > 3 && strcmp(argv[1], "command") == 0) return Command(atol(argv[2]), argv + 3);
  if (argc > 2 && strcmp(argv[1], "evict") == 0) return Evict(argv + 2);
  for (size_t i = 0; argc > 2 && i < sizeof(modes) / sizeof(modes[0]); i++) {
    if (strcmp(argv[1], modes[i].name) != 0) continue;
    if (modes[i].ready) modes[i].ready();
    const int64_t start = Now();
    modes[i].work(atol(argv[2]));
    printf("%lld\n", (long long)(Now() - start));
    if (modes[i].after) modes[i].after();
    return 0;
  }
  fprintf(stderr, "usage: work MODE AMOUNT [DIRECTORY]\n");
  return 2;
}
