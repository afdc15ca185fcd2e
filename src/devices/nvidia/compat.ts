import { type HostFiles, realPath } from '../host-files.js';
import { versionOf } from './libraries.js';

/**
 * The libraries of an image's cuda-compat package by soname, where they are of a newer major version than the
 * driver's, which is what they are made for.
 * @see "Forward Compatibility" in NVIDIA's CUDA Compatibility guide
 */
export function forwardCompat(
  image: HostFiles,
  version: string | undefined,
): Map<string, string> | undefined {
  const directory = realPath(image, '/usr/local/cuda/compat');
  if (directory === undefined || version === undefined) return undefined;
  const names = image.readDirectory(directory);
  const theirs = names.map((n) => (n.startsWith('libcuda.so.') ? versionOf(n) : undefined)).find(Boolean);
  if (theirs === undefined || Number.parseInt(theirs, 10) <= Number.parseInt(version, 10)) return undefined;
  return new Map(names.filter((n) => /\.so\.\d+$/.test(n)).map((n) => [n, `${directory}/${n}`]));
}
