import type { Limit } from '../limits.js';
import { type Value, Variant } from './wire.js';

/** A unit's property as D-Bus takes it: name and value. */
export type Property = [name: string, value: Variant];

/** systemd's "infinity". */
export const NO_LIMIT = 2n ** 64n - 1n;

/** Files whose one number (or `max`) is a property of the same unit. */
const NUMBERS: Record<string, string> = {
  'memory.max': 'MemoryMax',
  'memory.high': 'MemoryHigh',
  'memory.low': 'MemoryLow',
  'memory.min': 'MemoryMin',
  'memory.swap.max': 'MemorySwapMax',
  'pids.max': 'TasksMax',
};

const IO_MAX: Record<string, string> = {
  rbps: 'IOReadBandwidthMax',
  wbps: 'IOWriteBandwidthMax',
  riops: 'IOReadIOPSMax',
  wiops: 'IOWriteIOPSMax',
};

/**
 * Limits in the words of systemd.resource-control(5), so that systemd keeps them over a daemon-reload and shows them.
 * A limit that systemd has no property for (hugetlb, rdma, memory.oom.group …) is left out: it is written into the
 * group, where systemd leaves it alone.
 */
export function scopeProperties(limits: readonly Limit[]): Property[] {
  const out = new Map<string, Variant>();
  const devices = new Map<string, Value[]>();
  const device = (property: string, id: string, value: bigint): void => {
    devices.set(property, [...(devices.get(property) ?? []), [`/dev/block/${id}`, value]]);
  };
  for (const { file, value } of limits) {
    const property = NUMBERS[file];
    if (property) out.set(property, new Variant('t', numberOf(value)));
    else if (file === 'cpu.weight') out.set('CPUWeight', new Variant('t', BigInt(value)));
    else if (file === 'cpu.max') {
      const [quota = 'max', period = '100000'] = value.split(' ');
      // Microseconds of CPU time in a second, rounded up to systemd's grain as runc and crun do.
      const perSecond = quota === 'max' ? NO_LIMIT : quotaPerSecond(BigInt(quota), BigInt(period));
      out.set('CPUQuotaPerSecUSec', new Variant('t', perSecond));
      out.set('CPUQuotaPeriodUSec', new Variant('t', BigInt(period)));
    } else if (file === 'cpuset.cpus') out.set('AllowedCPUs', new Variant('ay', bitsOf(value)));
    else if (file === 'cpuset.mems') out.set('AllowedMemoryNodes', new Variant('ay', bitsOf(value)));
    else if (file === 'io.weight') {
      const [scope = 'default', weight = '100'] = value.split(' ');
      if (scope === 'default') out.set('IOWeight', new Variant('t', BigInt(weight)));
      else device('IODeviceWeight', scope, BigInt(weight));
    } else if (file === 'io.max') {
      const [id = '', ...keys] = value.split(' ');
      for (const key of keys) {
        const [name = '', rate = 'max'] = key.split('=');
        const limit = IO_MAX[name];
        if (limit) device(limit, id, numberOf(rate));
      }
    }
  }
  for (const [name, list] of devices) out.set(name, new Variant('a(st)', list));
  return [...out];
}

function numberOf(value: string): bigint {
  return value === 'max' ? NO_LIMIT : BigInt(value);
}

function quotaPerSecond(quota: bigint, period: bigint): bigint {
  const exact = (quota * 1_000_000n) / period;
  const grain = 10_000n;
  return exact % grain === 0n ? exact : (exact / grain + 1n) * grain;
}

/** `0-2,8` → [7, 1]: bit n of byte n / 8. */
function bitsOf(list: string): number[] {
  const bytes: number[] = [];
  for (const part of list.split(',').filter(Boolean)) {
    const [from = 0, to = from] = part.split('-').map(Number);
    for (let n = from; n <= to; n++) {
      while (bytes.length <= n >> 3) bytes.push(0);
      bytes[n >> 3] = (bytes[n >> 3] as number) | (1 << (n & 7));
    }
  }
  return bytes;
}
