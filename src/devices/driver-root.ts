import { diskFiles, type HostFiles } from './host-files.js';

/** Always the machine's own: an administrator writes them for the host, not for a driver container. */
const OWN = ['/etc/cdi', '/var/run/cdi', '/run/cdi'];

/**
 * The tree in which drivers are looked for: the machine itself, or another root that holds a driver (a driver
 * container's, as /run/nvidia/driver). What such a root leaves empty of /proc, /sys and /dev is the machine's own.
 * @param root as NSBOX_DRIVER_ROOT has it; absent or '' is the machine
 */
export function driverFiles(root = ''): HostFiles {
  const machine = diskFiles();
  if (root === '' || root === '/') return machine;
  const other = diskFiles(root.replace(/\/+$/, ''));
  const own = [...OWN, ...['/proc', '/sys', '/dev'].filter((d) => other.readDirectory(d).length === 0)];
  const of = (file: string) => (own.some((d) => file === d || file.startsWith(`${d}/`)) ? machine : other);
  return {
    lstat: (file) => of(file).lstat(file),
    readText: (file) => of(file).readText(file),
    readBytes: (file, offset, length) => of(file).readBytes(file, offset, length),
    readDirectory: (file) => of(file).readDirectory(file),
    readLink: (file) => of(file).readLink(file),
    onHost: (file) => of(file).onHost(file),
  };
}
