import type { PlanInput } from './input.js';
import { ATTR, MS } from './mount-options.js';
import type { FsOption, Step } from './steps.js';

/**
 * Whatever the module's parameters say, a rename of a directory copies and a chmod copies the whole file: what lies in the
 * upper directory is all that `commit`, `diff` and `export` need to read.
 */
const WHOLE: FsOption[] = [
  ['redirect_dir', 'off'],
  ['metacopy', 'off'],
];

/**
 * The container's root as a detached mount.
 *
 * Overlay over idmapped lower layers: the upper directory is plain and belongs to the container's root, because an
 * overlay whose upper is idmapped comes up read-only when the mounter's own ids aren't in the map.
 */
export function rootfsStep(input: PlanInput, slot: number, userNamespace: boolean): Step {
  const { rootfs, host } = input;
  if (rootfs.kind === 'directory') {
    return {
      op: 'openTree',
      slot,
      source: rootfs.path,
      recursive: true,
      set: 0,
      clear: 0,
      deepSet: 0,
      deepClear: 0,
      propagation: MS.PRIVATE,
      ...(rootfs.idmap && userNamespace ? { idmap: { optional: true, recursive: false } } : {}),
    };
  }
  const f = host.features;
  return {
    op: 'overlay',
    slot,
    form: f.overlayLowerFd.have ? 'fd' : f.overlayLowerString.have ? 'strings' : 'string',
    lowers: [...rootfs.layers].reverse(),
    upper: rootfs.upper,
    work: rootfs.work,
    idmap: rootfs.idmap && userNamespace,
    // In a user namespace no device node of an image may work, whatever the cgroup's device program says.
    attrs: userNamespace ? ATTR.NODEV : 0,
    options: rootfs.upper
      ? [...WHOLE, ...(rootfs.volatile && f.overlayVolatile.have ? [['volatile'] as FsOption] : [])]
      : [],
  };
}
