import path from 'node:path';
import { type HostFiles, realPath } from '../host-files.js';
import { readCdiSpec } from './read.js';
import type { CdiDevice, CdiSpec } from './schema.js';

/** Of rising priority: what is made at run time goes before what an administrator installed. */
export const CDI_DIRECTORIES: readonly string[] = ['/etc/cdi', '/var/run/cdi'];

export interface CdiEntry {
  /** `vendor/class=name`. */
  name: string;
  file: string;
  spec: CdiSpec;
  device: CdiDevice;
}

export interface CdiRegistry {
  devices: Map<string, CdiEntry>;
  /** Names that two files of the same directory define, with those files: such a device can't be used. */
  conflicts: Map<string, string[]>;
  /** Files that can't be read as CDI specs; their devices are unknown, all others work. */
  faults: { file: string; error: Error }[];
  directories: readonly string[];
}

/**
 * Reads every `*.json` and `*.yaml` of the CDI directories (not of their subdirectories). A device of a later
 * directory replaces the one of an earlier; two in one directory are a conflict.
 */
export async function readRegistry(
  files: HostFiles,
  directories: readonly string[] = CDI_DIRECTORIES,
): Promise<CdiRegistry> {
  const registry: CdiRegistry = { devices: new Map(), conflicts: new Map(), faults: [], directories };
  for (const directory of directories) {
    const real = realPath(files, directory);
    if (real === undefined) continue;
    const here = new Map<string, CdiEntry>();
    const conflicts = new Map<string, string[]>();
    for (const base of files.readDirectory(real)) {
      const extension = path.extname(base);
      if (extension !== '.json' && extension !== '.yaml') continue;
      const file = path.join(directory, base);
      const text = files.readText(path.join(real, base));
      if (text === undefined) continue;
      try {
        addSpec(await readCdiSpec(text, file), file, here, conflicts);
      } catch (error) {
        registry.faults.push({ file, error: error as Error });
      }
    }
    for (const [name, entry] of here) {
      registry.devices.set(name, entry);
      registry.conflicts.delete(name);
    }
    for (const [name, both] of conflicts) {
      registry.devices.delete(name);
      registry.conflicts.set(name, both);
    }
  }
  return registry;
}

function addSpec(
  spec: CdiSpec,
  file: string,
  here: Map<string, CdiEntry>,
  conflicts: Map<string, string[]>,
): void {
  for (const device of spec.devices) {
    const name = `${spec.kind}=${device.name}`;
    const other = here.get(name);
    if (other) conflicts.set(name, [...(conflicts.get(name) ?? [other.file]), file]);
    else here.set(name, { name, file, spec, device });
  }
}
