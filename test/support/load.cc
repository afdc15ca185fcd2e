// Loads for the tests of limits, built statically so that it runs in any container:
//   load memory BYTES [SECONDS] touches BYTES, prints "touched N" after each MiB, then sleeps
//   load cpu SECONDS            spins, prints the CPU seconds it got
//   load pressure SECONDS       two processes that spin
//   load forks N SECONDS        forks N sleeping children, prints how many were made and the errno's name
//                               of the first refusal
//   load read DEVICE BYTES      reads with O_DIRECT in 64 KiB pieces, prints milliseconds
//   load write FILE BYTES       the same, writing
//   load cache FILE             reads a file through the page cache, then sleeps for ever
//   load hugepages BYTES        maps and touches huge pages, prints "mapped N" or the errno's name
//   load held VERB …            does it after a SIGUSR1
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static double Seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

static int Memory(size_t bytes, unsigned seconds) {
  const size_t step = 1 << 20;
  char* p =
      static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) return 3;
  for (size_t at = 0; at < bytes; at += step) {
    memset(p + at, 7, bytes - at < step ? bytes - at : step);
    printf("touched %zu\n", at + step);
    fflush(stdout);
  }
  sleep(seconds);
  return 0;
}

static int Cpu(double seconds) {
  const double end = Seconds(CLOCK_MONOTONIC) + seconds;
  volatile unsigned x = 0;
  while (Seconds(CLOCK_MONOTONIC) < end) {
    for (int i = 0; i < 10000; i++) x = x + 1;
  }
  printf("%.3f\n", Seconds(CLOCK_PROCESS_CPUTIME_ID));
  return 0;
}

static int Forks(int count, unsigned seconds) {
  int made = 0;
  const char* why = "none";
  for (int i = 0; i < count; i++) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      sleep(seconds + 60);
      _exit(0);
    }
    if (pid < 0) {
      why = strerrorname_np(errno);
      break;
    }
    made++;
  }
  printf("%d %s\n", made, why);
  fflush(stdout);
  sleep(seconds);
  return 0;
}

static int Direct(const char* path, size_t bytes, bool write_it) {
  const size_t step = 65536;
  void* buffer = nullptr;
  if (posix_memalign(&buffer, 4096, step) != 0) return 3;
  memset(buffer, 1, step);
  const int fd = open(path, O_DIRECT | (write_it ? O_WRONLY | O_CREAT : O_RDONLY), 0600);
  if (fd < 0) {
    perror(path);
    return 2;
  }
  const double start = Seconds(CLOCK_MONOTONIC);
  for (size_t at = 0; at < bytes; at += step) {
    const ssize_t n = write_it ? pwrite(fd, buffer, step, static_cast<off_t>(at))
                               : pread(fd, buffer, step, static_cast<off_t>(at));
    if (n != static_cast<ssize_t>(step)) {
      perror(path);
      return 2;
    }
  }
  printf("%.0f\n", (Seconds(CLOCK_MONOTONIC) - start) * 1000);
  return 0;
}

/** A mapping of huge pages: the limit of reservations answers at once, without a page touched. */
static int HugePages(size_t bytes) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (p == MAP_FAILED) {
    printf("%s\n", strerrorname_np(errno));
    return 1;
  }
  memset(p, 1, bytes);
  printf("mapped %zu\n", bytes);
  return 0;
}

static int Cache(const char* path) {
  const int fd = open(path, O_RDONLY);
  static char buffer[65536];
  size_t total = 0;
  ssize_t n;
  while ((n = read(fd, buffer, sizeof(buffer))) > 0) total += static_cast<size_t>(n);
  printf("read %zu\n", total);
  fflush(stdout);
  for (;;) pause();
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (!strcmp(argv[1], "held")) {
    // Blocked, it reaches the first process of a pid namespace too.
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, nullptr);
    int got = 0;
    sigwait(&go, &got);
    argv++;
    argc--;
    if (argc < 3) return 2;
  }
  const char* verb = argv[1];
  if (!strcmp(verb, "memory"))
    return Memory(strtoull(argv[2], nullptr, 10), argc > 3 ? static_cast<unsigned>(atoi(argv[3])) : 0);
  if (!strcmp(verb, "cpu")) return Cpu(atof(argv[2]));
  if (!strcmp(verb, "pressure")) {
    if (fork() == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return Cpu(atof(argv[2]));
  }
  if (!strcmp(verb, "hugepages")) return HugePages(strtoull(argv[2], nullptr, 10));
  if (!strcmp(verb, "cache")) return Cache(argv[2]);
  if (argc < 4) return 2;
  if (!strcmp(verb, "forks")) return Forks(atoi(argv[2]), static_cast<unsigned>(atoi(argv[3])));
  if (!strcmp(verb, "read")) return Direct(argv[2], strtoull(argv[3], nullptr, 10), false);
  if (!strcmp(verb, "write")) return Direct(argv[2], strtoull(argv[3], nullptr, 10), true);
  return 2;
}
