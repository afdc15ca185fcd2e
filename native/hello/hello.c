// The program of the image `hello`: says what a process in a container sees of itself. Static, so that the image
// is this one file.
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

// First line of a file, without its newline; "?" where it can't be read.
static const char* FirstLine(const char* path, char* buffer, int size) {
  FILE* f = fopen(path, "re");
  if (!f || !fgets(buffer, size, f)) snprintf(buffer, (size_t)size, "?");
  if (f) fclose(f);
  buffer[strcspn(buffer, "\n")] = 0;
  return buffer;
}

int main(void) {
  static const char* const kinds[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"};
  struct utsname name;
  char line[256];
  unsigned inside, outside, count;

  if (uname(&name) != 0) return 1;
  printf("Hello from nsbox!\n\n");
  printf("This program runs on your kernel, Linux %s, in a world of its own:\n\n", name.release);
  printf("  process id    %d\n", (int)getpid());
  printf("  host name     %s\n", name.nodename);
  printf("  user id       %u", (unsigned)getuid());
  if (sscanf(FirstLine("/proc/self/uid_map", line, sizeof(line)), "%u %u %u", &inside, &outside, &count) ==
          3 &&
      inside != outside) {
    printf(", which is %u outside", outside + getuid() - inside);
  }
  printf("\n  namespaces\n");
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
    const ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0) continue;
    target[n] = 0;
    printf("    %s\n", target);
  }
  printf("\nCompare with `ls -l /proc/self/ns` outside. How it came to be: nsbox run --explain hello\n");
  return 0;
}
