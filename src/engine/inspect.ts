import type { Context } from '../base/index.js';
import { dockerDeviceRequests, isQualifiedName } from '../devices/index.js';
import { type ContainerRequest, exposedPorts, type ImageConfig, type PortRequest } from '../spec/index.js';
import { type ContainerState, isUp } from './containers.js';
import { directorySize } from './disk-usage.js';
import { type Health, healthOf } from './health.js';
import { type ContainerNetworks, networkStateOf, type PortState } from './network-state.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';

const ZERO_TIME = '0001-01-01T00:00:00Z';

export interface InspectOptions {
  /** Also SizeRw and SizeRootFs, in bytes. */
  size?: boolean | undefined;
  /** Config of the container's image, and its size in bytes; absent where the image is gone. */
  image?: { config: ImageConfig; size: number } | undefined;
}

/** A container in the shape of Docker's `inspect`, for the fields that nsbox has. */
export function inspectContainer(
  ctx: Context,
  record: ContainerRecord,
  options: InspectOptions = {},
): object {
  const paths = containerPaths(ctx, record.id);
  const { request } = record;
  const state = stateOf(ctx, record);
  const networks = networkStateOf(ctx, record, isUp(state));
  const config = options.image?.config.config;
  const sizes = options.size ? sizesOf(paths.upper, options.image?.size ?? 0) : {};
  return {
    Id: record.id,
    Created: record.created,
    Path: record.argv[0] ?? '',
    Args: record.argv.slice(1),
    State: stateSection(state, healthOf(ctx, record, state)),
    Image: record.image?.id ?? '',
    ResolvConfPath: `${paths.data}/resolv.conf`,
    HostnamePath: `${paths.data}/hostname`,
    HostsPath: `${paths.data}/hosts`,
    LogPath: request.log.driver === 'none' ? '' : paths.log,
    Name: `/${record.name}`,
    RestartCount: state.running?.restartCount ?? state.exit?.restartCount ?? 0,
    Driver: record.image ? 'overlay' : 'directory',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    HostConfig: hostConfig(request, networks.mode),
    GraphDriver: {
      Name: record.image ? 'overlay' : 'directory',
      Data: record.image
        ? { UpperDir: paths.upper, WorkDir: paths.work, Chain: record.image.chain }
        : { Directory: request.rootfs ?? '' },
    },
    Mounts: record.mounts.map((m) => ({
      Type: m.type,
      ...(m.name === undefined ? {} : { Name: m.name, Driver: 'local' }),
      Source: m.source,
      Destination: m.destination,
      Mode: m.mode,
      RW: m.rw,
      Propagation: m.propagation,
    })),
    Config: {
      Hostname: request.hostname ?? record.id.slice(0, 12),
      Domainname: request.domainname ?? '',
      User: request.user ?? config?.User ?? '',
      AttachStdin: request.interactive,
      AttachStdout: true,
      AttachStderr: true,
      ExposedPorts: portSet([
        ...exposedPorts(options.image?.config, request),
        ...request.ports.map((p) => `${p.containerPort}/${p.protocol}`),
      ]),
      Tty: request.tty,
      OpenStdin: request.interactive,
      StdinOnce: request.interactive,
      Env: mergeEnv(config?.Env ?? [], request.env),
      Cmd: request.command.length > 0 ? request.command : (config?.Cmd ?? null),
      Image: record.image?.reference ?? '',
      Volumes: config?.Volumes ?? null,
      WorkingDir: request.workdir ?? config?.WorkingDir ?? '',
      Entrypoint: request.entrypoint ?? config?.Entrypoint ?? null,
      Labels: { ...config?.Labels, ...request.labels },
      StopSignal: request.stopSignal ?? config?.StopSignal ?? 'SIGTERM',
      Healthcheck: record.healthcheck,
      ...(request.stopTimeout === undefined ? {} : { StopTimeout: request.stopTimeout }),
    },
    NetworkSettings: networkSection(networks),
    IdRange: record.idRange ?? null,
    CgroupPath: record.cgroup,
    ...sizes,
  };
}

function sizesOf(upper: string, image: number): { SizeRw: number; SizeRootFs: number } {
  const own = directorySize(upper);
  return { SizeRw: own, SizeRootFs: own + image };
}

function stateSection(state: ContainerState, health: Health | undefined): object {
  const { status, running, exit } = state;
  const alive = isUp(state);
  return {
    Status: status,
    Running: alive || status === 'restarting',
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: !alive && (exit?.oomKilled ?? false),
    Dead: status === 'dead',
    Pid: alive ? (running?.pid ?? 0) : 0,
    ExitCode: alive ? 0 : (exit?.exitCode ?? 0),
    Error: alive ? '' : (exit?.error ?? ''),
    StartedAt: running?.startedAt ?? exit?.startedAt ?? ZERO_TIME,
    FinishedAt: exit?.finishedAt ?? ZERO_TIME,
    Health: health, // undefined is omitted, and nil to a template
  };
}

/** Earlier entries are replaced in place by later ones of the same name. */
function mergeEnv(image: readonly string[], own: readonly string[]): string[] {
  const out = new Map<string, string>();
  for (const entry of [...image, ...own]) out.set(entry.split('=', 1)[0]!, entry);
  return [...out.values()];
}

const portSet = (names: readonly string[]): Record<string, object> =>
  Object.fromEntries([...new Set(names)].sort().map((name) => [name, {}]));

type PortMap = Record<string, { HostIp: string; HostPort: string }[] | null>;

/** Ports as they were asked for: whether the container runs or not, and without what was chosen for it. */
function portBindings(ports: readonly PortRequest[]): PortMap {
  const out: PortMap = {};
  for (const p of ports) {
    const range = p.hostPortEnd ? `${p.hostPort}-${p.hostPortEnd}` : String(p.hostPort || '');
    const name = `${p.containerPort}/${p.protocol}`;
    out[name] = [...(out[name] ?? []), { HostIp: p.hostIp ?? '', HostPort: range }];
  }
  return out;
}

/** Ports as they are now. */
function portMap(ports: readonly PortState[]): PortMap {
  const out: PortMap = {};
  for (const p of ports) {
    const name = `${p.containerPort}/${p.protocol}`;
    out[name] ??= null;
    if (p.hostPort === undefined) continue;
    out[name] = [...(out[name] ?? []), { HostIp: p.hostIp ?? '', HostPort: String(p.hostPort) }];
  }
  return out;
}

function networkSection(networks: ContainerNetworks): object {
  const first = networks.endpoints[0];
  return {
    SandboxKey: '',
    Ports: portMap(networks.ports),
    IPAddress: first?.ip ?? '',
    IPPrefixLen: first?.prefixLength ?? 0,
    Gateway: first?.gateway ?? '',
    MacAddress: first?.mac ?? '',
    GlobalIPv6Address: first?.ip6 ?? '',
    Networks: Object.fromEntries(
      networks.names.map((name) => {
        const e = networks.endpoints.find((endpoint) => endpoint.network === name);
        return [
          name,
          {
            Aliases: e?.aliases ?? [],
            NetworkID: e?.networkId ?? '',
            Gateway: e?.gateway ?? '',
            IPAddress: e?.ip ?? '',
            IPPrefixLen: e?.prefixLength ?? 0,
            IPv6Gateway: e?.gateway6 ?? '',
            GlobalIPv6Address: e?.ip6 ?? '',
            GlobalIPv6PrefixLen: e?.prefixLength6 ?? 0,
            MacAddress: e?.mac ?? '',
          },
        ];
      }),
    ),
  };
}

function hostConfig(request: ContainerRequest, mode: string): object {
  const r = request.resources;
  const binds = request.mounts.filter((m) => m.type !== 'tmpfs' && m.source !== undefined);
  return {
    Binds: binds.length > 0 ? binds.map((m) => `${m.source}:${m.target}${m.readonly ? ':ro' : ''}`) : null,
    LogConfig: { Type: request.log.driver, Config: request.log.options },
    NetworkMode: mode,
    PortBindings: portBindings(request.ports),
    RestartPolicy: { Name: request.restart.name, MaximumRetryCount: request.restart.maximumRetryCount },
    AutoRemove: request.autoRemove,
    CapAdd: request.capAdd.length > 0 ? request.capAdd : null,
    CapDrop: request.capDrop.length > 0 ? request.capDrop : null,
    CgroupnsMode: request.namespaces.cgroup ?? 'private',
    Dns: request.dns,
    DnsOptions: request.dnsOptions,
    DnsSearch: request.dnsSearch,
    ExtraHosts: request.extraHosts.length > 0 ? request.extraHosts : null,
    GroupAdd: request.groupAdd.length > 0 ? request.groupAdd : null,
    IpcMode: request.namespaces.ipc ?? 'private',
    PidMode: request.namespaces.pid ?? '',
    UTSMode: request.namespaces.uts ?? '',
    UsernsMode: request.namespaces.user ?? '',
    OomScoreAdj: request.oomScoreAdj ?? 0,
    Privileged: request.privileged,
    PublishAllPorts: request.publishAll,
    ReadonlyRootfs: request.readonlyRootfs,
    SecurityOpt: request.securityOpt.length > 0 ? request.securityOpt : null,
    StorageOpt: request.storageOpt,
    Tmpfs: Object.fromEntries(
      request.mounts
        .filter((m) => m.type === 'tmpfs')
        .map((m) => [m.target, (m.tmpfs?.options ?? []).join(',')]),
    ),
    Sysctls: request.sysctls,
    ShmSize: request.shmSize ?? 64 * 1024 * 1024,
    Init: request.init,
    CgroupParent: request.cgroupParent ?? '',
    Memory: r.memory ?? 0,
    MemoryReservation: r.memoryReservation ?? 0,
    MemorySwap: r.memorySwap ?? 0,
    MemorySwappiness: r.memorySwappiness ?? null,
    OomKillDisable: r.oomKillDisable ?? false,
    NanoCpus: Math.round((r.cpus ?? 0) * 1e9),
    CpuShares: r.cpuShares ?? 0,
    CpuPeriod: r.cpuPeriod ?? 0,
    CpuQuota: r.cpuQuota ?? 0,
    CpusetCpus: r.cpusetCpus ?? '',
    CpusetMems: r.cpusetMems ?? '',
    PidsLimit: r.pidsLimit ?? null,
    BlkioWeight: r.blkioWeight ?? 0,
    Devices: request.devices
      .filter((d) => !isQualifiedName(d.source))
      .map((d) => ({
        PathOnHost: d.source,
        PathInContainer: d.target,
        CgroupPermissions: d.permissions,
      })),
    DeviceRequests: dockerDeviceRequests(request.devices, request.gpus),
    DeviceCgroupRules: request.deviceCgroupRules.length > 0 ? request.deviceCgroupRules : null,
    Ulimits: request.ulimits.map((u) => ({ Name: u.name, Hard: u.hard, Soft: u.soft })),
  };
}
