import { InvalidError } from '../base/index.js';
import type { DrmGpu } from './drm.js';
import { addNode, type DeviceEdits, emptyEdits } from './edits.js';
import type { GpusFlag } from './gpus-flag.js';
import { type HostFiles, stat } from './host-files.js';
import { nodeOf } from './nodes.js';

/**
 * GPUs whose driver is in the kernel and whose libraries belong into the image (AMD, Intel): their nodes, and the
 * groups that may open them.
 * @throws InvalidError a number or name that isn't there
 */
export function drmEdits(
  files: HostFiles,
  vendor: 'amd' | 'intel',
  gpus: readonly DrmGpu[],
  wish: Pick<GpusFlag, 'devices'>,
  flag: string,
): DeviceEdits {
  const edits = emptyEdits();
  // ROCm talks to all GPUs through one node; which of them may be used follows from the render nodes.
  if (vendor === 'amd') addDrmNode(edits, files, '/dev/kfd');
  for (const gpu of pick(gpus, wish.devices, flag)) {
    for (const name of gpu.nodes) {
      addDrmNode(edits, files, `/dev/dri/${name}`);
      const kind = name.startsWith('card') ? 'card' : 'render';
      if (/^[0-9a-f]{4}:/.test(gpu.address)) {
        edits.symlinks.push({ path: `/dev/dri/by-path/pci-${gpu.address}-${kind}`, target: `../${name}` });
      }
    }
  }
  return edits;
}

/**
 * The node, and its group (video, render) for programs that don't run as root.
 * @returns false where the host has none
 */
export function addDrmNode(edits: DeviceEdits, files: HostFiles, file: string): boolean {
  const found = stat(files, file);
  const node = found && nodeOf(files, file, file, found, 'rw');
  if (!node) return false;
  addNode(edits, node);
  const onlyGroup = (node.mode & 0o060) !== 0 && (node.mode & 0o006) !== 0o006;
  if (onlyGroup && node.gid && !edits.additionalGids.includes(node.gid)) edits.additionalGids.push(node.gid);
  return true;
}

function pick(gpus: readonly DrmGpu[], wanted: GpusFlag['devices'], flag: string): readonly DrmGpu[] {
  const there = `there ${gpus.length === 1 ? 'is' : 'are'} ${gpus.map((g, i) => `${i} (${g.address})`).join(', ')}`;
  if (wanted === 'all') return gpus;
  if (typeof wanted === 'number') {
    if (wanted <= gpus.length) return gpus.slice(0, wanted);
    throw new InvalidError(
      `--gpus ${flag}: this host has ${gpus.length} GPU${gpus.length === 1 ? '' : 's'}`,
      {
        hint: there,
      },
    );
  }
  return wanted.map((id) => {
    const found = gpus.find(
      (g, i) => String(i) === id || g.address === id.toLowerCase() || g.nodes.includes(id),
    );
    if (!found) throw new InvalidError(`--gpus ${flag}: there is no GPU "${id}"`, { hint: there });
    return found;
  });
}
