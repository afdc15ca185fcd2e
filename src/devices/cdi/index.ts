import { InvalidError } from '../../base/index.js';
import { type DeviceEdits, emptyEdits, mergeEdits } from '../edits.js';
import type { HostFiles } from '../host-files.js';
import { annotationsOf, editsOf } from './edits.js';
import { parseQualifiedName } from './names.js';
import { type CdiRegistry, readRegistry } from './registry.js';
import type { CdiSpec } from './schema.js';

/**
 * What the named CDI devices change: what their file says of all its devices, once, then each device's own, in the
 * order given.
 * @param names fully qualified, `vendor/class=name`
 * @throws InvalidError naming the device and why: unknown, in conflict, in a file that can't be read
 */
export async function resolveCdiDevices(
  names: readonly string[],
  files: HostFiles,
  directories?: readonly string[],
): Promise<DeviceEdits> {
  const registry = await readRegistry(files, directories);
  const edits = emptyEdits();
  const used = new Set<CdiSpec>();
  for (const name of names) {
    const entry = registry.devices.get(name);
    if (!entry) {
      if (await addDiscovered(edits, name, registry, files)) continue;
      throw unknownDevice(name, registry);
    }
    if (!used.has(entry.spec)) {
      used.add(entry.spec);
      if (entry.spec.containerEdits) mergeEdits(edits, editsOf(entry.spec.containerEdits, files, name));
    }
    mergeEdits(edits, editsOf(entry.device.containerEdits, files, name));
    Object.assign(edits.annotations, annotationsOf(entry.spec, entry.device));
  }
  return edits;
}

/** Where no file speaks of nvidia.com/gpu, its devices are those that nsbox finds by itself. */
async function addDiscovered(
  edits: DeviceEdits,
  name: string,
  registry: CdiRegistry,
  files: HostFiles,
): Promise<boolean> {
  const parsed = parseQualifiedName(name);
  const driver = { 'nvidia.com': 'nvidia', 'amd.com': 'amd', 'intel.com': 'intel' }[parsed?.vendor ?? ''];
  if (parsed?.class !== 'gpu' || driver === undefined) return false;
  const kind = `${parsed.vendor}/${parsed.class}`;
  for (const known of [...registry.devices.keys(), ...registry.conflicts.keys()]) {
    if (known.startsWith(`${kind}=`)) return false;
  }
  const { resolveGpus } = await import('../gpus.js');
  const which = parsed.name === 'all' ? 'all' : `device=${parsed.name}`;
  mergeEdits(edits, await resolveGpus(`driver=${driver},${which},capabilities=all`, [], files));
  return true;
}

function unknownDevice(name: string, registry: CdiRegistry): InvalidError {
  const both = registry.conflicts.get(name);
  if (both) {
    return new InvalidError(`the CDI device ${name} is defined more than once: ${both.join(', ')}`, {
      hint: 'remove one of the files, or the device from it',
    });
  }
  const kind = name.slice(0, name.indexOf('='));
  const alike = [...registry.devices.keys()].filter((n) => n.startsWith(`${kind}=`));
  const fault = registry.faults[0];
  const hint =
    alike.length > 0
      ? `${kind} has ${alike.map((n) => n.slice(kind.length + 1)).join(', ')}`
      : fault
        ? `a file could not be read: ${fault.error.message}`
        : registry.devices.size > 0
          ? '`nsbox cdi list` shows those that there are'
          : `there are no CDI files in ${registry.directories.join(' and ')}; \`nsbox cdi generate\` writes one for this host's GPUs`;
  return new InvalidError(`no CDI device ${name}`, { hint });
}
