import { InvalidError } from '../base/index.js';
import type { ResourceRequest } from './request.js';
import type { SpecDeviceRule, SpecResources } from './runtime-linux.js';

/** Numbers of a block device on the host. @throws InvalidError where there is no such device */
export type DeviceNumbers = (path: string) => { major: number; minor: number };

const SMALLEST_MEMORY = 6 * 1024 * 1024;
/** Microseconds; the kernel's default period. */
const CPU_PERIOD = 100_000;

/**
 * Limits in Docker's units as the OCI `linux.resources` that planCgroup writes down.
 * @throws InvalidError for combinations that Docker refuses
 */
export function resourcesFromRequest(r: ResourceRequest, deviceNumbers: DeviceNumbers): SpecResources {
  const out: SpecResources = {};
  const memory = memorySection(r);
  if (memory) out.memory = memory;
  const cpu = cpuSection(r);
  if (cpu) out.cpu = cpu;
  // 0 and -1 are Docker's "no limit"; a limit of none is not written.
  if (r.pidsLimit !== undefined && r.pidsLimit > 0) out.pids = { limit: r.pidsLimit };
  const blockIO = blockSection(r, deviceNumbers);
  if (blockIO) out.blockIO = blockIO;
  if (r.unified && Object.keys(r.unified).length > 0) out.unified = { ...r.unified };
  return out;
}

function memorySection(r: ResourceRequest): SpecResources['memory'] {
  const memory: NonNullable<SpecResources['memory']> = {};
  const limit = r.memory !== undefined && r.memory > 0 ? r.memory : undefined;
  if (limit !== undefined) {
    if (limit < SMALLEST_MEMORY) {
      throw new InvalidError(`Minimum memory limit allowed is 6MB, got ${limit} bytes`);
    }
    memory.limit = limit;
  }
  const swap = r.memorySwap;
  if (swap !== undefined && swap > 0) {
    if (limit === undefined) {
      throw new InvalidError('You should always set the memory limit when using --memory-swap', {
        hint: 'give --memory too; --memory-swap is memory plus swap',
      });
    }
    if (swap < limit) {
      throw new InvalidError('Minimum memoryswap limit should be larger than memory limit', {
        hint: '--memory-swap is memory plus swap; the same value as --memory means no swap',
      });
    }
    memory.swap = swap;
  } else if (swap === -1) {
    memory.swap = -1;
  } else if (limit !== undefined) {
    // As Docker: as much swap as memory, unless told.
    memory.swap = limit * 2;
  }
  const reservation =
    r.memoryReservation !== undefined && r.memoryReservation > 0 ? r.memoryReservation : undefined;
  if (reservation !== undefined) {
    if (limit !== undefined && limit < reservation) {
      throw new InvalidError('Minimum memory limit can not be less than memory reservation limit');
    }
    memory.reservation = reservation;
  }
  if (r.memorySwappiness !== undefined && r.memorySwappiness !== -1) {
    if (r.memorySwappiness < 0 || r.memorySwappiness > 100) {
      throw new InvalidError(`Invalid value: ${r.memorySwappiness}, valid memory swappiness range is 0-100`);
    }
    memory.swappiness = r.memorySwappiness;
  }
  if (r.oomKillDisable) memory.disableOOMKiller = true;
  return Object.keys(memory).length > 0 ? memory : undefined;
}

function cpuSection(r: ResourceRequest): SpecResources['cpu'] {
  const cpu: NonNullable<SpecResources['cpu']> = {};
  if (r.cpus !== undefined && r.cpus > 0) {
    if (r.cpuPeriod || r.cpuQuota) {
      throw new InvalidError('Conflicting options: --cpus can not be used with --cpu-period or --cpu-quota');
    }
    cpu.period = CPU_PERIOD;
    cpu.quota = Math.round(r.cpus * CPU_PERIOD);
    if (cpu.quota < 1000) throw new InvalidError(`--cpus ${r.cpus} is too small: at least 0.01`);
  } else {
    if (r.cpuPeriod) {
      if (r.cpuPeriod < 1000 || r.cpuPeriod > 1_000_000) {
        throw new InvalidError(
          'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
        );
      }
      cpu.period = r.cpuPeriod;
    }
    if (r.cpuQuota) {
      if (r.cpuQuota > 0 && r.cpuQuota < 1000) {
        throw new InvalidError('CPU cfs quota can not be less than 1ms (i.e. 1000)');
      }
      cpu.quota = r.cpuQuota;
    }
  }
  if (r.cpuShares) {
    if (r.cpuShares < 0)
      throw new InvalidError(`invalid CPU shares (${r.cpuShares}): value must be a positive integer`);
    cpu.shares = r.cpuShares;
  }
  if (r.cpusetCpus) cpu.cpus = r.cpusetCpus;
  if (r.cpusetMems) cpu.mems = r.cpusetMems;
  return Object.keys(cpu).length > 0 ? cpu : undefined;
}

function blockSection(r: ResourceRequest, numbers: DeviceNumbers): SpecResources['blockIO'] {
  const block: NonNullable<SpecResources['blockIO']> = {};
  if (r.blkioWeight) {
    if (r.blkioWeight < 10 || r.blkioWeight > 1000) {
      throw new InvalidError('Range of blkio weight is from 10 to 1000');
    }
    block.weight = r.blkioWeight;
  }
  if (r.blkioWeightDevice && r.blkioWeightDevice.length > 0) {
    block.weightDevice = r.blkioWeightDevice.map((d) => ({ ...numbers(d.path), weight: d.weight }));
  }
  const throttle = (list: { path: string; rate: number }[] | undefined) =>
    list && list.length > 0 ? list.map((d) => ({ ...numbers(d.path), rate: d.rate })) : undefined;
  const lists = {
    throttleReadBpsDevice: throttle(r.deviceReadBps),
    throttleWriteBpsDevice: throttle(r.deviceWriteBps),
    throttleReadIOPSDevice: throttle(r.deviceReadIops),
    throttleWriteIOPSDevice: throttle(r.deviceWriteIops),
  };
  for (const [key, value] of Object.entries(lists)) if (value) block[key as keyof typeof lists] = value;
  return Object.keys(block).length > 0 ? block : undefined;
}

/**
 * Device access that every container has: nothing, then making any node (a node without access is harmless), and
 * the devices that the OCI standard says are always there, with the ptys. The same list as Docker's.
 */
export function defaultDeviceRules(): SpecDeviceRule[] {
  const allow = (type: 'b' | 'c', major: number | undefined, minor: number | undefined, access = 'rwm') => ({
    allow: true,
    type,
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  });
  return [
    { allow: false, access: 'rwm' },
    allow('c', undefined, undefined, 'm'),
    allow('b', undefined, undefined, 'm'),
    allow('c', 1, 3), // null
    allow('c', 1, 5), // zero
    allow('c', 1, 7), // full
    allow('c', 1, 8), // random
    allow('c', 1, 9), // urandom
    allow('c', 5, 0), // tty
    allow('c', 5, 1), // console
    allow('c', 5, 2), // ptmx
    allow('c', 136, undefined), // pts/*
  ];
}
