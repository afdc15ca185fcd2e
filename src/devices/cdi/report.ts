import { InvalidError, UnsupportedError } from '../../base/index.js';
import { diskFiles, type HostFiles, rememberingFiles } from '../host-files.js';
import { type GpuVendor, generateCdi, gpuVendors } from './generate.js';
import { readRegistry } from './registry.js';

export interface CdiListing {
  devices: {
    /** `vendor/class=name` */
    name: string;
    /** Absent: no file speaks of it, nsbox found it. */
    file: string | undefined;
    version: string | undefined;
  }[];
  /** Files that can't be read and names in conflict, one sentence each. */
  problems: string[];
}

/** What `nsbox cdi list` shows. */
export async function cdiDevices(
  directories?: readonly string[],
  tree: HostFiles = diskFiles(),
): Promise<CdiListing> {
  const files = rememberingFiles(tree);
  const registry = await readRegistry(files, directories);
  const listing: CdiListing = { devices: [], problems: [] };
  for (const { name, file, spec } of registry.devices.values()) {
    listing.devices.push({ name, file, version: spec.cdiVersion });
  }
  const kinds = new Set(
    [...registry.devices.keys(), ...registry.conflicts.keys()].map((n) => n.split('=')[0]),
  );
  for (const vendor of gpuVendors(files)) {
    if (kinds.has(`${vendor}.com/gpu`)) continue;
    for (const device of namesOf(files, vendor)) {
      listing.devices.push({ name: `${vendor}.com/gpu=${device}`, file: undefined, version: undefined });
    }
  }
  listing.devices.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { error } of registry.faults) listing.problems.push(error.message);
  for (const [name, both] of registry.conflicts) {
    listing.problems.push(`${name} is defined more than once and can't be used: ${both.join(', ')}`);
  }
  return listing;
}

function namesOf(files: HostFiles, vendor: GpuVendor): string[] {
  try {
    return generateCdi(files, vendor).devices.map((d) => d.name);
  } catch (error) {
    // A driver without its libraries: `--gpus` says so when it is asked for.
    if (error instanceof UnsupportedError || (error as { code?: string }).code === 'UNSUPPORTED') return [];
    throw error;
  }
}

/**
 * The text of a CDI file for this host.
 * @throws InvalidError where several vendors have GPUs and none is named; UnsupportedError where there is no GPU
 */
export async function cdiText(
  options: { vendor?: GpuVendor | undefined; format: 'yaml' | 'json' },
  tree: HostFiles = diskFiles(),
): Promise<string> {
  const files = rememberingFiles(tree);
  const vendors = gpuVendors(files);
  if (options.vendor === undefined && vendors.length > 1) {
    throw new InvalidError(
      `this host has GPUs of ${vendors.join(' and ')}, and a CDI file describes one kind`,
      {
        hint: `choose with --vendor ${vendors[0]}`,
      },
    );
  }
  const vendor = options.vendor ?? vendors[0];
  if (vendor === undefined) {
    throw new UnsupportedError("this host has no GPU with a loaded driver, so there's nothing to describe", {
      hint: '`nsbox doctor --gpu` shows what was looked for',
    });
  }
  const spec = generateCdi(files, vendor);
  if (options.format === 'json') return `${JSON.stringify(spec, null, 2)}\n`;
  const yaml = await import('js-yaml');
  return yaml.dump(spec, { lineWidth: -1, noRefs: true });
}
