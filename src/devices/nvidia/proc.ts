import type { DeviceTree } from '../edits.js';
import type { HostFiles } from '../host-files.js';
import type { Selection } from './select.js';

/**
 * /proc/driver/nvidia as the container shall see it: the GPUs it was given, the MIG capabilities that go with them,
 * and `ModifyDeviceFiles: 0`, so that the driver's libraries leave the container's nodes as they are. The files are
 * constant from the driver's load to its unload, so copies are as good as the originals.
 */
export function procTree(files: HostFiles, selection: Selection): DeviceTree | undefined {
  const root = '/proc/driver/nvidia';
  const tree: DeviceTree = { destination: root, files: [] };
  const add = (name: string, change: (text: string) => string = (text) => text) => {
    const content = files.readText(`${root}/${name}`);
    if (content !== undefined) tree.files.push({ path: name, content: change(content), mode: 0o444 });
  };
  add('version');
  add('params', (text) => text.replace(/^(ModifyDeviceFiles:\s*).*$/m, '$10'));
  add('registry');
  for (const { gpu, instances } of selection.gpus) {
    if (gpu.pci === '') continue;
    add(`gpus/${gpu.pci}/information`);
    for (const { gpuInstance, computeInstance } of instances) {
      const gi = `capabilities/gpu${gpu.minor}/mig/gi${gpuInstance}`;
      if (!tree.files.some((f) => f.path === `${gi}/access`)) add(`${gi}/access`);
      add(`${gi}/ci${computeInstance}/access`);
    }
  }
  return tree.files.length > 0 ? tree : undefined;
}
