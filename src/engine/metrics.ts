import type { Context } from '../base/index.js';
import { listContainers, readContainer } from './containers.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';
import { type StatsSample, sampleStats } from './stats.js';

/**
 * Figures in the text format of Prometheus (version 0.0.4), under the names and labels of cAdvisor, so that dashboards
 * made for it work. They are read from the kernel when asked for; nothing is kept between two scrapes.
 */

type Labels = Record<string, string>;

interface Family {
  name: string;
  help: string;
  type: 'counter' | 'gauge';
  values: [labels: Labels, value: number][];
}

/** Per container: name, help, type, and what it is of a sample (one value, or several with labels of their own). */
const FAMILIES: {
  name: string;
  help: string;
  type: Family['type'];
  of: (sample: StatsSample, record: ContainerRecord) => number | null | undefined | [Labels, number][];
}[] = [
  counter('container_cpu_usage_seconds_total', 'Cumulative cpu time consumed in seconds.', (s) => [
    [{ cpu: 'total' }, (s.usage?.cpu.usageUsec ?? 0) / 1e6],
  ]),
  counter('container_cpu_user_seconds_total', 'Cumulative user cpu time consumed in seconds.', (s) =>
    micro(s.usage?.cpu.userUsec),
  ),
  counter('container_cpu_system_seconds_total', 'Cumulative system cpu time consumed in seconds.', (s) =>
    micro(s.usage?.cpu.systemUsec),
  ),
  counter(
    'container_cpu_cfs_periods_total',
    'Number of elapsed enforcement period intervals.',
    (s) => s.usage?.cpu.periods,
  ),
  counter(
    'container_cpu_cfs_throttled_periods_total',
    'Number of throttled period intervals.',
    (s) => s.usage?.cpu.throttledPeriods,
  ),
  counter(
    'container_cpu_cfs_throttled_seconds_total',
    'Total time duration the container has been throttled.',
    (s) => micro(s.usage?.cpu.throttledUsec),
  ),
  gauge(
    'container_memory_usage_bytes',
    'Current memory usage in bytes, including all memory regardless of when it was accessed',
    (s) => s.usage?.memory.total,
  ),
  gauge('container_memory_working_set_bytes', 'Current working set in bytes.', (s) => s.usage?.memory.usage),
  gauge('container_memory_rss', 'Size of RSS in bytes.', (s) => s.usage?.memory.anon),
  gauge('container_memory_cache', 'Number of bytes of page cache memory.', (s) => s.usage?.memory.cache),
  gauge('container_memory_swap', 'Container swap usage in bytes.', (s) => s.usage?.memory.swap),
  gauge(
    'container_memory_max_usage_bytes',
    'Maximum memory usage recorded in bytes',
    (s) => s.usage?.memory.peak,
  ),
  counter('container_memory_failcnt', 'Number of memory usage hits limits', (s) => s.usage?.events.memoryMax),
  counter(
    'container_oom_events_total',
    'Count of out of memory events observed for the container',
    (s) => s.usage?.events.oomKill,
  ),
  gauge(
    'container_spec_memory_limit_bytes',
    'Memory limit for the container.',
    (s) => s.usage?.memory.limit ?? 0,
  ),
  gauge(
    'container_spec_memory_swap_limit_bytes',
    'Memory swap limit for the container.',
    (s) => s.usage?.memory.swapLimit ?? 0,
  ),
  gauge(
    'container_spec_cpu_period',
    'CPU period of the container.',
    (_, r) => r.request.resources.cpuPeriod ?? 100_000,
  ),
  gauge('container_spec_cpu_quota', 'CPU quota of the container.', (_, r) => quotaOf(r)),
  gauge(
    'container_spec_cpu_shares',
    'CPU share of the container.',
    (_, r) => r.request.resources.cpuShares ?? 1024,
  ),
  gauge('container_threads', 'Number of threads running inside the container', (s) => s.usage?.pids.current),
  gauge(
    'container_threads_max',
    'Maximum number of threads allowed inside the container, infinity if value is zero',
    (s) => s.usage?.pids.limit ?? 0,
  ),
  ...network('receive', 'rx'),
  ...network('transmit', 'tx'),
  counter('container_fs_reads_bytes_total', 'Cumulative count of bytes read', (s) =>
    perDevice(s, 'readBytes'),
  ),
  counter('container_fs_writes_bytes_total', 'Cumulative count of bytes written', (s) =>
    perDevice(s, 'writeBytes'),
  ),
  counter('container_fs_reads_total', 'Cumulative count of reads completed', (s) => perDevice(s, 'reads')),
  counter('container_fs_writes_total', 'Cumulative count of writes completed', (s) => perDevice(s, 'writes')),
  ...(['cpu', 'memory', 'io'] as const).flatMap((what) => [
    counter(
      `container_pressure_${what}_waiting_seconds_total`,
      `Total time duration tasks in the container have waited due to ${what} congestion.`,
      (s) => micro(s.usage?.pressure?.[what].some.totalUsec),
    ),
    counter(
      `container_pressure_${what}_stalled_seconds_total`,
      `Total time duration no tasks in the container could make progress due to ${what} congestion.`,
      (s) => micro(s.usage?.pressure?.[what].full.totalUsec),
    ),
  ]),
];

function counter(name: string, help: string, of: (typeof FAMILIES)[number]['of']): (typeof FAMILIES)[number] {
  return { name, help, type: 'counter', of };
}

function gauge(name: string, help: string, of: (typeof FAMILIES)[number]['of']): (typeof FAMILIES)[number] {
  return { name, help, type: 'gauge', of };
}

function micro(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value / 1e6;
}

function quotaOf(record: ContainerRecord): number | undefined {
  const { cpus, cpuQuota } = record.request.resources;
  return cpus ? Math.round(cpus * 100_000) : cpuQuota && cpuQuota > 0 ? cpuQuota : undefined;
}

function network(word: string, prefix: 'rx' | 'tx'): (typeof FAMILIES)[number][] {
  const one = (suffix: string, help: string, field: 'Bytes' | 'Packets' | 'Errors' | 'Dropped') =>
    counter(`container_network_${word}_${suffix}`, help, (s) =>
      s.network.map((n): [Labels, number] => [{ interface: n.name }, n[`${prefix}${field}`]]),
    );
  const [done, doing] = prefix === 'rx' ? ['received', 'receiving'] : ['transmitted', 'transmitting'];
  return [
    one('bytes_total', `Cumulative count of bytes ${done}`, 'Bytes'),
    one('packets_total', `Cumulative count of packets ${done}`, 'Packets'),
    one('errors_total', `Cumulative count of errors encountered while ${doing}`, 'Errors'),
    one('packets_dropped_total', `Cumulative count of packets dropped while ${doing}`, 'Dropped'),
  ];
}

function perDevice(
  sample: StatsSample,
  field: 'readBytes' | 'writeBytes' | 'reads' | 'writes',
): [Labels, number][] {
  return (sample.usage?.io ?? []).map((d) => [{ device: d.device }, d[field]]);
}

/** All figures of all containers, as a scrape gets them. */
export function metricsText(ctx: Context): string {
  const host = factsOf(ctx);
  const now = Date.now() / 1000;
  const states = new Map<string, number>();
  const samples: { sample: StatsSample; record: ContainerRecord; labels: Labels }[] = [];
  for (const record of listContainers(ctx)) {
    // One that is being removed while we look is no reason to fail.
    if (!readContainer(ctx, record.id)) continue;
    const sample = sampleStats(ctx, record);
    states.set(sample.state, (states.get(sample.state) ?? 0) + 1);
    if (sample.usage) samples.push({ sample, record, labels: labelsOf(record) });
  }
  const families: Family[] = [
    one('machine_cpu_cores', 'Number of logical CPU cores.', host.cpus),
    one('machine_memory_bytes', 'Amount of memory installed on the machine.', host.memory),
    one('machine_swap_bytes', 'Amount of swap memory available on the machine.', host.swap),
    {
      name: 'nsbox_containers',
      help: 'Number of containers by state.',
      type: 'gauge',
      values: [...states].map(([state, count]) => [{ state }, count]),
    },
    {
      name: 'container_last_seen',
      help: 'Last time a container was seen by the exporter',
      type: 'gauge',
      values: samples.map(({ labels }) => [labels, now]),
    },
    ...FAMILIES.map(
      ({ of, ...family }): Family => ({
        ...family,
        values: samples.flatMap(({ sample, record, labels }): [Labels, number][] => {
          const value = of(sample, record);
          if (value === null || value === undefined) return [];
          if (typeof value === 'number') return [[labels, value]];
          return value.map(([own, n]) => [{ ...labels, ...own }, n]);
        }),
      }),
    ),
  ];
  return families.map(render).join('');
}

function one(name: string, help: string, value: number): Family {
  return { name, help, type: 'gauge', values: [[{}, value]] };
}

/** cAdvisor's labels: the cgroup's path, the image, the name, and each label of the container. */
function labelsOf(record: ContainerRecord): Labels {
  const own = Object.entries(record.request.labels).map(([key, value]) => [
    `container_label_${key.replace(/[^A-Za-z0-9_]/g, '_')}`,
    value,
  ]);
  return {
    ...Object.fromEntries(own),
    id: record.cgroup,
    image: record.image?.reference ?? record.request.rootfs ?? '',
    name: record.name,
  };
}

function render(family: Family): string {
  if (family.values.length === 0) return '';
  const lines = [`# HELP ${family.name} ${family.help}`, `# TYPE ${family.name} ${family.type}`];
  for (const [labels, value] of family.values) {
    const text = Object.entries(labels)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, v]) => `${name}="${escapeLabel(v)}"`)
      .join(',');
    lines.push(`${family.name}${text ? `{${text}}` : ''} ${value}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Backslash, quote and line feed, as the format wants them. */
function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
