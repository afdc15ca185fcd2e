// Starting nsbox-init and talking to it. See src/kernel/launch.ts.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <memory>
#include <vector>

#include "addon/support.h"
#include "launch/fd.h"
#include "launch/sys.h"

namespace nsbox {
namespace {

// An fd from which the helper is executed: a read-only mount of its file, attached nowhere. Nothing that runs
// from it can write to the file, whatever it finds in /proc/self/exe (CVE-2019-5736), and its pages are
// shared by all monitors. Where mounts can't be cloned, a sealed copy in memory does the same at the price of
// those pages.
int OpenExecutable(const std::string& path) {
  Fd tree(SysOpenTree(AT_FDCWD, path.c_str(), kOpenTreeClone | kOpenTreeCloexec));
  if (tree.ok()) {
    MountAttr attr;
    attr.attr_set = kAttrRdonly | kAttrNosuid | kAttrNodev;
    if (SysMountSetattr(tree.get(), "", AT_EMPTY_PATH, &attr) == 0) return tree.release();
  }
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return -1;
  Fd copy(memfd_create("nsbox-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.ok()) return -1;
  char buffer[65536];
  ssize_t n;
  while ((n = read(file.get(), buffer, sizeof(buffer))) > 0) {
    if (write(copy.get(), buffer, static_cast<size_t>(n)) != n) return -1;
  }
  if (n < 0) return -1;
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return -1;
  return copy.release();
}

Napi::Value OpenInit(const Napi::CallbackInfo& info) {
  const std::string path = Str(info, 0);
  const int fd = OpenExecutable(path);
  if (fd < 0) return ThrowErrno(info.Env(), "open_tree", path);
  return Napi::Number::New(info.Env(), fd);
}

// What the child does between vfork and execve. It shares our memory: only system calls, no allocation, no
// return.
[[noreturn]] void Child(int exec_fd, char* const* argv, char* const* envp, const int* fds, int count,
                        bool new_session) {
  for (int i = 1; i < 65; i++) {  // handlers of ours must not run in it
    struct sigaction action;
    if (sigaction(i, nullptr, &action) == 0 && action.sa_handler != SIG_DFL) signal(i, SIG_DFL);
  }
  if (new_session) setsid();
  // fds[i] becomes i. They were all moved above `count` before, so none is overwritten before its turn.
  for (int i = 0; i < count; i++) {
    if (dup2(fds[i], i) < 0) _exit(125);
  }
  SysCloseRange(static_cast<unsigned>(count), ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  syscall(SYS_execveat, exec_fd, "", argv, envp, AT_EMPTY_PATH);
  _exit(127);
}

// spawnInit(execFd, plan: Buffer, stdio: [n, n, n], passed: number[], name, newSession) → [pid, controlFd]
Napi::Value SpawnInit(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const int exec_fd = Int(info, 0);
  auto plan = info[1].As<Napi::Buffer<char>>();
  auto stdio = info[2].As<Napi::Array>();
  auto passed = info[3].As<Napi::Array>();
  std::string name = Str(info, 4);
  const bool new_session = info[5].ToBoolean();

  Fd memory(memfd_create("nsbox-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.ok()) return ThrowErrno(env, "memfd_create");
  for (size_t done = 0; done < plan.Length();) {
    const ssize_t n = write(memory.get(), plan.Data() + done, plan.Length() - done);
    if (n < 0) return ThrowErrno(env, "write", "plan");
    done += static_cast<size_t>(n);
  }
  // Not F_SEAL_WRITE: it waits for the pages' other users and drains every CPU's list of new pages for that, 2 ms. Nobody has
  // a writable mapping of this file, so that new ones are refused (Linux 5.1) is as good.
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) !=
      0) {
    return ThrowErrno(env, "fcntl", "F_ADD_SEALS");
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return ThrowErrno(env, "socketpair");
  Fd ours(pair[0]), theirs(pair[1]);

  const int count = 5 + static_cast<int>(passed.Length());
  std::vector<Fd> moved;
  std::vector<int> fds;
  const auto move_up = [&](int fd) {
    moved.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, count));
    fds.push_back(moved.back().get());
    return moved.back().ok();
  };
  Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (uint32_t i = 0; i < 3; i++) {
    const int fd = stdio.Get(i).As<Napi::Number>().Int32Value();
    if (!move_up(fd < 0 ? null.get() : fd)) return ThrowErrno(env, "fcntl", "stdio");
  }
  if (!move_up(memory.get()) || !move_up(theirs.get())) return ThrowErrno(env, "fcntl", "F_DUPFD_CLOEXEC");
  for (uint32_t i = 0; i < passed.Length(); i++) {
    if (!move_up(passed.Get(i).As<Napi::Number>().Int32Value())) return ThrowErrno(env, "fcntl", "passed fd");
  }
  Fd executable(fcntl(exec_fd, F_DUPFD_CLOEXEC, count));

  std::string passed_count = std::to_string(passed.Length());
  char role[] = "nsbox-init";
  char* argv[] = {role, name.data(), passed_count.data(), nullptr};
  char* envp[] = {nullptr};
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // vfork(2): the cost doesn't depend on how large this process is. Only this thread waits, until the execve.
  const pid_t pid = vfork();
  if (pid == 0) Child(executable.get(), argv, envp, fds.data(), count, new_session);
  const int err = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return ThrowErrno(env, "vfork", "", err);
  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(0U, Napi::Number::New(env, pid));
  result.Set(1U, Napi::Number::New(env, ours.release()));
  return result;
}

// A socket watched by the environment's event loop: one callback with each chunk and the fds that came with
// it.
class Channel : public Napi::ObjectWrap<Channel> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Channel",
                       {InstanceMethod("send", &Channel::Send), InstanceMethod("close", &Channel::Close),
                        InstanceMethod("ref", &Channel::Ref), InstanceMethod("unref", &Channel::Unref),
                        InstanceMethod("pause", &Channel::Pause)});
  }

  // new Channel(fd, (chunk: Buffer | null, fds: number[]) => void); takes the fd over
  explicit Channel(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Channel>(info) {
    fd_ = Int(info, 0);
    callback_ = Napi::Persistent(info[1].As<Napi::Function>());
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(info.Env(), &loop);
    poll_ = new Poll;
    poll_->channel = this;
    uv_poll_init(loop, &poll_->handle, fd_);
    poll_->handle.data = poll_;
    uv_poll_start(&poll_->handle, UV_READABLE | UV_DISCONNECT, OnReadable);
    // A worker may be terminated while a monitor runs: its loop must not end with our handle in it.
    napi_add_async_cleanup_hook(info.Env(), OnCleanup, poll_, &poll_->cleanup);
    Reference();
  }
  ~Channel() override { Stop(); }

 private:
  void Reference() {
    if (!held_) Ref();
    held_ = true;
  }
  void Ref() { Napi::ObjectWrap<Channel>::Ref(); }

  Napi::Value Ref(const Napi::CallbackInfo& info) {
    if (poll_) uv_ref(reinterpret_cast<uv_handle_t*>(&poll_->handle));
    return info.Env().Undefined();
  }
  Napi::Value Unref(const Napi::CallbackInfo& info) {
    if (poll_) uv_unref(reinterpret_cast<uv_handle_t*>(&poll_->handle));
    return info.Env().Undefined();
  }

  // pause(on)
  Napi::Value Pause(const Napi::CallbackInfo& info) {
    if (poll_ && info[0].ToBoolean())
      uv_poll_stop(&poll_->handle);
    else if (poll_)
      uv_poll_start(&poll_->handle, UV_READABLE | UV_DISCONNECT, OnReadable);
    return info.Env().Undefined();
  }

  Napi::Value Send(const Napi::CallbackInfo& info) {
    auto data = info[0].As<Napi::Buffer<char>>();
    for (size_t sent = 0; fd_ >= 0 && sent < data.Length();) {
      const ssize_t n = send(fd_, data.Data() + sent, data.Length() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Napi::Boolean::New(info.Env(), false);
      sent += static_cast<size_t>(n);
    }
    return Napi::Boolean::New(info.Env(), fd_ >= 0);
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    Stop();
    return info.Env().Undefined();
  }

  // The libuv handle outlives the object until libuv has let go of it.
  struct Poll {
    uv_poll_t handle;
    Channel* channel;
    napi_async_cleanup_hook_handle cleanup;
  };

  void Stop() {
    if (poll_) {
      poll_->channel = nullptr;
      uv_poll_stop(&poll_->handle);
      uv_close(reinterpret_cast<uv_handle_t*>(&poll_->handle), [](uv_handle_t* h) {
        auto* poll = static_cast<Poll*>(h->data);
        napi_remove_async_cleanup_hook(poll->cleanup);
        delete poll;
      });
      poll_ = nullptr;
    }
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    if (held_) {
      held_ = false;
      Napi::ObjectWrap<Channel>::Unref();
    }
  }

  static void OnCleanup(napi_async_cleanup_hook_handle, void* data) {
    auto* poll = static_cast<Poll*>(data);
    if (poll->channel) poll->channel->Stop();
  }
  static void OnReadable(uv_poll_t* handle, int, int) {
    auto* poll = static_cast<Poll*>(handle->data);
    if (poll->channel) poll->channel->Read();
  }

  void Read() {
    Napi::Env env = Env();
    Napi::HandleScope scope(env);
    char buffer[65536];
    iovec iov{buffer, sizeof(buffer)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)];
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    const ssize_t n = recvmsg(fd_, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    Napi::Array fds = Napi::Array::New(env);
    for (cmsghdr* c = n > 0 ? CMSG_FIRSTHDR(&msg) : nullptr; c; c = CMSG_NXTHDR(&msg, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      int received[16];
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      memcpy(received, CMSG_DATA(c), count * sizeof(int));
      for (size_t i = 0; i < count; i++)
        fds.Set(static_cast<uint32_t>(i), Napi::Number::New(env, received[i]));
    }
    Napi::Value chunk =
        n > 0 ? Napi::Value(Napi::Buffer<char>::Copy(env, buffer, static_cast<size_t>(n))) : env.Null();
    Napi::Function callback = callback_.Value();
    if (n <= 0) Stop();
    callback.MakeCallback(env.Global(), {chunk, fds});
  }

  int fd_ = -1;
  bool held_ = false;
  Poll* poll_ = nullptr;
  Napi::FunctionReference callback_;
};

// reap(pid, wait): an ended child, [code, signal]; where it still runs that is waited for, or null
Napi::Value Reap(const Napi::CallbackInfo& info) {
  int status = 0;
  pid_t pid;
  const bool wait = info[1].ToBoolean();
  do pid = waitpid(Int(info, 0), &status, wait ? 0 : WNOHANG);
  while (pid < 0 && errno == EINTR);
  if (pid == 0) return info.Env().Null();
  if (pid < 0) return ThrowErrno(info.Env(), "waitpid");
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0U, Napi::Number::New(info.Env(), WIFEXITED(status) ? WEXITSTATUS(status) : 0));
  result.Set(1U, Napi::Number::New(info.Env(), WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  return result;
}

// pipe() → [read, write]
Napi::Value Pipe(const Napi::CallbackInfo& info) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ThrowErrno(info.Env(), "pipe2");
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0U, Napi::Number::New(info.Env(), ends[0]));
  result.Set(1U, Napi::Number::New(info.Env(), ends[1]));
  return result;
}

// closeFd(fd): for fds that the addon made. Node's own close warns about them in a worker.
Napi::Value CloseFd(const Napi::CallbackInfo& info) {
  close(Int(info, 0));
  return info.Env().Undefined();
}

}  // namespace

void RegisterLaunch(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "openInit", OpenInit);
  Export(env, exports, "spawnInit", SpawnInit);
  Export(env, exports, "reap", Reap);
  Export(env, exports, "pipe", Pipe);
  Export(env, exports, "closeFd", CloseFd);
  exports.Set("Channel", Channel::Define(env));
}

}  // namespace nsbox
