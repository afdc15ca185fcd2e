// The native parts under AddressSanitizer and UBSan: what they read from outside (plans, messages, directories)
// in whole, cut short, and mangled. Run by test/kernel/native-sanitize.test.ts; argv: an empty directory.
//
// Steps run as nobody, in a child each, on paths inside that directory: what is looked for is a read or write out
// of bounds, not what the kernel answers.
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "fs/tree.h"
#include "launch/files.h"
#include "launch/message.h"
#include "launch/plan.h"
#include "launch/steps.h"

namespace {

using namespace nsbox;

std::mt19937 engine(20240229);
uint32_t Below(uint32_t n) { return n ? static_cast<uint32_t>(engine() % n) : 0; }

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

struct Bytes32 {
  std::string s;
  Bytes32& u8(uint8_t v) { return s.push_back(static_cast<char>(v)), *this; }
  Bytes32& u32(uint32_t v) { return s.append(reinterpret_cast<const char*>(&v), 4), *this; }
  Bytes32& u64(uint64_t v) { return s.append(reinterpret_cast<const char*>(&v), 8), *this; }
  Bytes32& str(const std::string& v) {
    u32(static_cast<uint32_t>(v.size()));
    s.append(v).push_back('\0');
    return *this;
  }
};

// A copy at the end of its own allocation, so that one byte too many is seen.
std::vector<char> Exact(const std::string& s) { return std::vector<char>(s.begin(), s.end()); }

// What comes before the lists; see Plan::parse.
Bytes32 Header() {
  Bytes32 b;
  b.u32(kPlanMagic).u32(kPlanVersion);
  b.u32(1).u8(1).u8(0).u8(0).u8(1);  // stdio, stdin open, leave after start, die with runtime, trace
  b.u32(0).str("keep");
  return b;
}

std::string SomePlan() {
  Bytes32 b = Header();
  for (uint32_t l = 0; l < static_cast<uint32_t>(List::kCount); l++) {
    Bytes32 steps;
    steps.u32(static_cast<uint32_t>(Op::kMkdirs)).str("abc").u32(static_cast<uint32_t>(Op::kUmask)).str("");
    b.u32(2).str(steps.s);
  }
  return b.s;
}

void Plans() {
  const std::string whole = SomePlan();
  const auto count = [](const std::string& s) {
    const std::vector<char> bytes = Exact(s);
    Plan plan;
    if (!plan.parse(bytes.data(), bytes.size())) return -1;
    int steps = 0;
    size_t sum = 0;
    for (uint32_t l = 0; l < static_cast<uint32_t>(List::kCount); l++) {
      plan.list(static_cast<List>(l)).each([&](uint32_t, StepView step) {
        steps++;
        for (size_t i = 0; i < step.args.size; i++) sum += static_cast<unsigned char>(step.args.data[i]);
        return true;
      });
    }
    return steps + (sum == 1 ? 0 : 0);
  };
  CHECK(count(whole) == 12);
  for (size_t n = 0; n < whole.size(); n++) CHECK(count(whole.substr(0, n)) == -1);
  CHECK(count(whole + "x") == -1);
  for (int i = 0; i < 20000; i++) {
    std::string mangled = whole;
    for (uint32_t k = 0; k <= Below(4); k++)
      mangled[Below(static_cast<uint32_t>(mangled.size()))] = static_cast<char>(engine());
    count(mangled);
  }
}

void Messages() {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
  for (int i = 0; i < 2000; i++) {
    Outgoing message(Message::kFailed);
    const std::string text(Below(20000), 'x');
    message.u32(Below(100)).bytes(text.data(), text.size()).str("y").u64(engine());
    size_t size = 0;
    message.finish(&size);
    CHECK(size <= 16384);
    const int fds[3] = {pair[0], pair[1], 0};
    if (!Send(pair[0], message, fds, static_cast<int>(Below(4)))) continue;
    static Incoming in;
    CHECK(Receive(pair[1], &in));
    in.reader.u32();
    const Bytes got = in.reader.bytes();
    for (size_t k = 0; k < got.size; k += 64) CHECK(got.data[k] == 'x');
    for (int f = 0; f < in.fd_count; f++) close(in.fds[f]);
  }
  // Not one of our messages: too short, or without the size it claims.
  for (int i = 0; i < 2000; i++) {
    std::string junk(1 + Below(40), '\0');
    for (char& c : junk) c = static_cast<char>(engine());
    if (send(pair[0], junk.data(), junk.size(), 0) < 0) continue;
    static Incoming in;
    if (Receive(pair[1], &in)) {
      in.reader.bytes();
      in.reader.u64();
    }
  }
  close(pair[0]);
  close(pair[1]);
}

std::string SomeArguments() {
  static const char* const words[] = {"",          "a",       "no/such/thing", "a/../..",
                                      "rw,noexec", "overlay", "/nowhere",      "b"};
  Bytes32 b;
  for (uint32_t n = Below(9); n > 0; n--) {
    switch (Below(5)) {
      case 0:
        b.u8(static_cast<uint8_t>(Below(3)));
        break;
      case 1:
        b.u32(Below(6));
        break;
      case 2:
        b.u64(Below(1000));
        break;
      case 3:
        b.str(std::string(Below(600), 'n'));
        break;
      default:
        b.str(words[Below(8)]);
    }
  }
  return b.s;
}

// One operation with many arguments, in a child that can do no harm.
void Operation(uint32_t op, const char* directory) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(chdir(directory) == 0);
    CHECK(setgroups(0, nullptr) == 0 && setresgid(65534, 65534, 65534) == 0 &&
          setresuid(65534, 65534, 65534) == 0);
    alarm(60);
    engine.seed(op);
    for (int i = 0; i < 300; i++) {
      const std::string args = i == 0 ? "" : SomeArguments();
      Bytes32 steps;
      steps.u32(op).str(args);
      Bytes32 b = Header();
      b.u32(1).str(steps.s);
      for (uint32_t l = 1; l < static_cast<uint32_t>(List::kCount); l++) b.u32(0).str("");
      const std::vector<char> bytes = Exact(b.s);
      Plan plan;
      CHECK(plan.parse(bytes.data(), bytes.size()));
      Run run;
      run.plan = &plan;
      if (const Failure failure = RunList(run, List::kPrepare)) ReportFailure(-1, run, failure);
    }
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "operation %u ended with status %#x\n", op, static_cast<unsigned>(status));
    exit(1);
  }
}

void Steps(const char* directory) {
  for (uint32_t op = 0; op < 120; op++) {
    switch (static_cast<Op>(op)) {
      case Op::kExec:       // becomes another program
      case Op::kHook:       // starts one
      case Op::kReaper:     // forks, and waits
      case Op::kWaitStart:  // waits
      case Op::kFds:        // closes what the sanitizer writes to
        continue;
      default:
        Operation(op, directory);
    }
  }
}

void Trees(const char* directory) {
  const int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  CHECK(dir >= 0);
  CHECK(mkdirat(dir, "tree", 0700) == 0);
  int at = openat(dir, "tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int depth = 0; depth < 300; depth++) {
    for (int i = 0; i < 3; i++) {
      const int fd = openat(at, std::to_string(i).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      CHECK(fd >= 0);
      close(fd);
    }
    CHECK(symlinkat("/etc", at, "out") == 0);
    CHECK(mkdirat(at, "deeper", 0700) == 0);
    const int next = openat(at, "deeper", O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = next;
  }
  close(at);
  const int top = openat(dir, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::vector<DirEntry> entries;
  CHECK(ListDirectory(top, &entries) == 0 && entries.size() == 5);
  close(top);
  CHECK(RemoveTree(dir, "tree") == 0 && RemoveTree(dir, "tree") == 0);
  CHECK(faccessat(dir, "tree", F_OK, 0) != 0 && access("/etc/passwd", F_OK) == 0);
  close(dir);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Plans();
  Messages();
  Trees(argv[1]);
  if (geteuid() == 0) Steps(argv[1]);
  puts("clean");
  return 0;
}
