import { UnsupportedError } from '../base/index.js';
import { exists, type HostFiles, realPath } from './host-files.js';

/** Where an image's own loader looks for libraries. */
export interface ImageLayout {
  /** Absolute directory for 64-bit libraries, no link in it. */
  lib64: string;
  /** For 32-bit ones; undefined where the image has no 32-bit loader. */
  lib32: string | undefined;
  /** The image's ldconfig; undefined where it has none. */
  ldconfig: string | undefined;
}

const ARCHITECTURES: Record<
  string,
  { triplet: string; triplet32: string; loader: string[]; loader32: string[] }
> = {
  x64: {
    triplet: 'x86_64-linux-gnu',
    triplet32: 'i386-linux-gnu',
    loader: ['/lib64/ld-linux-x86-64.so.2', '/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'],
    loader32: ['/lib/ld-linux.so.2', '/lib/i386-linux-gnu/ld-linux.so.2'],
  },
  arm64: {
    triplet: 'aarch64-linux-gnu',
    triplet32: 'arm-linux-gnueabihf',
    loader: ['/lib/ld-linux-aarch64.so.1', '/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1'],
    loader32: ['/lib/ld-linux-armhf.so.3', '/lib/arm-linux-gnueabihf/ld-linux-armhf.so.3'],
  },
};

/** The layout of Debian and Ubuntu, which is taken where no image is at hand to look into. */
export function multiarchLayout(arch: string = process.arch): ImageLayout {
  const { triplet, triplet32 } =
    ARCHITECTURES[arch] ?? (ARCHITECTURES['x64'] as (typeof ARCHITECTURES)[string]);
  return { lib64: `/usr/lib/${triplet}`, lib32: `/usr/lib/${triplet32}`, ldconfig: undefined };
}

/**
 * Looks into an image: multiarch directories (Debian), lib64 (Red Hat, SUSE), plain lib (Arch).
 * @throws UnsupportedError for an image whose only C library is musl: the driver's libraries need glibc
 */
export function imageLayout(image: HostFiles, arch: string = process.arch): ImageLayout {
  const table = ARCHITECTURES[arch];
  if (!table) throw new UnsupportedError(`GPUs in containers aren't supported on ${arch}`);
  const glibc = table.loader.some((file) => exists(image, file));
  if (
    !glibc &&
    image.readDirectory(realPath(image, '/lib') ?? '/lib').some((n) => /^ld-musl-.*\.so/.test(n))
  ) {
    throw new UnsupportedError(
      "the image uses the musl C library, and NVIDIA's driver libraries need glibc",
      {
        hint: 'take an image based on Debian, Ubuntu or a Red Hat system; the nodes alone come with --device /dev/nvidia0 --device /dev/nvidiactl',
      },
    );
  }
  const multiarch = realPath(image, `/usr/lib/${table.triplet}`) ?? realPath(image, `/lib/${table.triplet}`);
  const plain = realPath(image, '/usr/lib64') ?? (glibc ? realPath(image, '/lib64') : undefined);
  const multiarch32 =
    realPath(image, `/usr/lib/${table.triplet32}`) ?? realPath(image, `/lib/${table.triplet32}`);
  const has32 = table.loader32.some((file) => exists(image, file));
  return {
    lib64: multiarch ?? plain ?? '/usr/lib64',
    lib32: has32 ? (multiarch32 ?? realPath(image, '/usr/lib') ?? '/usr/lib') : undefined,
    ldconfig: findLdconfig(image),
  };
}

/** The image's ldconfig. Ubuntu's /sbin/ldconfig is a script round ldconfig.real that puts work off during set-up. */
export function findLdconfig(image: HostFiles): string | undefined {
  return ['/sbin/ldconfig.real', '/usr/sbin/ldconfig.real', '/sbin/ldconfig', '/usr/sbin/ldconfig'].find(
    (file) => exists(image, file),
  );
}
