// Project quotas: how much a directory tree may take. See src/kernel/quota.ts.
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon/support.h"

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

namespace nsbox {

namespace {

constexpr unsigned kProject = 2;  // PRJQUOTA
constexpr unsigned Command(unsigned what) { return (what << 8) | kProject; }

// projectSet(fd, id): what is made below the directory belongs to the project
Napi::Value ProjectSet(const Napi::CallbackInfo& info) {
  struct fsxattr attr = {};
  if (ioctl(Int(info, 0), FS_IOC_FSGETXATTR, &attr) != 0)
    return ThrowErrno(info.Env(), "ioctl", "FS_IOC_FSGETXATTR");
  attr.fsx_projid = Uint(info, 1);
  attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (ioctl(Int(info, 0), FS_IOC_FSSETXATTR, &attr) != 0)
    return ThrowErrno(info.Env(), "ioctl", "FS_IOC_FSSETXATTR");
  return info.Env().Undefined();
}

// quotaGet(fd, id) → [limit in bytes, bytes used, inodes used] of the project on the fd's filesystem
Napi::Value QuotaGet(const Napi::CallbackInfo& info) {
  struct if_dqblk block = {};
  if (syscall(SYS_quotactl_fd, Int(info, 0), Command(Q_GETQUOTA), Uint(info, 1), &block) != 0)
    return ThrowErrno(info.Env(), "quotactl_fd", "Q_GETQUOTA");
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  // Limits are counted in blocks of 1 KiB, use in bytes.
  result[0u] = Napi::Number::New(info.Env(), static_cast<double>(block.dqb_bhardlimit) * 1024);
  result[1u] = Napi::Number::New(info.Env(), static_cast<double>(block.dqb_curspace));
  result[2u] = Napi::Number::New(info.Env(), static_cast<double>(block.dqb_curinodes));
  return result;
}

// quotaSet(fd, id, limit in blocks of 1 KiB; 0: none)
Napi::Value QuotaSet(const Napi::CallbackInfo& info) {
  struct if_dqblk block = {};
  block.dqb_bhardlimit = static_cast<uint64_t>(Int64(info, 2));
  block.dqb_bsoftlimit = block.dqb_bhardlimit;
  block.dqb_valid = QIF_BLIMITS;
  if (syscall(SYS_quotactl_fd, Int(info, 0), Command(Q_SETQUOTA), Uint(info, 1), &block) != 0)
    return ThrowErrno(info.Env(), "quotactl_fd", "Q_SETQUOTA");
  return info.Env().Undefined();
}

}  // namespace

void RegisterQuota(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "projectSet", ProjectSet);
  Export(env, exports, "quotaGet", QuotaGet);
  Export(env, exports, "quotaSet", QuotaSet);
}

}  // namespace nsbox
