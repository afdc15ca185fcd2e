import path from 'node:path';
import type { ResolvedMount } from '../spec/index.js';

/** The container's own files of a directory, as mounts. */
export function ownFileMounts(directory: string): ResolvedMount[] {
  return ['hosts', 'resolv.conf', 'hostname'].map((name) => ({
    type: 'bind',
    source: path.join(directory, name),
    target: `/etc/${name}`,
    propagation: 'rprivate',
  }));
}
