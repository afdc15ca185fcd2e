// Who: init, at the end. From here on the process is the user's program.
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

// A /dev/null that came from the host becomes the container's own, so that no fd leads to a mount outside: what
// looks at the container's files later (criu) finds all of them in it.
static void ReopenNull() {
  const dev_t null = makedev(1, 3);
  for (int fd = 0; fd < 3; fd++) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != null) continue;
    const int flags = fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND);
    const Fd own(open("/dev/null", flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!own.ok() || fstat(own.get(), &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != null) continue;
    if (dup2(own.get(), fd) == fd) fcntl(fd, F_SETFL, flags);
  }
}

// u32 n, u32 slot…: these fds become 3, 4, … of the program (--preserve-fds). With a terminal, its slave
// becomes stdio and the controlling terminal. Every other fd is closed at execve.
Failure StepFds(Run& run, Reader& r) {
  if (run.terminal >= 0) {
    if (setsid() < 0 && errno != EPERM) return Fail("setsid");
    if (ioctl(run.terminal, TIOCSCTTY, 0) != 0) return Fail("ioctl", "TIOCSCTTY");
    for (int i = 0; i < 3; i++) {
      if (dup2(run.terminal, i) < 0) return Fail("dup2", "terminal");
    }
    if (run.terminal > 2) close(run.terminal);
    run.terminal = -1;
  }
  ReopenNull();
  const uint32_t count = r.u32();
  std::vector<int> wanted;
  for (uint32_t i = 0; i < count && !r.bad(); i++) wanted.push_back(run.slots.get(r.u32()));
  if (r.bad()) return Malformed();
  // Our own sockets may stand where the program's fds shall be: move them up first.
  const int first_free = 3 + static_cast<int>(count);
  const auto move_up = [first_free](int& fd) {
    if (fd >= 0 && fd < first_free) fd = fcntl(fd, F_DUPFD_CLOEXEC, first_free);
  };
  const bool same = run.error_to == run.monitor;
  move_up(run.monitor);
  if (same) run.error_to = run.monitor;
  move_up(run.error_to);
  for (int& fd : wanted) {
    if (fd < 0) continue;
    fd = fcntl(fd, F_DUPFD, first_free);
    if (fd < 0) return Fail("fcntl", "F_DUPFD");
  }
  for (uint32_t i = 0; i < count; i++) {
    if (wanted[i] >= 0 && dup2(wanted[i], 3 + static_cast<int>(i)) < 0) return Fail("dup2", "preserved fd");
  }
  constexpr unsigned kCloexec = 4;  // CLOSE_RANGE_CLOEXEC, Linux 5.11
  if (SysCloseRange(static_cast<unsigned>(first_free), ~0U, kCloexec) != 0) {
    for (int fd = first_free; fd < 1024; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  return Ok();
}

// u32 slot of the listening socket. OCI create ends here; `start` connects, and gets the error of what
// follows, or the end of file when the program has been executed.
Failure StepWaitStart(Run& run, Reader& r) {
  run.listener = run.slots.get(r.u32());
  if (r.bad()) return Malformed();
  Outgoing m(Message::kReady);
  m.u32(0);
  if (!Send(run.monitor, m)) return Fail("send", "monitor");
  // The monitor goes now; from here on nobody but start is to be told.
  for (;;) {
    const int peer = accept4(run.listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return Fail("accept4");
    }
    char byte;
    if (read(peer, &byte, 1) == 1) {
      run.error_to = peer;
      return Ok();
    }
    close(peer);  // someone looked in and left
  }
}

// Reads what TypeScript needs to tell why execve refused the file: a shebang line, an ELF header.
static void Inspect(Run& run, const char* path) {
  run.program = path;
  struct stat st;
  run.program_mode = stat(path, &st) == 0 ? st.st_mode : 0;
  Fd fd(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.ok()) return;
  const ssize_t n = read(fd.get(), run.head, sizeof(run.head));
  run.head_size = n > 0 ? static_cast<size_t>(n) : 0;
}

// What execve would say of a path, as far as a look at the file tells. 0: it can be tried.
static int Look(const char* path) {
  struct stat st;
  if (stat(path, &st) != 0) return errno;
  if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) return EACCES;
  return 0;
}

// str PATH to search, str name, str working directory. Fails as execve will: an OCI `create` tells so, where its
// caller looks for it, and not only `start`.
Failure StepFindProgram(Run& run, Reader& r) {
  const char* path_variable = r.str();
  const char* name = r.str();
  const char* cwd = r.str();
  if (r.bad()) return Malformed();
  struct stat directory;
  if (stat(cwd, &directory) != 0) return Fail("chdir", cwd);
  if (!S_ISDIR(directory.st_mode)) return Fail("chdir", cwd, ENOTDIR);
  static char candidate[PATH_MAX];
  if (strchr(name, '/')) {
    const int n = name[0] == '/' ? snprintf(candidate, sizeof(candidate), "%s", name)
                                 : snprintf(candidate, sizeof(candidate), "%s/%s", cwd, name);
    if (n <= 0 || n >= PATH_MAX) return Fail("execve", name, ENAMETOOLONG);
    const int err = Look(candidate);
    if (err == 0) return Ok();
    Inspect(run, candidate);
    return Fail("execve", name, err);
  }
  int remembered = ENOENT;
  for (const char* p = path_variable;; p++) {
    const char* end = strchrnul(p, ':');
    const int n = snprintf(candidate, sizeof(candidate), "%.*s/%s", static_cast<int>(end - p), p, name);
    if (n > 0 && n < PATH_MAX) {
      const int err = Look(candidate);
      if (err == 0) return Ok();
      if (err == EACCES && remembered == ENOENT) {
        struct stat st;
        if (stat(candidate, &st) == 0 && S_ISREG(st.st_mode)) {
          remembered = EACCES;
          Inspect(run, candidate);
        }
      }
    }
    if (!*end) break;
    p = end;
  }
  return Fail("execve", name, remembered);
}

static Failure Execute(Run& run, Reader& r) {
  const char* path_variable = r.str();
  std::vector<char*> argv, envp;
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) argv.push_back(const_cast<char*>(r.str()));
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) envp.push_back(const_cast<char*>(r.str()));
  if (r.bad() || argv.empty()) return Malformed();
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const char* name = argv[0];
  if (strchr(name, '/')) {
    execve(name, argv.data(), envp.data());
    const int err = errno;
    Inspect(run, name);
    return Fail("execve", name, err);
  }
  // As execvp(3) searches, with the container's own PATH; EACCES is remembered, the search goes on.
  static char candidate[PATH_MAX];
  int remembered = ENOENT;
  for (const char* p = path_variable;; p++) {
    const char* end = strchrnul(p, ':');
    const int n = end == p
                      ? snprintf(candidate, sizeof(candidate), "./%s", name)
                      : snprintf(candidate, sizeof(candidate), "%.*s/%s", static_cast<int>(end - p), p, name);
    if (n > 0 && n < PATH_MAX) {
      execve(candidate, argv.data(), envp.data());
      const int err = errno;
      struct stat st;
      const bool exists = stat(candidate, &st) == 0 && !S_ISDIR(st.st_mode);
      if (exists && err != EACCES) {
        Inspect(run, candidate);
        return Fail("execve", candidate, err);
      }
      if (exists && err == EACCES && remembered == ENOENT) {
        remembered = EACCES;
        Inspect(run, candidate);
      }
    }
    if (!*end) break;
    p = end;
  }
  return Fail("execve", name, remembered);
}

// str PATH to search, u32 n, argv…, u32 n, envp…
Failure StepExec(Run& run, Reader& r) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return Execute(run, r);
}

// A plan without a program: what was to be done is done.
Failure StepLeave(Run&, Reader&) { _exit(0); }

// --init: stays as pid 1, forwards signals to the program and reaps whatever is left to it. The child goes on
// with the plan. No global is needed: signals come in by sigwaitinfo(2), not by handlers.
Failure StepReaper(Run& run, Reader&) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const pid_t child = fork();
  if (child < 0) return Fail("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (isatty(0)) {  // the program leads the terminal's foreground group, as a shell expects
      setpgid(0, 0);
      signal(SIGTTOU, SIG_IGN);
      tcsetpgrp(0, getpid());
      signal(SIGTTOU, SIG_DFL);
    }
    return Ok();
  }
  // Let go of every socket, so that only the child's execve (or its failure) ends the conversation.
  SysCloseRange(3, ~0U, 0);
  run.monitor = run.error_to = -1;
  int code = 0;
  for (;;) {
    siginfo_t info;
    const int signal_number = sigwaitinfo(&all, &info);
    if (signal_number < 0) continue;
    if (signal_number == SIGCHLD) {
      int status;
      pid_t pid;
      bool ended = false;
      while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != child) continue;
        ended = true;
        code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      if (ended) _exit(code);
      continue;
    }
    if (signal_number == SIGTTIN || signal_number == SIGTTOU) continue;
    kill(child, signal_number);
  }
}

}  // namespace nsbox
