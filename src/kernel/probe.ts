import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    probeSyscalls(directory: string): Record<string, string>;
    probeIdmap(directory: string): string;
  }
}

/** Name of the errno each probe ended with; '' where it succeeded. None of them changes anything. */
export interface SyscallProbes {
  clone3: string;
  openat2: string;
  closeRange: string;
  fsopen: string;
  openTree: string;
  moveMount: string;
  mountSetattr: string;
  pidfdOpen: string;
  landlock: string;
  /** Loading a BPF_PROG_TYPE_CGROUP_DEVICE program. */
  bpfDevice: string;
  /** fsconfig(2) `lowerdir+` of overlay, as an fd (6.13) and as a path (6.7). */
  overlayLowerFd?: string;
  overlayLowerString?: string;
}

/**
 * Makes calls that can't succeed, to see whether the kernel knows them: ENOSYS where it, or a seccomp filter around
 * this process, doesn't.
 * @param directory an existing directory
 */
export function probeSyscalls(directory: string): SyscallProbes {
  return addon().probeSyscalls(directory) as unknown as SyscallProbes;
}

/**
 * Tries an idmapped, detached mount of a directory.
 * @returns '' where it works, else the name of the errno
 * @see mount_setattr(2)
 */
export function probeIdmap(directory: string): string {
  return addon().probeIdmap(directory);
}
