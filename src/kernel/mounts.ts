import { closeSync } from 'node:fs';
import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    openOverlay(
      lowers: string[],
      upper: string,
      work: string,
      idmap: number,
      attrs: number,
      attached: boolean,
    ): number;
    userNamespace(start: number, size: number): number;
    attachMount(mount: number, directory: string): void;
    unmount(directory: string): void;
  }
}

const MOUNT_ATTR_RDONLY = 0x1;
const MOUNT_ATTR_NOSUID = 0x2;
const MOUNT_ATTR_NODEV = 0x4;
const MOUNT_ATTR_NOEXEC = 0x8;

export interface OverlayView {
  /** Directories, the LOWEST first. */
  readonly lowers: readonly string[];
  /** Absent: the view is read-only. */
  readonly upper?: { readonly directory: string; readonly work: string } | undefined;
  /** Shows the lower layers' ids 0… as start…, as a container with this range sees and writes them. */
  readonly idRange?: { readonly start: number; readonly size: number } | undefined;
  /** Makes it of layers that are attached in a passing mount namespace: overlayfs wants idmapped ones so before 6.15. */
  readonly attached?: boolean | undefined;
}

/**
 * Opens a merged view of layers as a directory fd, attached to no mount table: the kernel drops it with the fd.
 * Without an upper directory it can't be written; programs and devices in it can't be used.
 * @returns an O_PATH fd, good as dirfd of the *at calls; the caller closes it
 * @throws {code, syscall, path}
 * @see fsopen(2), fsmount(2), mount_setattr(2): Linux 5.2; idmapped layers 5.19
 */
export function openOverlay(view: OverlayView): number {
  const idmap = view.idRange ? addon().userNamespace(view.idRange.start, view.idRange.size) : -1;
  try {
    return addon().openOverlay(
      [...view.lowers].reverse(),
      view.upper?.directory ?? '',
      view.upper?.work ?? '',
      idmap,
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (view.upper ? 0 : MOUNT_ATTR_RDONLY),
      view.attached ?? false,
    );
  } finally {
    if (idmap >= 0) closeSync(idmap);
  }
}

/**
 * Gives a detached mount a place in this process's mount namespace, where it stays after the fd is closed.
 * @param mount as openOverlay gives it
 * @throws {code, syscall, path}
 * @see move_mount(2)
 */
export function attachMount(mount: number, directory: string): void {
  addon().attachMount(mount, directory);
}

/** Takes away the mount at a directory. @throws {code: 'EBUSY'} while something in it is open; EINVAL where none is */
export function unmount(directory: string): void {
  addon().unmount(directory);
}
