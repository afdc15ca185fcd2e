import { existsSync } from 'node:fs';
import { probeIdmap, probeSyscalls } from '../kernel/index.js';
import type { Feature, FeatureName } from './facts.js';

/** Finds out what this kernel can do: by trying where trying is harmless, by its number where it isn't. */
export function probeFeatures(
  version: readonly [number, number, number],
  directory: string,
): Record<FeatureName, Feature> {
  const probes = probeSyscalls(directory);
  const since = (major: number, minor: number): Feature => ({
    have: atLeast(version, major, minor),
    how: 'version',
    detail: `${major}.${minor}`,
  });
  const known = (errno: string): Feature => ({ have: errno !== 'ENOSYS', how: 'probe', detail: errno });
  const works = (errno: string): Feature => ({ have: errno === '', how: 'probe', detail: errno });
  const file = (path: string): Feature => ({ have: existsSync(path), how: 'file', detail: path });
  const all = (...features: Feature[]): Feature => features.find((f) => !f.have) ?? (features[0] as Feature);
  return {
    clone3: known(probes.clone3),
    cloneIntoCgroup: all(known(probes.clone3), since(5, 7)),
    pidfd: known(probes.pidfdOpen),
    openat2: known(probes.openat2),
    closeRange: known(probes.closeRange),
    newMountApi: all(known(probes.fsopen), known(probes.openTree), known(probes.moveMount)),
    mountSetattr: known(probes.mountSetattr),
    idmappedRoot: works(probeIdmap(directory)),
    idmappedOverlay: since(5, 19),
    // Before, overlay clones no layer that is attached nowhere: the plan has them attached for the moment.
    idmappedLower: since(6, 15),
    idmappedTmpfs: since(6, 3),
    overlayLowerFd: works(probes.overlayLowerFd ?? 'ENOENT'),
    overlayLowerString: works(probes.overlayLowerString ?? 'ENOENT'),
    overlayVolatile: since(5, 10),
    timeNamespace: file('/proc/self/ns/time'),
    userNamespace: file('/proc/self/ns/user'),
    cgroupNamespace: file('/proc/self/ns/cgroup'),
    cgroupKill: since(5, 14),
    cgroupFreeze: since(5, 2),
    memoryPeak: since(5, 19),
    memoryReclaim: since(5, 19),
    memorySwapPeak: since(6, 5),
    psi: file('/proc/pressure/memory'),
    bpfDevice: works(probes.bpfDevice),
    landlock: { ...known(probes.landlock), have: !['ENOSYS', 'EOPNOTSUPP'].includes(probes.landlock) },
    seccompNotify: since(5, 0),
  };
}

/** Whether a kernel version is at least major.minor. */
export function atLeast(version: readonly number[], major: number, minor: number): boolean {
  const [a = 0, b = 0] = version;
  return a > major || (a === major && b >= minor);
}

/** `6.1.0-13-cloud-amd64` → [6, 1, 0]. */
export function parseRelease(release: string): [number, number, number] {
  const m = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release);
  return m ? [Number(m[1]), Number(m[2]), Number(m[3] ?? 0)] : [0, 0, 0];
}
