import { statfsSync } from 'node:fs';
import path from 'node:path';

/** Magic numbers of statfs(2). */
const NAMES: Record<number, string> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlay',
  26985: 'nfs',
  801189825: 'zfs',
  4076150800: 'f2fs',
  1702057286: 'fuse',
  16914839: '9p',
  3393526350: 'bcachefs',
  2240043254: 'ramfs',
  4283649346: 'cifs',
  4266872130: 'smb3',
  3774210530: 'erofs',
  1936814952: 'squashfs',
  19780: 'vfat',
};

/** Name of the filesystem that holds a path, or would hold it once made. */
export function filesystemOf(directory: string): string {
  for (let at = path.resolve(directory); ; at = path.dirname(at)) {
    try {
      const { type } = statfsSync(at);
      return NAMES[type >>> 0] ?? `0x${(type >>> 0).toString(16)}`;
    } catch {
      if (at === '/') return 'unknown';
    }
  }
}
