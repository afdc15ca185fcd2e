import type { GpuUsage } from '../../devices/index.js';
import { cpuPercent, type StatsSample, totals } from '../../engine/stats.js';
import type { ListDescription } from './list.js';
import { binarySize, humanSize } from './units.js';

/** Docker's columns; further fields for templates and JSON. */
export const STATS_LIST: ListDescription = {
  headings: {
    Container: 'CONTAINER',
    ID: 'CONTAINER ID',
    Name: 'NAME',
    CPUPerc: 'CPU %',
    MemUsage: 'MEM USAGE / LIMIT',
    MemPerc: 'MEM %',
    NetIO: 'NET I/O',
    BlockIO: 'BLOCK I/O',
    PIDs: 'PIDS',
    Throttled: 'THROTTLED',
    Swap: 'SWAP',
    Peak: 'PEAK',
    OOMKills: 'OOM KILLS',
    Pressure: 'PRESSURE (CPU MEM IO)',
    GPUMem: 'GPU MEM',
    GPUPerc: 'GPU %',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}',
  quiet: 'ID',
};

/** With the columns that a host with NVIDIA's management library has more. */
export const GPU_STATS_LIST: ListDescription = {
  ...STATS_LIST,
  table: `${STATS_LIST.table}\t{{.GPUMem}}\t{{.GPUPerc}}`,
};

/** One line of `stats`, in Docker's words and units. */
export function statsRow(
  sample: StatsSample,
  before: StatsSample | undefined,
  options: { full: boolean },
  gpu?: GpuUsage,
): Record<string, string> {
  const id = options.full ? sample.id : sample.id.slice(0, 12);
  const { usage } = sample;
  if (!usage) {
    return {
      Container: id,
      ID: id,
      Name: sample.name,
      CPUPerc: '--',
      MemUsage: '-- / --',
      MemPerc: '--',
      NetIO: '-- / --',
      BlockIO: '-- / --',
      PIDs: '--',
      Throttled: '--',
      Swap: '--',
      Peak: '--',
      OOMKills: '--',
      Pressure: '--',
      GPUMem: '--',
      GPUPerc: '--',
    };
  }
  const { rx, tx, read, write } = totals(sample);
  const percent = (value: number): string => `${value.toFixed(2)}%`;
  const pressure = usage.pressure;
  return {
    Container: id,
    ID: id,
    Name: sample.name,
    CPUPerc: percent(cpuPercent(before, sample) ?? 0),
    MemUsage: `${binarySize(usage.memory.usage)} / ${binarySize(sample.memoryLimit)}`,
    MemPerc: percent((usage.memory.usage / sample.memoryLimit) * 100),
    NetIO: `${humanSize(rx, 3)} / ${humanSize(tx, 3)}`,
    BlockIO: `${humanSize(read, 3)} / ${humanSize(write, 3)}`,
    PIDs: String(usage.pids.current),
    Throttled: `${(usage.cpu.throttledUsec / 1e6).toFixed(1)}s`,
    Swap: binarySize(usage.memory.swap),
    Peak: usage.memory.peak === null ? '--' : binarySize(usage.memory.peak),
    OOMKills: String(usage.events.oomKill),
    Pressure: pressure
      ? [pressure.cpu, pressure.memory, pressure.io].map((p) => percent(p.some.avg10)).join(' ')
      : '--',
    GPUMem: gpu?.memory === undefined ? '--' : binarySize(gpu.memory),
    GPUPerc: gpu?.utilization === undefined ? '--' : percent(gpu.utilization),
  };
}
