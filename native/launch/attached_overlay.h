// An overlay for kernels whose overlayfs refuses layers that are attached nowhere (before 6.15).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/failure.h"
#include "launch/fd.h"

namespace nsbox {

struct AttachedOverlay {
  std::vector<const char*> lowers;  // topmost first; at most 500 (OVL_MAX_STACK)
  int userns = -1;                  // the lower layers are idmapped by this user namespace; -1: by none
  const char* upper = "";           // "" for none
  const char* work = "";
  std::string options;  // "key=value,flag"
  uint32_t attrs = 0;   // MOUNT_ATTR_… of the mount
};

// Mounts the overlay in a mount namespace that lives as long as this call; *mount is attached nowhere.
Failure MountAttachedOverlay(const AttachedOverlay& what, Fd* mount);

}  // namespace nsbox
