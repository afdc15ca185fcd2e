// Who: init. What the program will see of its surroundings: names, sysctls, terminal; and the hooks of an OCI
// bundle.
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

Failure StepHostname(Run&, Reader& r) {
  const Bytes name = r.bytes();
  if (r.bad()) return Malformed();
  if (sethostname(name.data, name.size) != 0) return Fail("sethostname", name.data);
  return Ok();
}

Failure StepDomainname(Run&, Reader& r) {
  const Bytes name = r.bytes();
  if (r.bad()) return Malformed();
  if (setdomainname(name.data, name.size) != 0) return Fail("setdomainname", name.data);
  return Ok();
}

// u32 n, (str path below /proc/sys, str value)…; before the read-only paths are made
Failure StepSysctl(Run& run, Reader& r) {
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* key = r.str();
    const Bytes value = r.bytes();
    if (r.bad()) return Malformed();
    char path[512];
    snprintf(path, sizeof(path), "/proc/sys/%s", key);
    Fd fd(run.root >= 0 ? OpenInRoot(run.root, path, O_WRONLY) : open(path, O_WRONLY | O_CLOEXEC));
    if (!fd.ok()) return Fail("open", key);
    if (write(fd.get(), value.data, value.size) < 0) return Fail("write", key);
  }
  return Ok();
}

Failure StepLoopback(Run&, Reader&) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return Fail("socket", "lo");
  ifreq request{};
  strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return Fail("ioctl", "lo");
  return Ok();
}

// OCI: some data (runc sends the terminal's name) and the master.
static Failure SendToConsoleSocket(int socket_fd, int master) {
  if (!SendWithFd(socket_fd, "/dev/ptmx", 9, master)) return Fail("sendmsg", "console socket");
  return Ok();
}

// u32 uid, u32 gid (in the container), u32 rows, u32 columns, flag bind to /dev/console, u32 slot of the
// console socket A terminal of the container's own devpts, so that `tty` inside finds its name.
Failure StepConsole(Run& run, Reader& r) {
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  winsize size{};
  size.ws_row = static_cast<unsigned short>(r.u32());
  size.ws_col = static_cast<unsigned short>(r.u32());
  const bool console = r.flag();
  const uint32_t console_slot = r.u32();
  if (r.bad()) return Malformed();
  Fd master(run.root >= 0 ? OpenInRoot(run.root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY)
                          : open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master.ok()) return Fail("open", "/dev/pts/ptmx");
  int unlock = 0;
  if (ioctl(master.get(), TIOCSPTLCK, &unlock) != 0) return Fail("ioctl", "/dev/pts/ptmx");
  Fd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave.ok()) return Fail("ioctl", "/dev/pts/ptmx");
  if (size.ws_row || size.ws_col) ioctl(master.get(), TIOCSWINSZ, &size);
  if (fchown(slave.get(), uid, gid) != 0) return Fail("fchown", "/dev/pts");
  if (console) {
    Fd at(OpenInRoot(run.root, "/dev/console", O_PATH));
    if (!at.ok()) {
      if (errno != ENOENT) return Fail("openat2", "/dev/console");
      Fd dev(OpenInRoot(run.root, "/dev", O_PATH | O_DIRECTORY));
      Fd made(openat(dev.get(), "console", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0620));
      if (!made.ok()) return Fail("openat", "/dev/console");
      at.reset(OpenInRoot(run.root, "/dev/console", O_PATH));
    }
    int number = 0;
    if (ioctl(master.get(), TIOCGPTN, &number) != 0) return Fail("ioctl", "/dev/pts/ptmx");
    char name[32];
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    Fd node(OpenInRoot(run.root, name, O_PATH));
    if (!node.ok()) return Fail("openat2", "/dev/pts");
    Fd tree(SysOpenTree(node.get(), "", kOpenTreeClone | kOpenTreeCloexec | AT_EMPTY_PATH));
    if (!tree.ok() || SysMoveMount(tree.get(), at.get()) != 0) return Fail("move_mount", "/dev/console");
  }
  const Stdio stdio = run.plan->stdio;
  if (stdio == Stdio::kConsoleSocket) {
    NSBOX_TRY(SendToConsoleSocket(run.slots.get(console_slot), master.get()));
  } else {
    Outgoing m(Message::kTerminal);
    const int fd = master.get();
    if (!Send(run.monitor, m, &fd, 1)) return Fail("sendmsg", "monitor");
  }
  run.terminal = slave.release();
  return Ok();
}

// u32 point. Monitor: tells the runtime, which works on it while we go on. Init: waits until it is done.
Failure StepSync(Run& run, Reader& r) {
  const uint32_t point = r.u32();
  if (r.bad()) return Malformed();
  if (run.monitor < 0) {
    Outgoing m(Message::kSync);
    m.u32(point).u32(static_cast<uint32_t>(run.pid));
    if (run.runtime < 0 || point >= 32 || !Send(run.runtime, m)) return Fail("send", "runtime", EPIPE);
    run.announced |= 1U << point;
    return Ok();
  }
  Outgoing m(Message::kSync);
  m.u32(point).u32(0);
  if (!Send(run.monitor, m)) return Fail("send", "monitor");
  Incoming in;
  for (;;) {
    if (!Receive(run.monitor, &in)) return Fail("recvmsg", "monitor", errno ? errno : EPIPE);
    if (in.type != Message::kGranted || in.reader.u32() != point) continue;
    if (in.reader.u32() == 0) return Fail("sync", "runtime", ECANCELED);
    return Ok();
  }
}

static int64_t Milliseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

// str path, u32 n args, str…, u32 n env, str…, i32 timeout in seconds (0 none), bytes state (on stdin)
// A hook that runs in the container's namespaces: createContainer before pivot_root (so its path is the
// host's), startContainer after it. In the monitor: poststop, on the host.
Failure StepHook(Run& run, Reader& r) {
  const char* path = r.str();
  std::vector<char*> argv, envp;
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) argv.push_back(const_cast<char*>(r.str()));
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) envp.push_back(const_cast<char*>(r.str()));
  const int32_t timeout = r.i32();
  Bytes state = r.bytes();
  if (r.bad()) return Malformed();
  if (argv.empty()) argv.push_back(const_cast<char*>(path));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  int input[2];
  int report[2];
  if (pipe2(input, O_CLOEXEC) != 0) return Fail("pipe2", path);
  if (pipe2(report, O_CLOEXEC) != 0) {
    close(input[0]);
    close(input[1]);
    return Fail("pipe2", path);
  }
  Fd in_read(input[0]), in_write(input[1]), report_read(report[0]), report_write(report[1]);
  const pid_t pid = fork();
  if (pid < 0) return Fail("fork", path);
  if (pid == 0) {
    dup2(in_read.get(), 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // What the monitor blocks and ignores is its own affair.
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(path, argv.data(), envp.data());
    const int err = errno;
    if (write(report_write.get(), &err, sizeof(err)) < 0) _exit(126);
    _exit(127);
  }
  in_read.reset();
  report_write.reset();
  // A hook may not read its stdin; a pipe takes 64 KiB, and a broken one is no failure.
  fcntl(in_write.get(), F_SETFL, O_NONBLOCK);
  const auto before = signal(SIGPIPE, SIG_IGN);
  size_t written = 0;
  const int64_t end = timeout > 0 ? Milliseconds() + static_cast<int64_t>(timeout) * 1000 : INT64_MAX;
  Fd pidfd(SysPidfdOpen(pid, 0));
  bool timed_out = false;
  for (;;) {
    while (in_write.ok() && written < state.size) {
      const ssize_t n = write(in_write.get(), state.data + written, state.size - written);
      if (n > 0) written += static_cast<size_t>(n);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0 && errno != EINTR) in_write.reset();
    }
    if (in_write.ok() && written == state.size) in_write.reset();
    pollfd p[2] = {{pidfd.get(), POLLIN, 0}, {in_write.get(), POLLOUT, 0}};
    const int64_t left = end == INT64_MAX ? -1 : end - Milliseconds();
    if (left < -1 || left == 0) {
      timed_out = true;
      break;
    }
    const int ready = poll(p, 2, static_cast<int>(left > 3600000 ? 3600000 : left));
    if (ready < 0 && errno != EINTR) break;
    if (p[0].revents) break;
    if (end != INT64_MAX && Milliseconds() >= end) {
      timed_out = true;
      break;
    }
  }
  if (timed_out) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  signal(SIGPIPE, before);
  int err = 0;
  if (read(report_read.get(), &err, sizeof(err)) == static_cast<ssize_t>(sizeof(err)))
    return Fail("execve", path, err);
  if (timed_out) return Fail("hook", path, ETIMEDOUT);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Ok();
  Failure f = Fail("hook", path, ECANCELED);
  if (WIFSIGNALED(status)) {
    snprintf(f.detail, sizeof(f.detail), "killed by signal %d", WTERMSIG(status));
  } else {
    snprintf(f.detail, sizeof(f.detail), "exit status %d", WEXITSTATUS(status));
  }
  (void)run;
  return f;
}

}  // namespace nsbox
