import { InvalidError } from '../../base/index.js';
import { addNode, type DeviceEdits, type DeviceNode, emptyEdits } from '../edits.js';
import { type HostFiles, realPath } from '../host-files.js';
import type { CdiEdits, CdiSpec } from './schema.js';

type CdiNode = NonNullable<CdiEdits['deviceNodes']>[number];

/** What one containerEdits section of a CDI file changes, with the numbers of its nodes looked up on the host. */
export function editsOf(cdi: CdiEdits, files: HostFiles, name: string): DeviceEdits {
  const edits = emptyEdits();
  edits.env.push(...(cdi.env ?? []));
  for (const node of cdi.deviceNodes ?? []) addNode(edits, nodeOf(node, files, name));
  for (const mount of cdi.mounts ?? []) {
    const bind = mount.type === undefined || mount.type === '' || mount.type === 'bind';
    const options = mount.options ?? [];
    edits.mounts.push({
      source: bind ? files.onHost(mount.hostPath) : mount.hostPath,
      destination: mount.containerPath,
      ...(bind ? {} : { type: mount.type }),
      options:
        bind && !options.some((o) => o === 'bind' || o === 'rbind') ? [...options, 'bind'] : [...options],
    });
  }
  for (const { hookName, path, args, env, timeout } of cdi.hooks ?? []) {
    const hook = {
      path,
      ...(args ? { args } : {}),
      ...(env ? { env } : {}),
      ...(timeout === undefined ? {} : { timeout }),
    };
    edits.hooks[hookName] = [...(edits.hooks[hookName] ?? []), hook];
  }
  // Zero stands for "none" in the standard.
  edits.additionalGids.push(...(cdi.additionalGids ?? []).filter((gid) => gid !== 0));
  for (const { hostInterfaceName, name: inside } of cdi.netDevices ?? []) {
    edits.netDevices.push({ hostName: hostInterfaceName, name: inside });
  }
  if (cdi.intelRdt) {
    const { enableCMT, enableMBM, ...rdt } = cdi.intelRdt;
    // runtime-spec 1.3 joined the two switches into one.
    edits.intelRdt = { ...rdt, ...(enableCMT || enableMBM ? { enableMonitoring: true } : {}) };
  }
  return edits;
}

/** Annotations of a spec and of one of its devices, as they go into the container's. */
export function annotationsOf(spec: CdiSpec, device: CdiSpec['devices'][number]): Record<string, string> {
  return { ...spec.annotations, ...device.annotations };
}

function nodeOf(node: CdiNode, files: HostFiles, name: string): DeviceNode {
  const hostPath = node.hostPath ?? node.path;
  let type = node.type === 'u' ? 'c' : node.type || undefined;
  let { major, minor } = node;
  // Numbers in the file are taken as they are; the host's node need not exist then.
  if (type === undefined || (type !== 'p' && !major)) {
    const real = realPath(files, hostPath);
    const found = real === undefined ? undefined : files.lstat(real);
    if (!found) {
      throw new InvalidError(`the CDI device ${name} needs ${hostPath}, which is not there`, {
        path: hostPath,
        hint: 'load its driver, or make its CDI file anew (`nsbox cdi generate`)',
      });
    }
    const kind = { char: 'c', block: 'b', fifo: 'p' }[found.kind as string] as DeviceNode['type'] | undefined;
    if (kind === undefined) {
      throw new InvalidError(`the CDI device ${name} names ${hostPath}, which is not a device node`, {
        path: hostPath,
      });
    }
    if (type !== undefined && type !== kind) {
      throw new InvalidError(
        `the CDI device ${name} says that ${hostPath} is of type "${type}", and it is "${kind}"`,
        { path: hostPath },
      );
    }
    type = kind;
    major = found.major;
    minor = found.minor;
  }
  return {
    path: node.path,
    hostPath: files.onHost(hostPath),
    type: type as DeviceNode['type'],
    major: major ?? 0,
    minor: minor ?? 0,
    // The OCI runtimes' own default for a device without a mode.
    mode: (node.fileMode ?? 0o666) & 0o7777,
    ...(node.uid === undefined ? {} : { uid: node.uid }),
    ...(node.gid === undefined ? {} : { gid: node.gid }),
    permissions: type === 'p' ? '' : node.permissions || 'rwm',
  };
}
