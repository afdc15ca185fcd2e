// What clients ask of the monitor. See keep_clients.h.
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "init/keeper.h"
#include "launch/sys.h"

namespace nsbox {

namespace {

constexpr size_t kControlMax = 8192;
// A client whose answers pile up isn't one of ours.
constexpr size_t kPendingMax = 16 << 20;

}  // namespace

void Keeper::Accept() {
  while (listen_.ok()) {
    const int fd = accept4(listen_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno == EINTR) continue;
    if (fd < 0) return;
    AddClient(fd);
  }
}

void Keeper::AddClient(int fd) {
  Client* client = new (std::nothrow) Client;
  if (!client) {
    close(fd);
    return;
  }
  client->fd.reset(fd);
  client->next = clients_;
  clients_ = client;
  Small hello;
  hello.u8(static_cast<uint8_t>(Tell::kHello)).u32(kKeepVersion).u8(config_.tty).u8(config_.open_stdin);
  hello.u8(state_ == State::kRestarting).u32(static_cast<uint32_t>(program_.pid > 0 ? program_.pid : 0));
  if (!SendFrame(*client, kFrameControl, hello.bytes, hello.size))
    Drop(client);
  else
    WatchClient(client);
}

void Keeper::Drop(Client* client) {
  for (Client** at = &clients_; *at; at = &(*at)->next) {
    if (*at != client) continue;
    *at = client->next;
    break;
  }
  const bool had_stdin = client->in && !client->done;
  delete client;  // closes the socket, which takes it out of epoll
  if (had_stdin && config_.stdin_once && state_ == State::kRunning) CloseStdin();
  if (state_ == State::kRunning) WatchOutputs();
}

void Keeper::DropAll() {
  while (clients_) {
    Client* next = clients_->next;
    delete clients_;
    clients_ = next;
  }
}

void Keeper::WatchClient(Client* client) {
  const uint32_t want = (client->paused ? 0U : static_cast<uint32_t>(EPOLLIN)) |
                        (client->blocked() ? static_cast<uint32_t>(EPOLLOUT) : 0U);
  if (want == client->events) return;
  epoll_event event{};
  event.events = want;
  event.data.u64 = reinterpret_cast<uint64_t>(client);
  const int op = want == 0 ? EPOLL_CTL_DEL : client->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  epoll_ctl(epoll_.get(), op, client->fd.get(), &event);
  client->events = want;
}

void Keeper::OnClient(Client* client, uint32_t events) {
  if (events & (EPOLLOUT | EPOLLERR)) {
    if (!SendPending(*client)) {
      Drop(client);
      return;
    }
    WatchClient(client);
    if (state_ == State::kRunning) WatchOutputs();
  }
  if (events & (EPOLLIN | EPOLLHUP)) ReadClient(client);
}

void Keeper::ResumePaused() {
  for (Client* c = clients_; c; c = c->next) {
    if (!c->paused) continue;
    c->paused = false;
    WatchClient(c);
  }
}

// Reads a frame, or what of it there is. Stdin goes into the one buffer for it; while that is in use the client waits.
void Keeper::ReadClient(Client* client) {
  for (int rounds = 0; rounds < 16; rounds++) {
    void* into;
    size_t room;
    const bool in_head = client->head_size < sizeof(client->head);
    const uint8_t stream = client->head[0];
    if (in_head) {
      into = client->head + client->head_size;
      room = sizeof(client->head) - client->head_size;
    } else if (stream == kFrameStdin && !client->done && program_.stdin_fd >= 0 && !stdin_closing_) {
      if (in_size_ > 0) {
        client->paused = true;
        WatchClient(client);
        return;
      }
      into = in_;
      room = client->left < sizeof(in_) ? client->left : sizeof(in_);
    } else {
      into = io_;
      room = client->left < sizeof(io_) ? client->left : sizeof(io_);
    }
    const ssize_t n = recv(client->fd.get(), into, room, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      Drop(client);
      return;
    }
    const size_t got = static_cast<size_t>(n);
    if (in_head) {
      client->head_size += got;
      if (client->head_size < sizeof(client->head)) continue;
      const uint8_t* h = client->head;
      client->left = static_cast<uint32_t>(h[4]) << 24 | static_cast<uint32_t>(h[5]) << 16 |
                     static_cast<uint32_t>(h[6]) << 8 | h[7];
      client->control.clear();
      if (client->left > (h[0] == kFrameControl ? kControlMax : kFrameMax * 64)) {
        Drop(client);
        return;
      }
    } else {
      client->left -= static_cast<uint32_t>(got);
      if (into == in_) {
        in_size_ = got;
        FlushStdin();
      } else if (stream == kFrameControl) {
        client->control.append(io_, got);
      }
    }
    if (client->left > 0) continue;
    client->head_size = 0;
    if (client->head[0] != kFrameControl || client->done || client->control.empty()) continue;
    Answer(client);
    return;  // it may be gone; whatever it said next is reported by epoll again
  }
}

void Keeper::Answer(Client* client) {
  Reader r(client->control.data(), client->control.size());
  const Ask ask = static_cast<Ask>(r.u8());
  int err = 0;
  switch (ask) {
    case Ask::kAttach: {
      const uint8_t bits = r.u8();
      const uint32_t rows = r.u32(), columns = r.u32();
      if (r.bad()) break;
      client->in = (bits & 1) != 0;
      client->out = (bits & 2) != 0;
      client->err = (bits & 4) != 0;
      if (rows > 0 && columns > 0) Resize(rows, columns);
      break;
    }
    case Ask::kResize: {
      const uint32_t rows = r.u32(), columns = r.u32();
      if (!r.bad()) Resize(rows, columns);
      break;
    }
    case Ask::kCloseStdin:
      if (client->in && config_.stdin_once) CloseStdin();
      client->in = false;
      return;
    case Ask::kStop: {
      const uint32_t signal = r.u32(), timeout = r.u32();
      if (!r.bad()) err = Stop(signal, timeout);
      if (state_ == State::kEnded) return;  // it was waiting for a restart: every client has been told
      break;
    }
    case Ask::kSignal: {
      const uint32_t signal = r.u32();
      if (r.bad()) break;
      if (signal == SIGKILL || signal == config_.stop_signal) stopped_ = true;
      err = Kill(static_cast<int>(signal));
      if (state_ == State::kEnded) return;
      break;
    }
    case Ask::kWait:
      break;
    case Ask::kRestartPolicy: {
      const uint8_t name = r.u8();
      const uint32_t maximum = r.u32();
      if (r.bad() || name > static_cast<uint8_t>(Restart::kUnlessStopped)) {
        err = EINVAL;
        break;
      }
      restart_ = static_cast<Restart>(name);
      restart_max_ = maximum;
      break;
    }
    case Ask::kKeep:
      auto_remove_ = false;
      break;
    case Ask::kEventAttributes: {
      const char* text = r.str();
      if (!r.bad() && text[0] == '{')
        attributes_ = text;
      else
        err = EINVAL;
      break;
    }
    default:
      err = ENOSYS;
  }
  if (r.bad()) err = EINVAL;
  Ack(client, ask, err);
}

bool Keeper::Ack(Client* client, Ask ask, int err) {
  Small ack;
  ack.u8(static_cast<uint8_t>(Tell::kAck)).u32(static_cast<uint32_t>(ask)).u32(static_cast<uint32_t>(err));
  if (client->pending.size() > kPendingMax || !SendFrame(*client, kFrameControl, ack.bytes, ack.size)) {
    Drop(client);
    return false;
  }
  WatchClient(client);
  return true;
}

int Keeper::Stop(uint32_t signal, uint32_t timeout_ms) {
  stopped_ = true;
  if (state_ == State::kRestarting) {
    SetTimer(Timer::kNone, 0);
    Event("stop");
    End();
    return 0;
  }
  stop_event_ = true;
  const int err = Kill(static_cast<int>(signal ? signal : config_.stop_signal));
  if (err) return err;
  const uint32_t ms = timeout_ms == kStopDefault ? config_.stop_timeout_ms : timeout_ms;
  if (ms != kStopNever) SetTimer(Timer::kKill, ms);
  return 0;
}

int Keeper::Kill(int signal) {
  if (state_ == State::kRestarting) {
    if (stopped_) {
      SetTimer(Timer::kNone, 0);
      End();
    }
    return 0;
  }
  if (program_.pidfd < 0) return ESRCH;
  if (SysPidfdSendSignal(program_.pidfd, signal) != 0) return errno;
  char number[12];
  snprintf(number, sizeof(number), "%d", signal);
  Event("kill", "signal", number);
  return 0;
}

void Keeper::Resize(uint32_t rows, uint32_t columns) {
  if (program_.pty_fd < 0) return;
  winsize size{};
  size.ws_row = static_cast<uint16_t>(rows);
  size.ws_col = static_cast<uint16_t>(columns);
  ioctl(program_.pty_fd, TIOCSWINSZ, &size);
}

void Keeper::TellExit(bool restarting) {
  Small exit;
  exit.u8(static_cast<uint8_t>(Tell::kExit)).u32(static_cast<uint32_t>(run_.exit_code));
  exit.u32(static_cast<uint32_t>(run_.signal)).u8(run_.oom_killed).u8(restarting);
  for (Client* c = clients_; c;) {
    Client* next = c->next;
    if (!c->done) {
      c->in = c->out = c->err = false;
      c->done = true;
      c->paused = false;
      if (!SendFrame(*c, kFrameControl, exit.bytes, exit.size))
        Drop(c);
      else
        WatchClient(c);
    }
    c = next;
  }
}

}  // namespace nsbox
