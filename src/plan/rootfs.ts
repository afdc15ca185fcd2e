import { InvalidError } from '../base/index.js';
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

/** OVL_MAX_STACK of the kernel's fs/overlayfs. */
const MOST_LAYERS = 500;

/** A tree as it is, with all that is mounted in it, as a detached mount. */
export function treeAsItIs(source: string, slot: number): Extract<Step, { op: 'openTree' }> {
  const unchanged = { set: 0, clear: 0, deepSet: 0, deepClear: 0 };
  return { op: 'openTree', slot, source, recursive: true, ...unchanged, propagation: MS.PRIVATE };
}

/**
 * The container's root as a detached mount.
 *
 * Overlay over idmapped lower layers: the upper directory is plain and belongs to the container's root, because an
 * overlay whose upper is idmapped comes up read-only when the mounter's own ids aren't in the map.
 * Before 6.15 overlay refuses such layers unless they are attached in the mount namespace of who makes it.
 * @throws InvalidError for more layers than overlay takes
 */
export function rootfsStep(input: PlanInput, slot: number, userNamespace: boolean): Step {
  const { rootfs, host } = input;
  if (rootfs.kind === 'directory') {
    return {
      ...treeAsItIs(rootfs.path, slot),
      ...(rootfs.idmap && userNamespace ? { idmap: { optional: true, recursive: false } } : {}),
    };
  }
  if (rootfs.layers.length > MOST_LAYERS) {
    throw new InvalidError(`overlayfs takes ${MOST_LAYERS} layers, the image has ${rootfs.layers.length}`, {
      hint: 'export a container of it and import that: an image of one layer',
    });
  }
  const f = host.features;
  const idmap = rootfs.idmap && userNamespace;
  // One `lowerdir` string of fsconfig(2) ends at 255 bytes, about 14 layers; mount(2) takes a page.
  const form = f.overlayLowerFd.have ? 'fd' : f.overlayLowerString.have ? 'strings' : 'attached';
  return {
    op: 'overlay',
    slot,
    form: idmap && !f.idmappedLower.have ? 'attached' : form,
    lowers: [...rootfs.layers].reverse(),
    upper: rootfs.upper,
    work: rootfs.work,
    idmap,
    // In a user namespace no device node of an image may work, whatever the cgroup's device program says.
    attrs: userNamespace ? ATTR.NODEV : 0,
    options: rootfs.upper
      ? [...WHOLE, ...(rootfs.volatile && f.overlayVolatile.have ? [['volatile'] as FsOption] : [])]
      : [],
  };
}
