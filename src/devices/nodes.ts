import path from 'node:path';
import { InvalidError } from '../base/index.js';
import { addNode, type DeviceEdits, type DeviceNode } from './edits.js';
import { type FileStat, type HostFiles, realPath } from './host-files.js';

/** Parts of /dev that are filesystems or sockets of the host's own, never a container's. */
const NOT_FOR_CONTAINERS = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);

/**
 * `--device HOST[:CONTAINER[:rwm]]`: one node, or every node below a directory, under the name and with the owner and
 * mode that the host's has.
 * @throws InvalidError where the path is missing, or holds no device
 */
export function addHostDevice(
  edits: DeviceEdits,
  files: HostFiles,
  source: string,
  target: string,
  permissions: string,
): void {
  if (!/^[rwm]+$/.test(permissions)) {
    throw new InvalidError(`invalid device permissions "${permissions}" of ${source}`, {
      hint: 'they are a selection of r (read), w (write) and m (make the node)',
    });
  }
  for (const [name, value] of [
    ['host', source],
    ['container', target],
  ] as const) {
    if (!path.isAbsolute(value))
      throw new InvalidError(`the ${name} path of a device must be absolute: "${value}"`);
  }
  const real = realPath(files, source);
  const found = real === undefined ? undefined : files.lstat(real);
  if (real === undefined || !found) {
    throw new InvalidError(`cannot add the device ${source}: no such file or directory`, {
      path: source,
      hint: 'load its driver on the host, or name another path',
    });
  }
  const to = path.normalize(target).replace(/(.)\/+$/, '$1');
  const node = nodeOf(files, real, to, found, permissions);
  if (node) {
    addNode(edits, node);
    return;
  }
  if (found.kind !== 'directory') {
    throw new InvalidError(`cannot add the device ${source}: it is not a device node`, {
      path: source,
      hint: 'to give the container a file, use -v',
    });
  }
  const before = edits.nodes.length;
  addNodesBelow(edits, files, real, to, permissions, new Set());
  if (edits.nodes.length === before) {
    throw new InvalidError(`cannot add the devices of ${source}: the directory holds none`, { path: source });
  }
}

/** `--privileged`: every device of the host, as they are. */
export function addAllHostDevices(edits: DeviceEdits, files: HostFiles): void {
  addNodesBelow(edits, files, '/dev', '/dev', 'rwm', NOT_FOR_CONTAINERS);
  // The container's own console comes from its terminal.
  edits.nodes = edits.nodes.filter((n) => n.path !== '/dev/console');
}

/** The node at a path with no links left in it; undefined where that isn't a device or FIFO. */
export function nodeOf(
  files: HostFiles,
  real: string,
  target: string,
  stat: FileStat,
  permissions: string,
): DeviceNode | undefined {
  const type = stat.kind === 'char' ? 'c' : stat.kind === 'block' ? 'b' : undefined;
  if (!type) return undefined;
  return {
    path: target,
    hostPath: files.onHost(real),
    type,
    major: stat.major,
    minor: stat.minor,
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    permissions,
  };
}

/** Links are left out, as Docker does: what they lead to is in the tree already or isn't meant. */
function addNodesBelow(
  edits: DeviceEdits,
  files: HostFiles,
  from: string,
  to: string,
  permissions: string,
  skip: ReadonlySet<string>,
): void {
  for (const name of files.readDirectory(from)) {
    if (skip.has(name)) continue;
    const here = path.posix.join(from, name);
    const there = path.posix.join(to, name);
    const found = files.lstat(here);
    if (!found) continue;
    if (found.kind === 'directory') addNodesBelow(edits, files, here, there, permissions, skip);
    const node = nodeOf(files, here, there, found, permissions);
    if (node) addNode(edits, node);
  }
}
