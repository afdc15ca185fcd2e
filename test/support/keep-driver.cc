// The keeping loop with a plain fork instead of a container, for sanitizers: `keep-driver CONFIG SCRIPT`.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "init/keep.h"
#include "launch/sys.h"

using namespace nsbox;

static const char* script;

static bool Start(void*, Launched* out) {
  int in[2], stdout_pipe[2], stderr_pipe[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(stdout_pipe, O_CLOEXEC) || pipe2(stderr_pipe, O_CLOEXEC)) return false;
  const pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(in[0], 0);
    dup2(stdout_pipe[1], 1);
    dup2(stderr_pipe[1], 2);
    execl("/bin/sh", "sh", "-c", script, nullptr);
    _exit(127);
  }
  close(in[0]);
  close(stdout_pipe[1]);
  close(stderr_pipe[1]);
  out->pid = pid;
  out->pidfd = SysPidfdOpen(pid, 0);
  out->stdin_fd = in[1];
  out->stdout_fd = stdout_pipe[0];
  out->stderr_fd = stderr_pipe[0];
  return pid > 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  script = argv[2];
  const int fd = open(argv[1], O_RDONLY);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) return 2;
  void* data = mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  // Every cut of a good configuration is refused, within bounds.
  for (size_t n = 0; n < static_cast<size_t>(st.st_size); n++) {
    char* cut = static_cast<char*>(malloc(n ? n : 1));
    memcpy(cut, data, n);
    KeepConfig part;
    if (part.parse(cut, n)) return 3;
    free(cut);
  }
  KeepConfig config;
  if (!config.parse(data, static_cast<size_t>(st.st_size))) return 2;
  Keeper* keeper = nullptr;
  if (const Failure failure = KeepPrepare(config, &keeper)) {
    fprintf(stderr, "%s %s: %s\n", failure.call, failure.path, strerror(failure.err));
    return 2;
  }
  KeepHost host;
  host.relaunch = Start;
  Launched first;
  if (!Start(nullptr, &first)) return 2;
  return Keep(keeper, first, host);
}
