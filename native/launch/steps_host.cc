// Who: the monitor. Where: the host's namespaces. Rights: those of the caller of nsbox (root).
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "bpf/device_program.h"
#include "launch/files.h"
#include "launch/steps.h"
#include "launch/sys.h"

namespace nsbox {

Failure StepMkdirs(Run&, Reader& r) {
  const char* path = r.str();
  const uint32_t mode = r.u32();
  if (r.bad()) return Malformed();
  return MakeDirectories(path, mode);
}

Failure StepWriteFile(Run& run, Reader& r) {
  const char* path = r.str();
  const Bytes data = r.bytes();
  const bool optional = r.flag();
  if (r.bad()) return Malformed();
  Failure f = WriteWhole(path, data.data, data.size);
  if (!f || !optional) return f;
  ReportNotice(run, f.err);
  return Ok();
}

Failure StepProcWrite(Run& run, Reader& r) {
  const char* name = r.str();
  const Bytes data = r.bytes();
  if (r.bad()) return Malformed();
  char path[128];
  snprintf(path, sizeof(path), "/proc/%d/%s", run.pid, name);
  Failure f = WriteWhole(path, data.data, data.size);
  if (f) f.path = name;
  return f;
}

Failure StepCgroupOpen(Run& run, Reader& r) {
  const char* directory = r.str();
  const uint32_t slot = r.u32();
  if (r.bad()) return Malformed();
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/tasks", directory);
  Fd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file.ok()) return Fail("open", directory);
  run.slots.set(slot, file.release());
  return Ok();
}

// The kernel takes the rights of whoever opened the file. A thread that moves itself needs no
// cgroup_threadgroup_rwsem, whose writer waits for RCU (kernel/cgroup/cgroup.c, cgroup_procs_write_start).
Failure StepCgroupEnter(Run& run, Reader& r) {
  const Fd file = run.slots.take(r.u32());
  const char* directory = r.str();
  if (r.bad()) return Malformed();
  if (write(file.get(), "0", 1) != 1) return Fail("write", directory);
  return Ok();
}

Failure StepDeviceProgram(Run&, Reader& r) {
  const char* directory = r.str();
  const Bytes program = r.bytes();
  if (r.bad()) return Malformed();
  Fd group(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.ok()) return Fail("open", directory);
  const char* call = "bpf";
  const int err = AttachDeviceProgram(group.get(), program.data, program.size, &call);
  if (err != 0) return Fail(call, directory, err);
  return Ok();
}

Failure StepRlimits(Run& run, Reader& r) {
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const uint32_t resource = r.u32();
    rlimit64 limit{};
    limit.rlim_cur = r.u64();
    limit.rlim_max = r.u64();
    const char* name = r.str();
    if (r.bad()) return Malformed();
    if (prlimit64(run.pid, static_cast<__rlimit_resource>(resource), &limit, nullptr) != 0) {
      return Fail("prlimit", name);
    }
  }
  return Ok();
}

// Kills whatever is left in a cgroup: cgroup.kill (Linux 5.14), else each process until there is none.
Failure StepCgroupKill(Run&, Reader& r) {
  const char* directory = r.str();
  if (r.bad()) return Malformed();
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/cgroup.kill", directory);
  Failure f = WriteWhole(path, "1", 1);
  if (!f) return Ok();
  snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
  for (int round = 0; round < 50; round++) {
    FILE* file = fopen(path, "re");
    if (!file) return Ok();  // gone already
    int pid = 0;
    bool any = false;
    while (fscanf(file, "%d", &pid) == 1) {
      if (pid > 1) {
        kill(pid, SIGKILL);
        any = true;
      }
    }
    fclose(file);
    if (!any) return Ok();
    const timespec pause{0, 2000000};
    nanosleep(&pause, nullptr);
  }
  return Ok();
}

static void RemoveGroups(const char* directory) {
  if (rmdir(directory) == 0 || errno == ENOENT) return;
  DIR* d = opendir(directory);
  if (!d) return;
  while (dirent* e = readdir(d)) {
    if (e->d_type != DT_DIR || e->d_name[0] == '.') continue;
    char child[PATH_MAX];
    if (snprintf(child, sizeof(child), "%s/%s", directory, e->d_name) < PATH_MAX) RemoveGroups(child);
  }
  closedir(d);
  rmdir(directory);
}

// A group is busy (EBUSY) for a moment after its last process was killed: a zombie must be reaped first.
static Failure RemoveGroup(const char* directory) {
  for (int round = 0; round < 400; round++) {
    if (rmdir(directory) == 0 || errno == ENOENT) return Ok();
    RemoveGroups(directory);
    if (access(directory, F_OK) != 0) return Ok();
    const timespec pause{0, round < 20 ? 500000 : 5000000};
    nanosleep(&pause, nullptr);
  }
  return Fail("rmdir", directory, EBUSY);
}

Failure StepCgroupRemove(Run&, Reader& r) {
  const char* directory = r.str();
  return r.bad() ? Malformed() : RemoveGroup(directory);
}

Failure StepRemoveTree(Run&, Reader& r) {
  const char* directory = r.str();
  if (r.bad()) return Malformed();
  return RemoveTreeAt(AT_FDCWD, directory);
}

Failure StepUnlink(Run&, Reader& r) {
  const char* path = r.str();
  if (r.bad()) return Malformed();
  if (unlink(path) == 0 || errno == ENOENT) return Ok();
  return Fail("unlink", path);
}

// A listening unix socket, where `start` will knock (OCI). Long paths go through /proc/self/fd.
Failure StepListen(Run& run, Reader& r) {
  const char* directory = r.str();
  const char* name = r.str();
  const uint32_t slot = r.u32();
  if (r.bad()) return Malformed();
  Fd dir(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok()) return Fail("open", directory);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir.get(), name);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return Fail("socket", directory);
  const mode_t mask = umask(0077);
  const int bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  umask(mask);
  if (bound != 0) return Fail("bind", directory);
  if (listen(fd.get(), 4) != 0) return Fail("listen", directory);
  run.slots.set(slot, fd.release());
  return Ok();
}

// The program may open /dev/stdout anew (through /proc/self/fd), so pipes belong to its user. Other kinds of
// files keep their owner: they are the caller's.
Failure StepStdioOwner(Run& run, Reader& r) {
  const uint32_t uid = r.u32();
  const uint32_t gid = r.u32();
  if (r.bad()) return Malformed();
  for (uint32_t slot = 0; slot < 3; slot++) {
    struct stat st;
    const int fd = run.slots.get(slot);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
      if (fchown(fd, uid, gid) != 0) return Fail("fchown", "stdio");
    }
  }
  return Ok();
}

// Figures of the cgroup, read before it goes. A file that isn't there is left out.
Failure StepReport(Run& run, Reader& r) {
  run.reports.clear();
  for (uint32_t n = r.u32(); n > 0 && !r.bad(); n--) {
    const char* path = r.str();
    if (r.bad()) return Malformed();
    Fd fd(open(path, O_RDONLY | O_CLOEXEC));
    char buffer[4096];
    const ssize_t size = fd.ok() ? read(fd.get(), buffer, sizeof(buffer)) : -1;
    if (size > 0) run.reports.push_back({path, std::string(buffer, static_cast<size_t>(size))});
  }
  return Ok();
}

// Limits that were changed while the container ran, for the runs that the monitor starts itself. The file is written
// by `nsbox update`; there is none where nothing was changed. u8 kind (0 make a group, 1 write, 2 join, 3 write if
// possible), str path, str value. Passes: 0 before the clone, 1 after it (kind 2), 2 at the end of a run, which removes
// the groups that were made.
Failure StepLimitChanges(Run& run, Reader& r) {
  const char* file = r.str();
  const uint8_t pass = r.u8();
  if (r.bad()) return Malformed();
  Fd fd(open(file, O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return errno == ENOENT ? Ok() : Fail("open", file);
  char buffer[32768];
  const ssize_t size = read(fd.get(), buffer, sizeof(buffer));
  if (size < 0) return Fail("read", file);
  Reader changes(buffer, static_cast<size_t>(size));
  for (uint32_t n = changes.u32(); n > 0; n--) {
    const uint8_t kind = changes.u8();
    const char* path = changes.str();
    const Bytes value = changes.bytes();
    if (changes.bad()) return Fail("read", file, EBADMSG);
    if (pass == 2 ? kind != 0 : (pass == 1) != (kind == 2)) continue;
    char pid[16];
    Failure f;
    if (pass == 2) {
      f = RemoveGroup(path);
      if (f) return f;
      continue;
    }
    if (kind == 0) {
      f = MakeDirectories(path, 0755);
    } else if (kind == 1 || kind == 3) {
      f = WriteWhole(path, value.data, value.size);
    } else {
      f = WriteWhole(path, pid, static_cast<size_t>(snprintf(pid, sizeof(pid), "%d", run.pid)));
    }
    if (f && kind != 3) {
      f.path = file;
      return f;
    }
  }
  return Ok();
}

}  // namespace nsbox
