import { type Context, type Filters, InvalidError, matches, matchesLabels } from '../base/index.js';
import { findGroups, isFrozen } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import {
  type ContainerState,
  containerState,
  findContainer,
  isActive,
  isUp,
  listContainers,
} from './containers.js';
import { directorySize } from './disk-usage.js';
import { type HealthStatus, healthOf } from './health.js';
import { type ContainerNetworks, networkStateOf } from './network-state.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';

/** What `ps` shows of one container, as data. */
export interface ContainerSummary {
  id: string;
  name: string;
  image: string;
  imageId: string;
  command: string[];
  created: string;
  state: ContainerState;
  /** Absent where it has no health check. */
  health?: HealthStatus | undefined;
  labels: Record<string, string>;
  mounts: { name: string; type: string }[];
  networks: ContainerNetworks;
  /** Bytes in the writable layer; only where asked for. */
  size?: number | undefined;
}

export interface ListOptions {
  /** Also those that don't run. Implied by `last` and by a filter on status, exit code or position. */
  all?: boolean | undefined;
  /** The n newest, running or not. */
  last?: number | undefined;
  filters?: Filters | undefined;
  size?: boolean | undefined;
}

export const CONTAINER_FILTERS = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
] as const;

const STATUSES = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];
const HEALTH = ['starting', 'healthy', 'unhealthy', 'none'];

/** State of a container, with `paused` told apart from `running`. */
export function stateOf(ctx: Context, record: ContainerRecord): ContainerState {
  return containerState(ctx, record, (r) => isFrozen(findGroups(hostFacts(ctx).cgroup, r.cgroup)));
}

/** One container as `ps` shows it. */
export function summarize(
  ctx: Context,
  record: ContainerRecord,
  options: { size?: boolean | undefined } = {},
): ContainerSummary {
  const state = stateOf(ctx, record);
  return {
    id: record.id,
    name: record.name,
    image: record.image?.reference ?? record.request.rootfs ?? '',
    imageId: record.image?.id ?? '',
    command: record.argv,
    created: record.created,
    state,
    health: healthOf(ctx, record, state)?.Status,
    labels: record.request.labels,
    mounts: record.mounts.map((m) => ({ name: m.name ?? m.source, type: m.type })),
    networks: networkStateOf(ctx, record, isUp(state)),
    size: options.size ? directorySize(containerPaths(ctx, record.id).upper) : undefined,
  };
}

/**
 * Containers, newest first.
 * @throws InvalidError for a filter value that can't be; NotFoundError for `before`/`since` of nothing
 */
export function listSummaries(ctx: Context, options: ListOptions = {}): ContainerSummary[] {
  const filters: Filters = options.filters ?? new Map();
  for (const status of filters.get('status') ?? []) {
    if (!STATUSES.includes(status)) {
      throw new InvalidError(`invalid filter 'status=${status}' (expected ${STATUSES.join(', ')})`);
    }
  }
  for (const code of filters.get('exited') ?? []) {
    if (!/^\d+$/.test(code))
      throw new InvalidError(`invalid filter 'exited=${code}' (expected an exit code)`);
  }
  for (const health of filters.get('health') ?? []) {
    if (!HEALTH.includes(health)) {
      throw new InvalidError(`invalid filter 'health=${health}' (expected ${HEALTH.join(', ')})`);
    }
  }
  const all =
    options.all ||
    (options.last ?? 0) > 0 ||
    ['status', 'exited', 'before', 'since'].some((key) => filters.has(key));

  let records = listContainers(ctx);
  const boundary = (key: string) => filters.get(key)?.map((name) => findContainer(ctx, name).created);
  const before = boundary('before')?.sort()[0];
  const since = boundary('since')?.sort().at(-1);
  if (before !== undefined) records = records.filter((r) => r.created < before);
  if (since !== undefined) records = records.filter((r) => r.created > since);
  records = records.filter(
    (r) =>
      matches(filters, 'id', (v) => r.id.startsWith(v)) &&
      matches(filters, 'name', (v) => nameMatches(v, r.name)) &&
      matchesLabels(filters, r.request.labels) &&
      matches(filters, 'ancestor', (v) => isAncestor(v, r)) &&
      matches(filters, 'volume', (v) =>
        r.mounts.some((m) => m.name === v || m.destination === v || m.source === v),
      ),
  );

  const summaries: ContainerSummary[] = [];
  for (const record of records) {
    const summary = summarize(ctx, record);
    const { status, exit } = summary.state;
    if (!all && !isActive(summary.state)) continue;
    const wanted =
      matches(filters, 'status', (v) => v === status) &&
      matches(filters, 'health', (v) => v === (summary.health ?? 'none')) &&
      matches(filters, 'exited', (v) => status === 'exited' && exit?.exitCode === Number(v)) &&
      matches(
        filters,
        'network',
        (v) => summary.networks.names.includes(v) || summary.networks.ids.includes(v),
      ) &&
      matches(filters, 'publish', (v) =>
        summary.networks.ports.some(
          (p) => p.hostPort !== undefined && portMatches(v, p.hostPort, p.protocol),
        ),
      ) &&
      matches(filters, 'expose', (v) =>
        summary.networks.ports.some((p) => portMatches(v, p.containerPort, p.protocol)),
      );
    if (!wanted) continue;
    if (options.size) summary.size = directorySize(containerPaths(ctx, record.id).upper);
    summaries.push(summary);
    if (options.last !== undefined && options.last > 0 && summaries.length >= options.last) break;
  }
  return summaries;
}

/** A part of the name, or a regular expression, with or without the leading slash, as Docker's. */
function nameMatches(pattern: string, name: string): boolean {
  try {
    const expression = new RegExp(pattern);
    return expression.test(name) || expression.test(`/${name}`);
  } catch {
    return name.includes(pattern);
  }
}

function isAncestor(wanted: string, record: ContainerRecord): boolean {
  const image = record.image;
  if (!image) return false;
  const withTag = (name: string) => (/[:@][^/]*$/.test(name) ? name : `${name}:latest`);
  return (
    withTag(image.reference) === withTag(wanted) ||
    image.id === wanted ||
    image.id.replace('sha256:', '').startsWith(wanted.replace('sha256:', ''))
  );
}

/** `80`, `80/udp`, `8000-8010/tcp`. */
function portMatches(wanted: string, port: number, protocol: string): boolean {
  const match = /^(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(wanted);
  if (!match) throw new InvalidError(`invalid port in filter: ${wanted} (expected as 80 or 8000-8010/udp)`);
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return port >= from && port <= to && (match[3] ?? 'tcp') === protocol;
}
