import { type InvalidError, UnsupportedError } from '../base/index.js';
import { type DrmGpu, PCI_VENDORS, readDrmGpus, readPciGpus } from './drm.js';
import type { DeviceEdits } from './edits.js';
import { type Capability, type GpusFlag, parseCapabilities, parseGpusFlag } from './gpus-flag.js';
import type { HostFiles } from './host-files.js';
import { type ImageLayout, imageLayout } from './image-layout.js';
import { type NvidiaDriver, readNvidiaDriver } from './nvidia/driver.js';
import { nvidiaEdits } from './nvidia/edits.js';
import { unmetRequirement } from './nvidia/require.js';
import { needsNvml, type Selection, selectGpus } from './nvidia/select.js';
import { drmEdits } from './render.js';

/**
 * `--gpus`: what the flag, the image's variables and this host's GPUs make of it together. NVIDIA's are found without
 * any toolkit; AMD's and Intel's are their nodes of /dev/dri (and /dev/kfd).
 * @param environment `KEY=value` of the image and the request, later ones win
 * @param image the container's root filesystem; absent: libraries go where Debian has them
 * @throws InvalidError, UnsupportedError
 */
export async function resolveGpus(
  flag: string,
  environment: readonly string[],
  files: HostFiles,
  image?: HostFiles,
  arch: string = process.arch,
): Promise<DeviceEdits> {
  const wish = parseGpusFlag(flag);
  const driver = wish.driver === undefined || wish.driver === 'nvidia' ? readNvidiaDriver(files) : undefined;
  if (driver) return nvidia(flag, wish, driver, environment, files, image, arch);
  const drm = readDrmGpus(files);
  for (const vendor of ['amd', 'intel'] as const) {
    if (wish.driver !== undefined && wish.driver !== vendor) continue;
    const gpus = drm.filter((g) => g.vendor === PCI_VENDORS[vendor] && g.nodes.length > 0);
    if (gpus.length > 0) return drmEdits(files, vendor, gpus, wish, flag);
  }
  throw noGpu(flag, wish, files, drm);
}

async function nvidia(
  flag: string,
  wish: GpusFlag,
  driver: NvidiaDriver,
  environment: readonly string[],
  files: HostFiles,
  image: HostFiles | undefined,
  arch: string,
): Promise<DeviceEdits> {
  const env = new Map(environment.map((e) => split(e)));
  const wanted = wantedDevices(wish, env);
  if (wanted !== 'none' && needsNvml(driver, wanted)) await completeByNvml(driver, files);
  const selection: Selection =
    wanted === 'none' ? { gpus: [], visible: 'none' } : selectGpus(driver, wanted, flag);
  if (wanted !== 'none' && selection.gpus.length === 0 && wanted !== 0) {
    throw new UnsupportedError(
      `--gpus ${flag}: NVIDIA's driver ${driver.version ?? ''} is loaded and shows no GPU`,
      {
        hint: '`nsbox doctor --gpu` and the kernel log (`dmesg | grep -i nvrm`) say why',
      },
    );
  }
  const capabilities = wantedCapabilities(wish, env);
  const needsLibraries = capabilities.size > 0;
  const layout: ImageLayout | undefined = image && needsLibraries ? imageLayout(image, arch) : undefined;
  const drm = capabilities.has('graphics') || capabilities.has('display') ? readDrmGpus(files) : [];
  const edits = nvidiaEdits(files, driver, { selection, capabilities, env, drm, layout, image, arch });
  edits.env.push(`NVIDIA_VISIBLE_DEVICES=${selection.visible}`);
  edits.env.push(`NVIDIA_DRIVER_CAPABILITIES=${[...capabilities].join(',')}`);
  const unmet = driver.version === undefined ? undefined : unmetRequirement(env, driver.version);
  if (unmet) edits.warnings.push(unmet);
  return edits;
}

/**
 * The flag decides; where it says "all", an image or `-e` may narrow that by NVIDIA_VISIBLE_DEVICES: to a list, or to
 * `none` (libraries without GPUs).
 */
function wantedDevices(wish: GpusFlag, env: ReadonlyMap<string, string>): GpusFlag['devices'] | 'none' {
  if (wish.devices !== 'all') return wish.devices;
  const visible = env.get('NVIDIA_VISIBLE_DEVICES')?.trim() ?? '';
  if (visible === 'none') return 'none';
  if (visible === '' || visible === 'all' || visible === 'void') return 'all';
  return visible
    .split(',')
    .map((v) => v.trim())
    .filter((v) => v !== '');
}

/** The flag's; else the image's; else what is enough to compute. */
function wantedCapabilities(wish: GpusFlag, env: ReadonlyMap<string, string>): Set<Capability> {
  const asked = parseCapabilities(wish.capabilities, '--gpus');
  if (asked.size > 0) return asked;
  const text = env.get('NVIDIA_DRIVER_CAPABILITIES');
  const images = parseCapabilities((text ?? '').split(','), 'NVIDIA_DRIVER_CAPABILITIES');
  return images.size > 0 ? images : new Set(['utility', 'compute']);
}

/** UUIDs that only the management library knows; where it can't be loaded, they stay unknown. */
async function completeByNvml(driver: NvidiaDriver, files: HostFiles): Promise<void> {
  const { addNvmlNames } = await import('./nvml.js');
  await addNvmlNames(driver, files);
}

function noGpu(
  flag: string,
  wish: GpusFlag,
  files: HostFiles,
  drm: readonly DrmGpu[],
): InvalidError | UnsupportedError {
  const cards =
    wish.driver === undefined || wish.driver === 'nvidia' ? readPciGpus(files, PCI_VENDORS.nvidia) : [];
  if (cards.length > 0) {
    const nouveau = drm.some((g) => g.driver === 'nouveau');
    return new UnsupportedError(
      `--gpus ${flag}: there is an NVIDIA GPU at ${cards.join(', ')}, but NVIDIA's driver isn't loaded${nouveau ? ' (nouveau is)' : ''}`,
      {
        hint: 'install the driver (Debian: nvidia-driver) and load it with `modprobe nvidia`; `nsbox doctor --gpu` says more',
      },
    );
  }
  const whose = { nvidia: 'NVIDIA ', amd: 'AMD ', intel: 'Intel ' }[wish.driver as string] ?? '';
  return new UnsupportedError(`--gpus ${flag}: this host has no ${whose}GPU with a loaded driver`, {
    hint: '`nsbox doctor --gpu` shows what was looked for',
  });
}

function split(entry: string): [string, string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}
