import { closeSync, openSync } from 'node:fs';
import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    projectSet(fd: number, id: number): void;
    quotaGet(fd: number, id: number): [limit: number, used: number, inodes: number];
    quotaSet(fd: number, id: number, blocks: number): void;
  }
}

/** What a project may take and takes, in bytes; `limit` 0: as much as there is. */
export interface ProjectQuota {
  limit: number;
  used: number;
  inodes: number;
}

function withDirectory<T>(directory: string, work: (fd: number) => T): T {
  const fd = openSync(directory, 'r');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Puts an empty directory, and what is made below it, into a project of its filesystem.
 * @throws the addon's error: ENOTTY or EOPNOTSUPP where the filesystem has no projects. @see FS_IOC_FSSETXATTR in ioctl_xfs_fsgetxattr(2)
 */
export function setProject(directory: string, id: number): void {
  withDirectory(directory, (fd) => addon().projectSet(fd, id));
}

/**
 * @param directory any of the filesystem
 * @throws the addon's error: ESRCH or ENOSYS where project quotas aren't switched on (Linux before 5.14: ENOSYS). @see quotactl_fd(2)
 */
export function projectQuota(directory: string, id: number): ProjectQuota {
  try {
    const [limit, used, inodes] = withDirectory(directory, (fd) => addon().quotaGet(fd, id));
    return { limit, used, inodes };
  } catch (error) {
    // xfs keeps nothing of a project that never was.
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && syscall === 'quotactl_fd') return { limit: 0, used: 0, inodes: 0 };
    throw error;
  }
}

/** Limits a project; 0 takes the limit away. Rounded up to blocks of 1 KiB. @see quotactl_fd(2) */
export function limitProject(directory: string, id: number, bytes: number): void {
  withDirectory(directory, (fd) => addon().quotaSet(fd, id, Math.ceil(bytes / 1024)));
}
