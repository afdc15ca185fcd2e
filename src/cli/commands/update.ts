import { defineCommand } from '../command.js';
import { createFlags } from '../request/flags.js';

/** The flags of `run` that can be changed later. */
const {
  'blkio-weight': blkioWeight,
  'cgroup-conf': cgroupConf,
  'cpu-period': cpuPeriod,
  'cpu-quota': cpuQuota,
  'cpu-shares': cpuShares,
  cpus,
  'cpuset-cpus': cpusetCpus,
  'cpuset-mems': cpusetMems,
  'device-read-bps': deviceReadBps,
  'device-read-iops': deviceReadIops,
  'device-write-bps': deviceWriteBps,
  'device-write-iops': deviceWriteIops,
  'force-limits': forceLimits,
  memory,
  'memory-reservation': memoryReservation,
  'memory-swap': memorySwap,
  'pids-limit': pidsLimit,
} = createFlags;

export const command = defineCommand({
  name: 'update',
  aliases: ['container update'],
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Update configuration of one or more containers',
  details: 'Limits hold at once where the container runs, and for every later start.',
  options: {
    'blkio-weight': blkioWeight,
    'cgroup-conf': cgroupConf,
    'cpu-period': cpuPeriod,
    'cpu-quota': cpuQuota,
    'cpu-shares': cpuShares,
    cpus,
    'cpuset-cpus': cpusetCpus,
    'cpuset-mems': cpusetMems,
    'device-read-bps': deviceReadBps,
    'device-read-iops': deviceReadIops,
    'device-write-bps': deviceWriteBps,
    'device-write-iops': deviceWriteIops,
    'force-limits': forceLimits,
    memory,
    'memory-reservation': memoryReservation,
    'memory-swap': memorySwap,
    'pids-limit': pidsLimit,
    restart: { type: 'string', help: 'Restart policy to apply when a container exits' },
    'cpu-rt-period': createFlags['cpu-rt-period'],
    'cpu-rt-runtime': createFlags['cpu-rt-runtime'],
    'kernel-memory': createFlags['kernel-memory'],
  },
  args: { min: 1 },
  async run(input, io, ctx) {
    const { flags, args, given } = input;
    const { InvalidError } = await import('../../base/index.js');
    if (given.size === 0) {
      throw new InvalidError('you must provide one or more flags when using this command', {
        hint: 'nsbox update --help lists them',
      });
    }
    const { findContainer } = await import('../../engine/containers.js');
    const { updateContainer } = await import('../../engine/update.js');
    const { parseResourceFlags } = await import('../request/request.js');
    const { parseRestart } = await import('../request/process.js');
    const changes = {
      resources: given.has('restart') && given.size === 1 ? undefined : parseResourceFlags(flags),
      restart: flags.restart === undefined ? undefined : parseRestart(flags.restart),
    };
    let failed = 0;
    for (const name of args) {
      try {
        const warnings = await updateContainer(ctx, findContainer(ctx, name), changes);
        for (const warning of warnings) ctx.warn(warning);
        io.out(`${name}\n`);
      } catch (error) {
        // One that can't be changed doesn't keep the others from it; a single one fails as usual.
        if (args.length === 1) throw error;
        failed++;
        io.err(`nsbox: ${(error as Error).message}\n`);
      }
    }
    return failed > 0 ? 1 : 0;
  },
});
