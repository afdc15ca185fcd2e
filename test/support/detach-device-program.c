// Takes every device program off a cgroup2 group, as systemd may at a daemon-reload. Prints how many there were.
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int Bpf(int command, union bpf_attr* attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int group = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) return perror(argv[1]), 1;
  uint32_t ids[64] = {0};
  union bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.query.target_fd = (uint32_t)group;
  attr.query.attach_type = BPF_CGROUP_DEVICE;
  attr.query.prog_ids = (uintptr_t)ids;
  attr.query.prog_cnt = 64;
  if (Bpf(BPF_PROG_QUERY, &attr) != 0) return perror("BPF_PROG_QUERY"), 1;
  const uint32_t count = attr.query.prog_cnt;
  for (uint32_t i = 0; i < count; i++) {
    memset(&attr, 0, sizeof(attr));
    attr.prog_id = ids[i];
    const int program = Bpf(BPF_PROG_GET_FD_BY_ID, &attr);
    if (program < 0) return perror("BPF_PROG_GET_FD_BY_ID"), 1;
    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)group;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    if (Bpf(BPF_PROG_DETACH, &attr) != 0) return perror("BPF_PROG_DETACH"), 1;
    close(program);
  }
  printf("%u\n", count);
  return 0;
}
