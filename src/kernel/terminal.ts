import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    setWindowSize(fd: number, rows: number, columns: number): void;
  }
}

/**
 * Tells a terminal its size; its foreground processes get SIGWINCH. Works on either end of a pty.
 * @see ioctl_tty(2) TIOCSWINSZ
 */
export function setWindowSize(fd: number, size: { rows: number; columns: number }): void {
  addon().setWindowSize(fd, Math.min(size.rows, 65535), Math.min(size.columns, 65535));
}
