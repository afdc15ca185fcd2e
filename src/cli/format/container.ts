import { shortId } from '../../base/index.js';
import type { ContainerSummary, PortState } from '../../engine/index.js';
import type { ListDescription } from './list.js';
import { createdAt, humanDuration, humanSize, timeAgo } from './units.js';

/** `ps` in Docker's words. */

export const CONTAINER_LIST: ListDescription = {
  headings: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    CreatedAt: 'CREATED AT',
    RunningFor: 'CREATED',
    Status: 'STATUS',
    State: 'STATE',
    Ports: 'PORTS',
    Names: 'NAMES',
    Labels: 'LABELS',
    Mounts: 'MOUNTS',
    LocalVolumes: 'LOCAL VOLUMES',
    Networks: 'NETWORKS',
    Size: 'SIZE',
  },
  table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}',
  quiet: 'ID',
};

/** A program with its arguments, quoted, cut to 20 characters where that is wanted. */
export function shortCommand(words: readonly string[], truncate = true): string {
  const command = words.join(' ');
  const cut = truncate && [...command].length > 20;
  return JSON.stringify(cut ? `${[...command].slice(0, 19).join('')}…` : command);
}

/** Up 3 minutes, Up 3 minutes (healthy), Exited (0) 2 hours ago, Created, … */
export function statusText(summary: Pick<ContainerSummary, 'state' | 'health'>, now: number): string {
  const { status, running, exit } = summary.state;
  const up = () => `Up ${humanDuration(Math.max(0, now - Date.parse(running?.startedAt ?? '')))}`;
  switch (status) {
    case 'running':
      if (!summary.health) return up();
      return `${up()} (${summary.health === 'starting' ? 'health: starting' : summary.health})`;
    case 'paused':
      return `${up()} (Paused)`;
    case 'restarting':
      return `Restarting (${exit?.exitCode ?? 0}) ${timeAgo(exit?.finishedAt, now)}`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    default:
      return `Exited (${exit?.exitCode ?? 0}) ${timeAgo(exit?.finishedAt, now)}`;
  }
}

/** By bytes: IPv4 before IPv6, as Docker. */
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** `0.0.0.0:8080->80/tcp, 443/tcp`, runs of neighbours as one range. */
export function portsText(ports: readonly PortState[]): string {
  const sorted = [...ports].sort(
    (a, b) =>
      a.containerPort - b.containerPort ||
      compare(a.protocol, b.protocol) ||
      compare(a.hostIp ?? '', b.hostIp ?? ''),
  );
  interface Run {
    key: string;
    hostIp: string | undefined;
    host: [number, number] | undefined;
    inside: [number, number];
    protocol: string;
  }
  const runs: Run[] = [];
  for (const port of sorted) {
    const published = port.hostPort !== undefined;
    const key = `${port.protocol} ${published ? (port.hostIp ?? '') : '-'}`;
    const run = runs.findLast((r) => r.key === key);
    const follows =
      run &&
      run.inside[1] + 1 === port.containerPort &&
      (run.host === undefined ? !published : run.host[1] + 1 === port.hostPort);
    if (run && follows) {
      run.inside[1] = port.containerPort;
      if (run.host) run.host[1] = port.hostPort!;
    } else {
      runs.push({
        key,
        hostIp: port.hostIp,
        host: published ? [port.hostPort!, port.hostPort!] : undefined,
        inside: [port.containerPort, port.containerPort],
        protocol: port.protocol,
      });
    }
  }
  const range = ([from, to]: [number, number]) => (from === to ? `${from}` : `${from}-${to}`);
  return runs
    .map((r) => {
      const ip = r.hostIp?.includes(':') ? `[${r.hostIp}]` : (r.hostIp ?? '');
      return `${r.host ? `${ip}:${range(r.host)}->` : ''}${range(r.inside)}/${r.protocol}`;
    })
    .join(', ');
}

/** A container as a row of `ps`. Sizes are there where they were asked for. */
export function containerRow(
  summary: ContainerSummary,
  options: { truncate: boolean; now: number; imageSize?: number | undefined },
): Record<string, unknown> {
  const { truncate, now } = options;
  const id = truncate ? shortId(summary.id) : summary.id;
  const mounts = summary.mounts.map((m) => m.name);
  return {
    ID: id,
    Image: summary.image || id,
    Command: shortCommand(summary.command, truncate),
    CreatedAt: createdAt(summary.created),
    RunningFor: timeAgo(summary.created, now),
    Status: statusText(summary, now),
    State: summary.state.status,
    Ports: portsText(summary.networks.ports),
    Names: summary.name,
    Labels: Object.entries(summary.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: (truncate ? mounts.map((m) => ([...m].length > 15 ? `${m.slice(0, 14)}…` : m)) : mounts).join(
      ',',
    ),
    LocalVolumes: String(summary.mounts.filter((m) => m.type === 'volume').length),
    Networks: summary.networks.names.join(','),
    Size:
      summary.size === undefined
        ? '0B'
        : `${humanSize(summary.size)}${options.imageSize === undefined ? '' : ` (virtual ${humanSize(summary.size + options.imageSize)})`}`,
    Label: (name: unknown) => summary.labels[String(name)] ?? '',
  };
}
