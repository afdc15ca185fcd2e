// What flows through the monitor: the program's output to log and clients, clients' input to the program.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "init/keeper.h"

namespace nsbox {

namespace {

void SetNonblocking(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void CloseFd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// As much as is drained at a program's end: full pipes and more, but not what someone may go on writing for ever.
constexpr size_t kDrainLimit = 4 << 20;

}  // namespace

void Keeper::OpenStreams() {
  SetNonblocking(program_.stdin_fd);
  SetNonblocking(program_.stdout_fd);
  SetNonblocking(program_.stderr_fd);
  SetNonblocking(program_.pty_fd);
  if (program_.pty_fd >= 0) {
    program_.stdin_fd = fcntl(program_.pty_fd, F_DUPFD_CLOEXEC, 3);
    // With a slave of our own the master never says EIO, also while no process of the container has it open.
    slave_.reset(ioctl(program_.pty_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  in_at_ = in_size_ = 0;
  stdin_watched_ = stdin_closing_ = false;
}

void Keeper::CloseStreams() {
  CloseFd(program_.stdin_fd);
  CloseFd(program_.stdout_fd);
  CloseFd(program_.stderr_fd);
  CloseFd(program_.pty_fd);
  slave_.reset();
  log_.end(LogWriter::kStdout);
  log_.end(LogWriter::kStderr);
  in_at_ = in_size_ = 0;
  stdin_watched_ = false;
  ResumePaused();
}

bool Keeper::AnyBlocked() const {
  for (const Client* c = clients_; c; c = c->next) {
    if (c->blocked()) return true;
  }
  return false;
}

// Output is read only while every client keeps up. Taken out of epoll otherwise, which would report a hang-up for ever.
void Keeper::WatchOutputs() {
  const bool want = state_ == State::kRunning && !AnyBlocked();
  if (want == outputs_watched_) return;
  outputs_watched_ = want;
  const struct {
    int fd;
    Source source;
  } outputs[] = {{program_.stdout_fd, kStdout}, {program_.stderr_fd, kStderr}, {program_.pty_fd, kTerminal}};
  for (const auto& o : outputs) {
    if (o.fd < 0) continue;
    if (want)
      Watch(o.fd, o.source, EPOLLIN);
    else
      Unwatch(o.fd);
  }
}

void Keeper::EndStream(Source source) {
  int& fd = source == kStdout ? program_.stdout_fd : source == kStderr ? program_.stderr_fd : program_.pty_fd;
  CloseFd(fd);  // which also takes it out of epoll
  log_.end(source == kStderr ? LogWriter::kStderr : LogWriter::kStdout);
}

void Keeper::ReadOutput(Source source) {
  const int fd = source == kStdout   ? program_.stdout_fd
                 : source == kStderr ? program_.stderr_fd
                                     : program_.pty_fd;
  if (fd < 0) return;
  const ssize_t n = read(fd, io_, sizeof(io_));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    EndStream(source);
    return;
  }
  const bool err = source == kStderr;
  log_.write(err ? LogWriter::kStderr : LogWriter::kStdout, io_, static_cast<size_t>(n));
  Deliver(err ? kFrameStderr : kFrameStdout, io_, static_cast<size_t>(n));
  WatchOutputs();
}

// Reads what is left after the program's end, without regard to slow clients: it is bounded by the pipes' size.
void Keeper::Drain() {
  for (Source source : {kStdout, kStderr, kTerminal}) {
    size_t total = 0;
    for (;;) {
      int& fd = source == kStdout   ? program_.stdout_fd
                : source == kStderr ? program_.stderr_fd
                                    : program_.pty_fd;
      if (fd < 0 || total > kDrainLimit) break;
      const ssize_t n = read(fd, io_, sizeof(io_));
      if (n < 0 && errno == EINTR) continue;
      if (n == 0) EndStream(source);
      if (n <= 0) break;
      total += static_cast<size_t>(n);
      log_.write(source == kStderr ? LogWriter::kStderr : LogWriter::kStdout, io_, static_cast<size_t>(n));
      Deliver(source == kStderr ? kFrameStderr : kFrameStdout, io_, static_cast<size_t>(n));
    }
  }
}

void Keeper::Deliver(uint8_t stream, const char* data, size_t size) {
  for (Client* c = clients_; c;) {
    Client* next = c->next;
    if (stream == kFrameStderr ? c->err : c->out) {
      if (!SendFrame(*c, stream, data, size))
        Drop(c);
      else if (c->blocked())
        WatchClient(c);
    }
    c = next;
  }
}

// Writes kept input to the program; what it doesn't take now waits for EPOLLOUT.
void Keeper::FlushStdin() {
  while (in_at_ < in_size_ && program_.stdin_fd >= 0) {
    const ssize_t n = write(program_.stdin_fd, in_ + in_at_, in_size_ - in_at_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if (!stdin_watched_) Watch(program_.stdin_fd, kStdin, EPOLLOUT);
      stdin_watched_ = true;
      return;
    }
    if (n < 0) {  // EPIPE: the program has closed its stdin
      CloseFd(program_.stdin_fd);
      stdin_watched_ = false;
      break;
    }
    in_at_ += static_cast<size_t>(n);
  }
  in_at_ = in_size_ = 0;
  if (stdin_watched_) Unwatch(program_.stdin_fd);
  stdin_watched_ = false;
  if (stdin_closing_) CloseFd(program_.stdin_fd);
  ResumePaused();
}

// The program sees the end of its stdin once it has read what was sent before. A terminal has no such end.
void Keeper::CloseStdin() {
  if (config_.tty) return;
  stdin_closing_ = true;
  if (in_size_ == 0) CloseFd(program_.stdin_fd);
}

}  // namespace nsbox
