import type { SpecDevice } from '../spec/index.js';
import type { Step } from './steps.js';

/** The devices that every container has (OCI runtime-spec, config-linux.md, "Default Devices"). */
const DEFAULT_DEVICES: SpecDevice[] = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o666 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5, fileMode: 0o666 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7, fileMode: 0o666 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8, fileMode: 0o666 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9, fileMode: 0o666 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0, fileMode: 0o666 },
];

const LINKS: [string, string][] = [
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
  ['/dev/ptmx', 'pts/ptmx'],
];

/** Turns an id of the container into one of the host. */
export type ToHostId = (id: number) => number;

/**
 * Device nodes, links and mount points of /dev, made by the monitor in a detached tmpfs: mknod(2) is the host's right,
 * and a filesystem of the host's makes the nodes work inside a user namespace.
 * @param links more links, in /dev or elsewhere; a file that is already there stays
 * @param slots slot of the tmpfs for /dev (absent where the bundle has none) and of the root for everything else
 */
export function deviceSteps(
  devices: readonly SpecDevice[],
  slots: { dev?: number; root: number },
  uid: ToHostId,
  gid: ToHostId,
  directories: readonly string[],
  links: readonly { path: string; target: string }[] = [],
): Step[] {
  const steps: Step[] = [];
  const made = new Set<string>(['', '/']);
  const place = (path: string) =>
    slots.dev !== undefined && path.startsWith('/dev/')
      ? { slot: slots.dev, path: path.slice('/dev'.length), shown: path }
      : { slot: slots.root, path, shown: path };
  const directory = (path: string) => {
    const at = place(path);
    const key = `${at.slot}${at.path}`;
    if (path === '' || path === '/' || path === '/dev' || made.has(key)) return;
    directory(path.slice(0, path.lastIndexOf('/')));
    made.add(key);
    steps.push({ op: 'mkdirIn', ...at, mode: 0o755, uid: uid(0), gid: gid(0) });
  };
  if (slots.dev === undefined) {
    steps.push({
      op: 'mkdirIn',
      slot: slots.root,
      path: '/dev',
      shown: '/dev',
      mode: 0o755,
      uid: uid(0),
      gid: gid(0),
    });
  }
  const all = new Map<string, SpecDevice>();
  for (const d of [...DEFAULT_DEVICES, ...devices]) all.set(d.path, d);
  for (const d of all.values()) {
    // The pty of the container's own devpts takes this place.
    if (d.path === '/dev/ptmx' || d.path === '/dev/console') continue;
    directory(d.path.slice(0, d.path.lastIndexOf('/')));
    steps.push({
      op: 'node',
      ...place(d.path),
      type: d.type === 'u' ? 'c' : (d.type as 'c' | 'b' | 'p'),
      mode: (d.fileMode ?? 0o666) & 0o7777,
      major: Number(d.major ?? 0),
      minor: Number(d.minor ?? 0),
      uid: uid(d.uid ?? 0),
      gid: gid(d.gid ?? 0),
    });
  }
  for (const [path, target] of LINKS) {
    if (!all.has(path)) {
      steps.push({ op: 'symlinkIn', ...place(path), target, uid: uid(0), gid: gid(0) });
    }
  }
  for (const link of links) {
    directory(link.path.slice(0, link.path.lastIndexOf('/')));
    steps.push({ op: 'symlinkIn', ...place(link.path), target: link.target, uid: uid(0), gid: gid(0) });
  }
  // Mount points in /dev are made here too: fewer steps for init.
  if (slots.dev !== undefined) for (const d of directories) directory(d);
  return steps;
}
