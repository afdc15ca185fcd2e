import path from 'node:path';
import { readElf } from '../elf.js';
import { type HostFiles, realPath } from '../host-files.js';
import { readLdCache } from '../ld-cache.js';
import { LIBRARIES } from './table.js';

/** One library of the driver on this host. */
export interface DriverLibrary {
  /** Key of LIBRARIES, such as `libcuda`. */
  name: string;
  /** The file itself, no link: `/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14`. */
  path: string;
  /** `libcuda.so.1`; the file's own name where it has no other. */
  soname: string;
  bits: 32 | 64;
}

export interface DriverLibraries {
  /** Those that fit the kernel module. */
  libraries: DriverLibrary[];
  /** Versions of libcuda and libnvidia-ml that were found and don't fit. */
  otherVersions: string[];
}

/** Where drivers put their libraries besides what the ld cache knows. */
const DIRECTORIES = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu/nvidia/current',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu/nvidia/current',
  '/usr/lib64',
  '/usr/lib64/nvidia',
  '/usr/lib',
  '/usr/lib/nvidia',
  '/usr/lib/i386-linux-gnu',
  '/usr/lib/i386-linux-gnu/nvidia/current',
  '/usr/lib32',
  // container-optimised systems, driver containers, NixOS, WSL
  '/usr/local/nvidia/lib64',
  '/usr/local/nvidia/lib',
  '/home/kubernetes/bin/nvidia/lib64',
  '/opt/nvidia/lib64',
  '/run/opengl-driver/lib',
  '/usr/lib/wsl/lib',
];

const MACHINES: Record<string, { 64: number; 32: number }> = {
  x64: { 64: 62, 32: 3 },
  arm64: { 64: 183, 32: 40 },
};

/**
 * Finds the driver's libraries through the host's ld cache and, for those that it doesn't know, known directories.
 * Of several versions of one library the one of the kernel module is taken, since no other works with it.
 * @param version of the kernel module; undefined takes what there is
 * @param wanted which names of the table to look for; the others cost nothing then
 */
export function findLibraries(
  files: HostFiles,
  version: string | undefined,
  arch: string = process.arch,
  wanted: (name: string) => boolean = () => true,
): DriverLibraries {
  const found = new Map<string, DriverLibrary>();
  const others = new Set<string>();
  const consider = (library: DriverLibrary | undefined) => {
    if (!library) return;
    const own = versionOf(library.path);
    if (version !== undefined && own !== undefined && own !== version) {
      if (library.name === 'libcuda' || library.name === 'libnvidia-ml') others.add(own);
      return;
    }
    const key = `${library.bits} ${library.name} ${library.soname}`;
    const known = found.get(key);
    // The loader takes the first of its cache; a file whose version is known is the surer find.
    if (!known || (versionOf(known.path) === undefined && own !== undefined)) found.set(key, library);
  };
  const resolve = memoize((file: string) => realPath(files, file));
  for (const entry of readLdCache(files, (file) => {
    const name = tableName(file);
    return name !== undefined && wanted(name);
  })) {
    const real = resolve(entry.path);
    const name = tableName(entry.name);
    if (real === undefined || name === undefined) continue;
    // The cache also lists development links (libcuda.so); the soname is the one with a number.
    if (!/\.so\.\d/.test(entry.name)) continue;
    consider({ name, path: real, soname: entry.name, bits: entry.bits });
  }
  const cached = new Set([...found.values()].map((l) => `${l.bits} ${l.name}`));
  const seen = new Set<string>();
  for (const named of DIRECTORIES) {
    const directory = resolve(named);
    if (directory === undefined || seen.has(directory)) continue;
    seen.add(directory);
    for (const base of files.readDirectory(directory)) {
      const name = tableName(base);
      if (name === undefined || !wanted(name) || !/\.so\.\d/.test(base)) continue;
      const real = resolve(path.join(directory, base));
      if (real === undefined || [...found.values()].some((l) => l.path === real)) continue;
      const elf = readElf(files, real);
      if (!elf || elf.machine !== MACHINES[arch]?.[elf.bits] || cached.has(`${elf.bits} ${name}`)) continue;
      consider({ name, path: real, soname: elf.soname ?? path.basename(real), bits: elf.bits });
    }
  }
  const libraries = [...found.values()].sort((a, b) => b.bits - a.bits || (a.path < b.path ? -1 : 1));
  return { libraries, otherVersions: [...others].sort() };
}

/** `libcuda` of `libcuda.so.1`; undefined where the table doesn't have it. */
function tableName(file: string): string | undefined {
  const at = file.indexOf('.so');
  if (at < 0) return undefined;
  const name = file.slice(0, at);
  return Object.hasOwn(LIBRARIES, name) ? name : undefined;
}

/** `550.54.14` of `libcuda.so.550.54.14`; undefined for libraries that count for themselves (`….so.1.1.13`). */
export function versionOf(file: string): string | undefined {
  return /\.so\.(\d{3,}\.\d+(?:\.\d+)?)$/.exec(file)?.[1];
}

function memoize<T>(look: (key: string) => T): (key: string) => T {
  const known = new Map<string, T>();
  return (key) => {
    if (!known.has(key)) known.set(key, look(key));
    return known.get(key) as T;
  };
}
