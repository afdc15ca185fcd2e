import { defineCommand, formatFlag } from '../command.js';
import { printObject } from '../format/list.js';
import { binarySize } from '../format/units.js';

export const command = defineCommand({
  name: 'info',
  aliases: ['system info'],
  usage: '[OPTIONS]',
  summary: 'Display system-wide information',
  options: { format: formatFlag },
  async run({ flags }, io, ctx) {
    const { countImages, systemInfo } = await import('../../engine/index.js');
    const { driverFiles, listGpus } = await import('../../devices/index.js');
    const GPUs = await listGpus(driverFiles(ctx.env['NSBOX_DRIVER_ROOT']));
    const info = {
      ...systemInfo(ctx, await countImages(ctx)),
      CDISpecDirs: ['/etc/cdi', '/var/run/cdi'],
      GPUs,
    };
    printObject(io, info, flags.format, () =>
      [
        `Containers: ${info.Containers}`,
        ` Running: ${info.ContainersRunning}`,
        ` Paused: ${info.ContainersPaused}`,
        ` Stopped: ${info.ContainersStopped}`,
        `Images: ${info.Images}`,
        `Server Version: ${info.ServerVersion}`,
        `Storage Driver: ${info.Driver}`,
        ...info.DriverStatus.map(([name, value]) => ` ${name}: ${value}`),
        `Logging Driver: ${info.LoggingDriver}`,
        `Cgroup Driver: ${info.CgroupDriver}`,
        `Cgroup Version: ${info.CgroupVersion}`,
        ` cgroup2 controllers: ${info.CgroupControllers.unified.join(' ') || 'none'}`,
        ` v1 controllers: ${info.CgroupControllers.v1.join(' ') || 'none'}`,
        'Security Options:',
        ...info.SecurityOptions.map(
          (option) => ` ${option.replace('name=', '').replace(',', '\n  ').replace('=', ': ')}`,
        ),
        `Kernel Version: ${info.KernelVersion}`,
        `Operating System: ${info.OperatingSystem}`,
        `OSType: ${info.OSType}`,
        `Architecture: ${info.Architecture}`,
        `CPUs: ${info.NCPU}`,
        `Total Memory: ${binarySize(info.MemTotal)}`,
        ...(GPUs.length > 0 ? ['GPUs:'] : []),
        ...GPUs.map(
          (g) =>
            ` ${g.vendor} ${g.index}: ${[g.name, g.uuid, g.address, `driver ${g.driver}`].filter(Boolean).join(', ')}`,
        ),
        `Name: ${info.Name}`,
        `Root Dir: ${info.DockerRootDir}`,
        `State Dir: ${info.StateDir}`,
        `Id Ranges: ${info.IdRanges.count} of ${info.IdRanges.size} from ${info.IdRanges.start}`,
        '',
      ].join('\n'),
    );
    // Beside the list, as Docker prints them; with --format they are a field.
    if (!flags.format) io.err(info.Warnings.map((text) => `WARNING: ${text}\n`).join(''));
    return 0;
  },
});
