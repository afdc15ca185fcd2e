import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    attachDeviceProgram(directory: string, instructions: Uint8Array): void;
  }
}

/**
 * Loads a device program and attaches it to a cgroup2 group; one of ours that is there already is replaced at once.
 * @param directory the group
 * @param instructions eBPF, 8 bytes each, as deviceProgram() makes them
 * @throws {code, syscall, path} EPERM without CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN), EINVAL for a program the
 * verifier refuses
 * @see bpf(2), Documentation/bpf/prog_cgroup_sockopt.rst of the kernel for the attach flags
 */
export function attachDeviceProgram(directory: string, instructions: Uint8Array): void {
  addon().attachDeviceProgram(directory, instructions);
}
