import { cpSync, existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';

/** A root filesystem of this machine's own C library, busybox and the CUDA program: nothing of the driver's. */
export function gpuRootfs(rootfs: string, program: string): void {
  const libraries = '/usr/lib/x86_64-linux-gnu';
  for (const d of ['bin', 'sbin', 'usr/bin', 'lib64', 'etc', 'proc', 'sys', 'dev', 'tmp', libraries]) {
    mkdirSync(path.join(rootfs, d), { recursive: true });
  }
  const from = [libraries, '/lib/x86_64-linux-gnu', '/usr/lib64', '/lib64'].find((d) =>
    existsSync(`${d}/libc.so.6`),
  );
  if (!from) throw new Error('no glibc found on this machine');
  const wanted = /^(ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libgcc_s|libresolv)\.so\.\d+$/;
  for (const name of readdirSync(from).filter((n) => wanted.test(n))) {
    cpSync(realpathSync(`${from}/${name}`), `${rootfs}${libraries}/${name}`);
  }
  cpSync(realpathSync('/lib64/ld-linux-x86-64.so.2'), `${rootfs}/lib64/ld-linux-x86-64.so.2`);
  cpSync('/sbin/ldconfig', `${rootfs}/sbin/ldconfig`);
  const busybox = ['/bin/busybox', path.join(packageRoot(), 'build/gpu/busybox')].find((f) => existsSync(f));
  if (!busybox) throw new Error('no busybox: apt-get install busybox-static');
  cpSync(realpathSync(busybox), `${rootfs}/bin/busybox`);
  for (const name of ['sh', 'ls', 'grep', 'sleep', 'cat']) symlinkSync('busybox', `${rootfs}/bin/${name}`);
  cpSync(program, `${rootfs}/cuda-check`);
}
