import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

/** Where Debian's busybox-static puts it. */
export const BUSYBOX = '/bin/busybox';

const APPLETS =
  'cat chmod chown dd df echo env false find grep head hostname id ip kill ls mkdir mknod mount mv nc ping printf ps readlink rm sed seq sh sleep sort stat stty tail tee test touch tr true tty umount uname wc wget which whoami yes'.split(
    ' ',
  );

/** Why tests that need busybox can't run here; false where they can. */
export const noBusybox = existsSync(BUSYBOX)
  ? false
  : `${BUSYBOX} is missing: apt-get install busybox-static`;

/** A small root filesystem in a fresh directory, removed with the scope. */
export class TestRoot implements Disposable {
  readonly directory: string;
  readonly rootfs: string;
  /** root and state for nsbox, of this test alone. */
  readonly root: string;
  readonly state: string;

  constructor(name: string) {
    this.directory = mkdtempSync(`/tmp/nsbox-test-${name}-`);
    this.rootfs = path.join(this.directory, 'rootfs');
    this.root = path.join(this.directory, 'root');
    this.state = path.join(this.directory, 'state');
    for (const d of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev', 'app']) {
      mkdirSync(path.join(this.rootfs, d), { recursive: true });
    }
    copyFileSync(BUSYBOX, path.join(this.rootfs, 'bin/busybox'));
    for (const applet of APPLETS) symlinkSync('busybox', path.join(this.rootfs, 'bin', applet));
    this.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n');
    this.write('etc/group', 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n');
  }

  /** Writes a file of the root filesystem. */
  write(file: string, content: string | Uint8Array, mode = 0o644): void {
    const full = path.join(this.rootfs, file);
    mkdirSync(path.dirname(full), { recursive: true });
    writeFileSync(full, content, { mode });
  }

  /** What the library's calls need to stay in here. */
  get options(): { rootfs: string; root: string; state: string } {
    return { rootfs: this.rootfs, root: this.root, state: this.state };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
