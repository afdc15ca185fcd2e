import { PCI_VENDORS, readDrmGpus, readPciGpus } from './drm.js';
import { diskFiles, exists, type HostFiles, rememberingFiles, stat } from './host-files.js';
import { listGpus } from './inventory.js';
import { type NvidiaDriver, readNvidiaDriver } from './nvidia/driver.js';
import { findLibraries } from './nvidia/libraries.js';
import { cudaOf } from './nvidia/require.js';
import { LIBRARIES } from './nvidia/table.js';
import { openManagement } from './nvml.js';

export interface GpuCheck {
  /** What was looked at: `driver`, `nodes`, … */
  name: string;
  status: 'ok' | 'info' | 'warning' | 'problem';
  /** One line. */
  found: string;
  /** How to mend it. */
  hint?: string;
}

/**
 * `nsbox doctor --gpu`: driver, nodes, libraries, versions, permissions; what is missing and how to mend it.
 * @param nvml false leaves the management library alone (it may wake a sleeping GPU)
 */
export async function checkGpus(tree: HostFiles = diskFiles(), nvml = true): Promise<GpuCheck[]> {
  const files = rememberingFiles(tree);
  const checks: GpuCheck[] = [];
  const cards = readPciGpus(files, PCI_VENDORS.nvidia);
  const driver = readNvidiaDriver(files);
  if (driver) {
    checks.push(
      ...checkDriver(driver, cards),
      ...checkNodes(files, driver),
      ...checkLibraries(files, driver),
    );
    checks.push(...checkParts(files, driver));
    if (nvml) checks.push(await checkNvml(files, driver));
  } else if (cards.length > 0) {
    const nouveau = readDrmGpus(files).some((g) => g.driver === 'nouveau');
    checks.push({
      name: 'NVIDIA driver',
      status: 'problem',
      found: `not loaded, though there is a GPU at ${cards.join(', ')}${nouveau ? '; nouveau has it' : ''}`,
      hint: nouveau
        ? "install NVIDIA's driver (Debian: nvidia-driver), which keeps nouveau from loading, and reboot"
        : "install NVIDIA's driver (Debian: nvidia-driver) and `modprobe nvidia`; `dmesg | grep -i nvrm` says why it refuses",
    });
  }
  for (const gpu of listGpus(files)) {
    if (gpu.vendor !== 'nvidia') checks.push(checkRender(files, gpu.name, gpu.address, gpu.nodes));
  }
  if (listGpus(files).some((g) => g.vendor === 'amd') && !exists(files, '/dev/kfd')) {
    checks.push({
      name: 'AMD compute',
      status: 'warning',
      found: 'no /dev/kfd: graphics works, ROCm does not',
      hint: 'the kernel needs CONFIG_HSA_AMD, and amdgpu a GPU that ROCm supports',
    });
  }
  if (checks.length === 0) {
    checks.push({
      name: 'GPUs',
      status: 'info',
      found: 'none on this host (no PCI GPU with a driver, no nodes)',
    });
  }
  return checks;
}

function checkDriver(driver: NvidiaDriver, cards: readonly string[]): GpuCheck[] {
  const { version, gpus } = driver;
  const cuda = version === undefined ? undefined : cudaOf(version);
  const checks: GpuCheck[] = [
    {
      name: 'NVIDIA driver',
      status: version === undefined ? 'warning' : 'ok',
      found:
        version === undefined ? 'loaded, of unknown version' : `${version}${cuda ? ` (CUDA ${cuda})` : ''}`,
      ...(version === undefined
        ? { hint: '/proc/driver/nvidia is hidden here; is nsbox itself in a container?' }
        : {}),
    },
  ];
  if (gpus.length === 0) {
    checks.push({
      name: 'NVIDIA GPUs',
      status: 'problem',
      found: 'the driver is loaded and shows none',
      hint: '`dmesg | grep -i nvrm` says why (not supported, fallen off the bus, excluded)',
    });
  }
  for (const gpu of gpus) {
    const mig =
      gpu.mig.length > 0 ? `, ${gpu.mig.length} MIG instance${gpu.mig.length === 1 ? '' : 's'}` : '';
    checks.push({
      name: `GPU ${gpu.index}`,
      status: 'ok',
      found: `${gpu.name}, ${gpu.uuid ?? 'UUID not known before its first use'}${gpu.pci ? `, at ${gpu.pci}` : ''}${mig}`,
    });
  }
  const missing = cards.filter(
    (address) => gpus.length > 0 && gpus.every((g) => g.pci !== '' && g.pci !== address),
  );
  if (missing.length > 0) {
    checks.push({
      name: 'NVIDIA GPUs',
      status: 'warning',
      found: `the driver doesn't have the one at ${missing.join(', ')}`,
      hint: 'it may be excluded, bound to vfio-pci, or broken: `lspci -k -s ADDRESS`, `dmesg | grep -i nvrm`',
    });
  }
  return checks;
}

function checkNodes(files: HostFiles, driver: NvidiaDriver): GpuCheck[] {
  const wanted = ['nvidiactl', ...driver.gpus.map((g) => `nvidia${g.minor}`), 'nvidia-uvm'];
  const missing = wanted.filter((n) => stat(files, `/dev/${n}`)?.kind !== 'char');
  const closed = wanted.filter((n) => {
    const s = stat(files, `/dev/${n}`);
    return s?.kind === 'char' && (s.mode & 0o006) !== 0o006;
  });
  const checks: GpuCheck[] = [];
  if (!driver.majors.has('nvidia-uvm') && missing.includes('nvidia-uvm')) {
    checks.push({
      name: 'CUDA module',
      status: 'problem',
      found: 'nvidia-uvm is not loaded: CUDA programs fail in containers and outside',
      hint: '`modprobe nvidia-uvm`, or `nvidia-modprobe -u -c 0` at each boot',
    });
  } else if (missing.length > 0) {
    checks.push({
      name: 'NVIDIA nodes',
      status: 'info',
      found: `${missing.map((n) => `/dev/${n}`).join(', ')} missing on the host; containers get them all the same`,
      hint: 'for programs on the host: `nvidia-modprobe -c 0 -u`',
    });
  }
  if (closed.length > 0) {
    checks.push({
      name: 'NVIDIA nodes',
      status: 'warning',
      found: `${closed.map((n) => `/dev/${n}`).join(', ')} can't be opened by everyone`,
      hint: 'programs that are not root in the container are refused; NVreg_DeviceFileMode of the module sets the mode',
    });
  }
  if (checks.length === 0) {
    checks.push({
      name: 'NVIDIA nodes',
      status: 'ok',
      found: wanted.map((n) => `/dev/${n}`).join(', '),
    });
  }
  return checks;
}

function checkLibraries(files: HostFiles, driver: NvidiaDriver): GpuCheck[] {
  const { libraries, otherVersions } = findLibraries(files, driver.version);
  const of64 = libraries.filter((l) => l.bits === 64);
  const lacking = (['libcuda', 'libnvidia-ml'] as const).filter((n) => !of64.some((l) => l.name === n));
  if (lacking.length > 0) {
    const other = otherVersions.length > 0 ? `; there are some of ${otherVersions.join(' and ')}` : '';
    return [
      {
        name: 'NVIDIA libraries',
        status: 'problem',
        found: `${lacking.map((n) => `${n}.so`).join(' and ')} of version ${driver.version ?? 'any'} not found${other}`,
        hint:
          otherVersions.length > 0
            ? 'the driver was updated and the old module is still loaded: reboot, or unload and load the nvidia modules'
            : "install the driver's user-space packages (Debian: libcuda1, nvidia-smi) in the module's version",
      },
    ];
  }
  const names = new Set(of64.map((l) => l.name));
  const checks: GpuCheck[] = [
    {
      name: 'NVIDIA libraries',
      status: 'ok',
      found: `${names.size} of ${Object.keys(LIBRARIES).length} known ones, in ${[...new Set(of64.map((l) => l.path.slice(0, l.path.lastIndexOf('/'))))].join(', ')}`,
    },
  ];
  const of32 = new Set(libraries.filter((l) => l.bits === 32).map((l) => l.name)).size;
  if (of32 > 0) checks.push({ name: 'NVIDIA 32-bit libraries', status: 'info', found: `${of32}` });
  return checks;
}

function checkParts(files: HostFiles, driver: NvidiaDriver): GpuCheck[] {
  const checks: GpuCheck[] = [];
  const smi = ['/usr/bin', '/usr/local/nvidia/bin', '/opt/bin', '/usr/local/bin'].find((d) =>
    exists(files, `${d}/nvidia-smi`),
  );
  if (!smi) {
    checks.push({
      name: 'nvidia-smi',
      status: 'info',
      found: 'not on this host, so not in containers either',
      hint: 'Debian: the package nvidia-smi',
    });
  }
  if (driver.gpus.some((g) => g.uuid === undefined) && !exists(files, '/run/nvidia-persistenced/socket')) {
    checks.push({
      name: 'persistence',
      status: 'info',
      found: 'nvidia-persistenced does not run: each first use of a GPU takes a second or more',
      hint: '`systemctl enable --now nvidia-persistenced`',
    });
  }
  return checks;
}

async function checkNvml(files: HostFiles, driver: NvidiaDriver): Promise<GpuCheck> {
  const { nvml, failed } = await openManagement(files, driver.version);
  if (!nvml) {
    return {
      name: 'NVML',
      status: 'warning',
      found: `no answer: ${failed}`,
      hint: '`nsbox stats` shows no GPU columns, and MIG devices can be named by place only',
    };
  }
  const data = await nvml.read();
  const cuda =
    data.cuda > 0 ? `, CUDA ${Math.floor(data.cuda / 1000)}.${Math.floor((data.cuda % 1000) / 10)}` : '';
  return { name: 'NVML', status: 'ok', found: `driver ${data.driver}${cuda}, ${data.gpus.length} GPU(s)` };
}

function checkRender(files: HostFiles, name: string, address: string, nodes: readonly string[]): GpuCheck {
  const missing = nodes.filter((n) => !exists(files, n));
  return {
    name,
    status: missing.length > 0 ? 'warning' : 'ok',
    found: missing.length > 0 ? `${missing.join(', ')} missing` : `${nodes.join(', ')} at ${address}`,
    ...(missing.length > 0 ? { hint: 'udev makes them: `udevadm trigger --subsystem-match=drm`' } : {}),
  };
}
