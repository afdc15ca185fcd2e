#include "launch/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "launch/files.h"
#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

namespace {

constexpr uint32_t kMaxJoins = 16;

struct Join {
  uint64_t flags = 0;  // CLONE_NEW… of what to join
  Fd fd;               // of a namespace, or a pidfd for several at once (setns(2), Linux 5.8)
};

}  // namespace

void KillSession(pid_t pid, int pidfd) {
  if (pid > 1) kill(-pid, SIGKILL);
  if (pidfd >= 0) SysPidfdSendSignal(pidfd, SIGKILL);
}

Launcher::Launcher(const Plan& plan, int runtime, int first_passed, int passed) : plan_(plan) {
  run_.plan = &plan;
  run_.runtime = runtime;
  for (int i = 0; i < 3; i++) {
    if (plan.stdio == Stdio::kInherit) run_.slots.set(static_cast<uint32_t>(i), fcntl(i, F_DUPFD_CLOEXEC, 3));
  }
  for (int i = 0; i < passed; i++) {
    fcntl(first_passed + i, F_SETFD, FD_CLOEXEC);
    run_.slots.set(static_cast<uint32_t>(3 + i), first_passed + i);
  }
  first_mount_slot_ = static_cast<uint32_t>(3 + passed);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 3; i++) dup2(null, i);
  if (null > 2) close(null);
}

void Launcher::Note(const Failure& failure) {
  error_code_ = failure.err;
  exit_code_ = 125;
  snprintf(error_, sizeof(error_), "%s %s: %s%s%s", failure.call, failure.path, strerror(failure.err),
           failure.detail[0] ? ": " : "", failure.detail);
  if (run_.runtime >= 0) ReportFailure(run_.runtime, run_, failure);
}

// Pipes and terminals are made anew for each run, so that the end of one run is the end of its output.
Failure Launcher::MakeStdio(Started* out) {
  if (plan_.stdio == Stdio::kInherit) return Ok();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return Fail("open", "/dev/null");
  run_.slots.set(0, null);
  if (plan_.stdio != Stdio::kPipes) {
    run_.slots.set(1, fcntl(null, F_DUPFD_CLOEXEC, 3));
    run_.slots.set(2, fcntl(null, F_DUPFD_CLOEXEC, 3));
    return Ok();
  }
  Fd* ours[] = {&out->stdin_pipe, &out->stdout_pipe, &out->stderr_pipe};
  for (uint32_t i = plan_.stdin_open ? 0 : 1; i < 3; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Fail("pipe2", "stdio");
    run_.slots.set(i, ends[i == 0 ? 0 : 1]);
    ours[i]->reset(ends[i == 0 ? 1 : 0]);
  }
  return Ok();
}

// u64 new namespaces, str cgroup v2 directory ("" none), str content of timens_offsets, flag keep user and
// network namespace for restarts, u32 n, (u64 flags, u8 kind: 0 path, 1 pid, str path, u32 pid)…
Failure Launcher::Clone(Reader& r) {
  uint64_t flags = r.u64();
  const char* cgroup_path = r.str();
  const Bytes time_offsets = r.bytes();
  keep_namespaces_ = r.flag();
  const uint32_t count = r.u32();
  Join joins[kMaxJoins];
  uint32_t n = 0;
  for (uint32_t i = 0; i < count && i < kMaxJoins - 2; i++) {
    joins[n].flags = r.u64();
    const uint8_t kind = r.u8();
    const char* path = r.str();
    const uint32_t pid = r.u32();
    if (r.bad()) return Malformed();
    joins[n].fd.reset(kind == 1 ? SysPidfdOpen(static_cast<pid_t>(pid), 0)
                                : open(path, O_RDONLY | O_CLOEXEC));
    if (!joins[n].fd.ok()) return Fail(kind == 1 ? "pidfd_open" : "open", path);
    if (joins[n].flags & CLONE_NEWUSER) run_.userns = fcntl(joins[n].fd.get(), F_DUPFD_CLOEXEC, 3);
    n++;
  }
  if (r.bad()) return Malformed();
  if (run_.replay) {  // the namespaces of the run before: their network is still wired
    if (kept_net_.ok()) {
      joins[n].flags = CLONE_NEWNET;
      joins[n++].fd.reset(fcntl(kept_net_.get(), F_DUPFD_CLOEXEC, 3));
      flags &= ~static_cast<uint64_t>(CLONE_NEWNET);
    }
    if (kept_userns_.ok()) {
      joins[n].flags = CLONE_NEWUSER;
      joins[n++].fd.reset(fcntl(kept_userns_.get(), F_DUPFD_CLOEXEC, 3));
      flags &= ~static_cast<uint64_t>(CLONE_NEWUSER);
    }
  }
  Fd cgroup;
  if (cgroup_path[0]) {
    cgroup.reset(open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.ok()) return Fail("open", cgroup_path);
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return Fail("socketpair");
  socket_.reset(pair[0]);
  Fd theirs(pair[1]);

  int pidfd = -1;
  CloneArgs args{};
  args.flags = CLONE_PIDFD | (cgroup.ok() ? kCloneIntoCgroup : 0);
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.cgroup = cgroup.ok() ? static_cast<uint64_t>(cgroup.get()) : 0;

  const bool staged = n > 0 || time_offsets.size > 0;
  if (!staged) {
    args.flags |= flags;
    const pid_t pid = SysClone3(&args);
    if (pid < 0) return Fail("clone3");
    if (pid == 0) {
      socket_.reset();
      Init(theirs.release());
    }
    run_.pid = pid;
    pidfd_.reset(pidfd);
    return Ok();
  }

  // A stage joins what exists and makes the rest, so that init is born inside all of it; init is the
  // monitor's child all the same (CLONE_PARENT). The stage is put into the cgroup, and init inherits it:
  // after joining a user namespace it would no longer have the right to choose one.
  const pid_t stage = SysClone3(&args);
  if (stage < 0) return Fail("clone3");
  if (stage == 0) {
    socket_.reset();
    Failure failure;
    uint64_t fresh = flags;
    if (time_offsets.size > 0) {  // time_namespaces(7): offsets are written before the first process enters
      if (unshare(0x80 /* CLONE_NEWTIME */) != 0) failure = Fail("unshare", "time");
      if (!failure) failure = WriteWhole("/proc/self/timens_offsets", time_offsets.data, time_offsets.size);
      fresh &= ~0x80ULL;
    }
    for (uint32_t pass = 0; pass < 2 && !failure; pass++) {  // the user namespace last: it takes our rights
      for (uint32_t i = 0; i < n && !failure; i++) {
        const bool user_only = joins[i].flags == CLONE_NEWUSER;
        if (user_only != (pass == 1)) continue;
        if (setns(joins[i].fd.get(), static_cast<int>(joins[i].flags)) != 0)
          failure = Fail("setns", "namespace");
      }
    }
    pid_t pid = -1;
    if (!failure) {
      CloneArgs inner{};
      inner.flags = fresh | CLONE_PARENT;
      pid = SysClone3(&inner);
      if (pid < 0) failure = Fail("clone3");
      if (pid == 0) Init(theirs.release());
    }
    if (failure) {
      run_.list = List::kClone;
      run_.index = 0;
      ReportFailure(theirs.get(), run_, failure);
      _exit(1);
    }
    Outgoing m(Message::kPid);
    m.u32(static_cast<uint32_t>(pid));
    Send(theirs.get(), m);
    _exit(0);
  }
  theirs.reset();
  Fd stage_pidfd(pidfd);
  Incoming in;
  const bool told = Receive(socket_.get(), &in);
  while (waitpid(stage, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!told || (in.type != Message::kPid && in.type != Message::kFailed)) return Fail("clone3", "", ECHILD);
  if (in.type == Message::kFailed) {
    in.reader.u32();
    in.reader.u32();
    const int err = static_cast<int>(in.reader.u32());
    Failure f;
    f.err = err;
    const char* call = in.reader.str();
    f.call = strcmp(call, "setns") == 0 ? "setns" : strcmp(call, "unshare") == 0 ? "unshare" : "clone3";
    return f;
  }
  run_.pid = static_cast<pid_t>(in.reader.u32());
  pidfd_.reset(SysPidfdOpen(run_.pid, 0));  // our own child, not yet reaped: the number is its own
  if (!pidfd_.ok()) return Fail("pidfd_open");
  return Ok();
}

// Runs in the container's first process. Everything it needs was made before the clone or comes with kGo.
void Launcher::Init(int socket) {
  run_.monitor = run_.error_to = socket;
  run_.runtime = -1;
  signal(SIGPIPE, SIG_DFL);  // the monitor ignores it, and what is ignored is inherited by the program
  for (int i = 0; i < 3; i++) {
    const int fd = run_.slots.get(static_cast<uint32_t>(i));
    if (fd >= 0) dup2(fd, i);
  }
  Incoming in;
  for (bool more = true; more;) {
    if (!Receive(socket, &in) || in.type != Message::kGo) _exit(125);
    const uint32_t count = in.reader.u32();
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t slot = in.reader.u32();
      if (static_cast<int>(i) < in.fd_count) run_.slots.set(slot, in.fds[i]);
    }
    more = in.reader.u32() != 0;
    run_.pid = static_cast<pid_t>(in.reader.u32());
  }
  const Failure failure = RunList(run_, List::kInit);
  ReportFailure(run_.error_to, run_, failure);
  _exit(failure.err == ENOENT ? 127 : failure.err == EACCES || failure.err == ENOEXEC ? 126 : 125);
}

bool Launcher::SendMounts() {
  uint32_t slot = first_mount_slot_;
  bool more = true;
  while (more) {
    uint32_t slots[Incoming::kMaxFds];
    int fds[Incoming::kMaxFds];
    int n = 0;
    for (; slot < run_.slots.size() && n < Incoming::kMaxFds; slot++) {
      if (run_.slots.get(slot) < 0) continue;
      slots[n] = slot;
      fds[n++] = run_.slots.get(slot);
    }
    more = slot < run_.slots.size();
    Outgoing m(Message::kGo);
    m.u32(static_cast<uint32_t>(n));
    for (int i = 0; i < n; i++) m.u32(slots[i]);
    m.u32(more ? 1 : 0).u32(static_cast<uint32_t>(run_.pid));
    if (!Send(socket_.get(), m, fds, n)) return false;
  }
  for (uint32_t i = first_mount_slot_; i < run_.slots.size(); i++) run_.slots.set(i, -1);
  return true;
}

// Passes messages between runtime and init until the program runs. See message.h.
bool Launcher::Converse(Started* out) {
  uint32_t granted = 0;   // bit per point
  uint32_t wanted = ~0U;  // the point that init waits for
  bool refused = false;
  Incoming in;
  for (;;) {
    pollfd p[2] = {{socket_.get(), POLLIN, 0}, {run_.runtime, POLLIN, 0}};
    if (poll(p, 2, -1) < 0) {
      if (errno == EINTR) continue;
      Note(Fail("poll"));
      return false;
    }
    if (p[1].revents) {
      char header[8];
      const ssize_t n = recv(run_.runtime, header, sizeof(header), MSG_WAITALL);
      if (n != static_cast<ssize_t>(
                   sizeof(header))) {  // the runtime died in the middle of a launch: nothing may stay
        run_.runtime = -1;
        return false;
      }
      uint32_t size, type;
      memcpy(&size, header, 4);
      memcpy(&type, header + 4, 4);
      uint32_t body[4] = {};
      if (size < 4 || size - 4 > sizeof(body) ||
          (size > 4 && recv(run_.runtime, body, size - 4, MSG_WAITALL) != static_cast<ssize_t>(size - 4))) {
        run_.runtime = -1;
        return false;
      }
      if (static_cast<Message>(type) == Message::kGranted && body[0] < 32) {
        granted |= 1U << body[0];
        refused = refused || body[1] == 0;
        if (refused) return false;
      }
      if (static_cast<Message>(type) == Message::kSignal)
        SysPidfdSendSignal(pidfd_.get(), static_cast<int>(body[0]));
    }
    if (p[0].revents) {
      if (!Receive(socket_.get(), &in)) {  // closed by execve
        socket_.reset();
        out->pid = run_.pid;
        if (plan_.keep.size == 0) TellStarted();  // else when it is on record
        return true;
      }
      switch (in.type) {
        case Message::kSync:
          wanted = in.reader.u32();
          if (wanted < 32 && !(granted & (1U << wanted)) && !(announced_ & (1U << wanted))) {
            Outgoing m(Message::kSync);
            m.u32(wanted).u32(static_cast<uint32_t>(run_.pid));
            if (run_.runtime >= 0) Send(run_.runtime, m);
            announced_ |= 1U << wanted;
          }
          break;
        case Message::kTerminal:
          if (plan_.stdio == Stdio::kRuntimeTerminal) {
            Outgoing m(Message::kTerminal);
            if (run_.runtime >= 0) Send(run_.runtime, m, in.fds, in.fd_count);
            for (int i = 0; i < in.fd_count; i++) close(in.fds[i]);
          } else if (in.fd_count > 0) {
            out->terminal.reset(in.fds[0]);
          }
          break;
        case Message::kReady: {
          out->pid = run_.pid;
          Outgoing m(Message::kReady);
          m.u32(static_cast<uint32_t>(run_.pid));
          if (run_.runtime >= 0) Send(run_.runtime, m);
          if (plan_.leave_after_start) return true;
          break;
        }
        case Message::kFailed: {
          in.reader.u32();
          in.reader.u32();
          error_code_ = static_cast<int>(in.reader.u32());
          const char* call = in.reader.str();
          exit_code_ = strcmp(call, "execve") != 0 ? 125 : error_code_ == ENOENT ? 127 : 126;
          const char* path = in.reader.str();
          const char* detail = in.reader.str();
          snprintf(error_, sizeof(error_), "%s %s: %s%s%s", call, path, strerror(error_code_),
                   detail[0] ? ": " : "", detail);
          Forward(in);
          return false;
        }
        case Message::kTrace:
        case Message::kNotice:
          Forward(in);
          break;
        default:
          break;
      }
    }
    if (wanted < 32 && (granted & (1U << wanted))) {
      Outgoing m(Message::kGranted);
      m.u32(wanted).u32(1);
      Send(socket_.get(), m);
      wanted = ~0U;
    }
  }
}

void Launcher::TellStarted() {
  if (run_.runtime < 0) return;
  Outgoing m(Message::kStarted);
  m.u32(static_cast<uint32_t>(run_.pid));
  Send(run_.runtime, m);
}

// Hands a packet of init on to the runtime as it is.
void Launcher::Forward(const Incoming& in) {
  if (run_.runtime < 0) return;
  uint32_t size;
  memcpy(&size, in.buffer, 4);
  for (size_t sent = 0; sent < size + 4;) {
    const ssize_t n = send(run_.runtime, in.buffer + sent, size + 4 - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    sent += static_cast<size_t>(n);
  }
}

bool Launcher::Launch(Started* out) {
  error_[0] = 0;
  error_code_ = 0;
  announced_ = 0;
  pidfd_.reset();
  run_.pid = -1;
  Failure failure = MakeStdio(out);
  if (!failure) failure = RunList(run_, List::kPrepare);
  if (!failure) {
    run_.list = List::kClone;
    run_.index = 0;
    plan_.list(List::kClone).each([&](uint32_t, StepView& step) {
      Reader r(step.args.data, step.args.size);
      failure = Clone(r);
      return false;
    });
  }
  if (!failure && run_.userns < 0) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/user", run_.pid);
    run_.userns = open(path, O_RDONLY | O_CLOEXEC);
  }
  if (!failure) failure = RunList(run_, List::kParent);
  if (run_.announced) announced_ = run_.announced;
  bool good = false;
  if (failure) {
    Note(failure);
  } else if (!SendMounts()) {
    Note(Fail("sendmsg", "init"));
  } else {
    good = Converse(out);
  }
  if (plan_.stdio != Stdio::kInherit || !good) {
    for (uint32_t i = 0; i < 3; i++) run_.slots.set(i, -1);
  } else if (plan_.keep.size == 0) {
    for (uint32_t i = 0; i < 3; i++) run_.slots.set(i, -1);  // the program has its own copies
  }
  if (good && keep_namespaces_ && !kept_net_.ok()) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/net", run_.pid);
    kept_net_.reset(open(path, O_RDONLY | O_CLOEXEC));
    kept_userns_.reset(fcntl(run_.userns, F_DUPFD_CLOEXEC, 3));
  }
  if (!good && pidfd_.ok()) {
    KillSession(run_.pid, pidfd_.get());
    while (waitpid(run_.pid, nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  socket_.reset();
  if (good) out->pidfd.reset(fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 3));
  if (!plan_.list(List::kClone).count) return false;
  run_.replay = run_.replay || good;
  return good;
}

void Launcher::EndRun(int code, int signal, const rusage& usage) {
  RunList(run_, List::kExit);
  if (run_.runtime < 0) return;
  Outgoing m(Message::kExited);
  m.u32(static_cast<uint32_t>(code)).u32(static_cast<uint32_t>(signal));
  m.u64(static_cast<uint64_t>(usage.ru_utime.tv_sec) * 1000000 +
        static_cast<uint64_t>(usage.ru_utime.tv_usec));
  m.u64(static_cast<uint64_t>(usage.ru_stime.tv_sec) * 1000000 +
        static_cast<uint64_t>(usage.ru_stime.tv_usec));
  m.u64(static_cast<uint64_t>(usage.ru_maxrss));
  m.u64(static_cast<uint64_t>(usage.ru_minflt)).u64(static_cast<uint64_t>(usage.ru_majflt));
  m.u32(static_cast<uint32_t>(run_.reports.size()));
  for (const Report& report : run_.reports)
    m.str(report.path).bytes(report.content.data(), report.content.size());
  Send(run_.runtime, m);
}

bool Launcher::Finish() {
  const Failure f = RunList(run_, List::kFinish);
  if (!f) return true;
  snprintf(error_, sizeof(error_), "%s %s: %s", f.call, f.path, f.detail[0] ? f.detail : strerror(f.err));
  return false;
}

}  // namespace nsbox
