import path from 'node:path';
import { type Context, InvalidError, parseBytes } from '../../base/index.js';
import { type ContainerRequest, emptyRequest } from '../../spec/index.js';
import type { FlagValues, Input } from '../command.js';
import type { createFlags } from './flags.js';
import { parseEnv, parseLabels, parseMap } from './lists.js';
import { parseMount, parseTmpfs, parseVolume } from './mounts.js';
import { parseAddHost, parseDns, parseDnsSearch, parseExpose, parseNetworks, parsePorts } from './network.js';
import {
  parseDevice,
  parseDeviceRule,
  parseHealth,
  parseLog,
  parseNamespace,
  parseRate,
  parseRestart,
  parseSecurityOpt,
  parseSignal,
  parseUlimit,
} from './process.js';

export type CreateInput = Input<typeof createFlags>;
type Values = FlagValues<typeof createFlags>;

const CONTAINER_NAME = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Checks a container's name. @throws InvalidError, in Docker's words */
export function checkContainerName(name: string): string {
  if (CONTAINER_NAME.test(name)) return name.replace(/^\//, '');
  throw new InvalidError(`Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
}

/**
 * Turns the flags and arguments of `run` and `create` into the typed request.
 * Names of other containers (`--pid container:x`, `--volumes-from x`) are left to the engine.
 * @throws InvalidError with exit code 125
 */
export function parseRequest(input: CreateInput, ctx: Context): ContainerRequest {
  const { flags, args } = input;
  const first = args[0];
  if (first === undefined || first === '') throw new InvalidError('the image is missing');
  const restart = parseRestart(flags.restart);
  if (flags.rm && restart.name !== 'no') {
    throw new InvalidError('conflicting options: cannot specify both --restart and --rm');
  }
  const healthcheck = parseHealth(flags);
  const networks = parseNetworks([...flags.network, ...flags.net], {
    aliases: [...flags['network-alias'], ...flags['net-alias']],
    ip: flags.ip,
    ip6: flags.ip6,
    mac: flags['mac-address'],
  });
  const request: ContainerRequest = {
    ...emptyRequest(),
    ...(flags.rootfs ? { rootfs: path.resolve(ctx.cwd, first) } : { image: first }),
    name: flags.name === undefined ? undefined : checkContainerName(flags.name),
    command: args.slice(1),
    entrypoint:
      flags.entrypoint === undefined ? undefined : flags.entrypoint === '' ? [] : [flags.entrypoint],
    env: parseEnv(flags['env-file'], flags.env, ctx),
    workdir: workdir(flags.workdir),
    user: flags.user || undefined,
    groupAdd: flags['group-add'],
    hostname: hostname('hostname', flags.hostname, 63 + 1),
    domainname: hostname('domainname', flags.domainname, 64),
    labels: parseLabels(flags['label-file'], flags.label, ctx),
    annotations: parseMap('annotation', flags.annotation),
    interactive: flags.interactive,
    tty: flags.tty,
    autoRemove: flags.rm,
    init: flags.init,
    mounts: mounts(flags, ctx),
    readonlyRootfs: flags['read-only'],
    shmSize: positive('shm-size', flags['shm-size']),
    storageOpt: parseMap('storage option', flags['storage-opt']),
    capAdd: flags['cap-add'],
    capDrop: flags['cap-drop'],
    privileged: flags.privileged,
    securityOpt: flags['security-opt'].map((spec) => parseSecurityOpt(spec, ctx.cwd)),
    ulimits: flags.ulimit.map(parseUlimit),
    sysctls: parseMap('sysctl', flags.sysctl),
    oomScoreAdj: within('oom-score-adj', flags['oom-score-adj'], -1000, 1000),
    devices: flags.device.map(parseDevice),
    deviceCgroupRules: flags['device-cgroup-rule'].map(parseDeviceRule),
    gpus: flags.gpus || undefined,
    namespaces: {
      pid: parseNamespace('pid', flags.pid, ['host', 'private', 'container:']),
      ipc: parseNamespace('ipc', flags.ipc, ['none', 'private', 'shareable', 'host', 'container:']),
      uts: parseNamespace('uts', flags.uts, ['host', 'private']),
      cgroup: parseNamespace('cgroupns', flags.cgroupns, ['private', 'host']),
      user: userns(flags.userns),
    },
    networks,
    ports: flags.publish.flatMap(parsePorts),
    publishAll: flags['publish-all'],
    extraHosts: flags['add-host'].map(parseAddHost),
    dns: flags.dns.map(parseDns),
    dnsSearch: flags['dns-search'].map(parseDnsSearch),
    dnsOptions: [...flags['dns-option'], ...flags['dns-opt']],
    resources: parseResourceFlags(flags),
    cgroupParent: flags['cgroup-parent'] || undefined,
    cgroupManager: cgroupManager(flags['cgroup-manager']),
    stopSignal: flags['stop-signal'] === undefined ? undefined : parseSignal(flags['stop-signal']),
    stopTimeout: within('stop-timeout', flags['stop-timeout'], -1, 2 ** 31 - 1),
    restart,
    ...(healthcheck ? { healthcheck } : {}),
    log: parseLog(flags['log-driver'], parseMap('log option', flags['log-opt'])),
    pull: pullPolicy(flags.pull),
    platform: flags.platform || undefined,
  };
  const exposed = flags.expose.flatMap(parseExpose);
  if (exposed.length > 0) request.exposed = exposed;
  checkHostNetwork(request);
  return request;
}

/** What Docker refuses, because the settings would belong to the host or to another container. */
function checkHostNetwork(request: ContainerRequest): void {
  const mode = request.networks[0]?.network ?? '';
  if (mode.startsWith('container:')) {
    const given = request.hostname
      ? '--hostname'
      : request.dns.length > 0
        ? '--dns'
        : request.extraHosts.length > 0
          ? '--add-host'
          : request.ports.length > 0 || request.publishAll
            ? '--publish'
            : undefined;
    if (given) throw new InvalidError(`conflicting options: ${given} and the network mode ${mode}`);
  }
  if (request.namespaces.uts === 'host' && (request.hostname || request.domainname)) {
    throw new InvalidError('conflicting options: hostname and the UTS mode');
  }
}

function mounts(flags: Values, ctx: Context): ContainerRequest['mounts'] {
  const out = [
    ...flags.volume.map((spec) => parseVolume(spec, ctx)),
    ...flags.mount.map((spec) => parseMount(spec, ctx.cwd)),
    ...flags.tmpfs.map(parseTmpfs),
  ];
  const twice = out.find((m, i) => out.findIndex((n) => n.target === m.target) !== i);
  if (twice) throw new InvalidError(`Duplicate mount point: ${twice.target}`);
  return out;
}

/** The flags about limits: those of `run`, of which `update` has most. */
export type ResourceValues = Pick<
  Values,
  | 'blkio-weight'
  | 'cgroup-conf'
  | 'cpu-period'
  | 'cpu-quota'
  | 'cpu-shares'
  | 'cpus'
  | 'cpuset-cpus'
  | 'cpuset-mems'
  | 'device-read-bps'
  | 'device-read-iops'
  | 'device-write-bps'
  | 'device-write-iops'
  | 'force-limits'
  | 'memory'
  | 'memory-reservation'
  | 'memory-swap'
  | 'pids-limit'
> &
  Partial<Pick<Values, 'blkio-weight-device' | 'memory-swappiness' | 'oom-kill-disable'>>;

/** Limits in Docker's units out of their flags. */
export function parseResourceFlags(flags: ResourceValues): ContainerRequest['resources'] {
  const rates = (specs: readonly string[], size: (text: string) => number) =>
    specs.length === 0 ? undefined : specs.map((spec) => parseRate(spec, size));
  if (flags.cpus !== undefined && flags.cpus < 0) throw new InvalidError('--cpus must not be negative');
  const swappiness = within('memory-swappiness', flags['memory-swappiness'], -1, 100);
  const all: ContainerRequest['resources'] = {
    memory: positive('memory', flags.memory),
    memoryReservation: positive('memory-reservation', flags['memory-reservation']),
    memorySwap: flags['memory-swap'],
    memorySwappiness: swappiness === -1 ? undefined : swappiness,
    oomKillDisable: flags['oom-kill-disable'] || undefined,
    cpus: flags.cpus,
    cpuShares: flags['cpu-shares'],
    cpuPeriod: flags['cpu-period'],
    cpuQuota: flags['cpu-quota'],
    cpusetCpus: cpuList('cpuset-cpus', flags['cpuset-cpus']),
    cpusetMems: cpuList('cpuset-mems', flags['cpuset-mems']),
    pidsLimit: flags['pids-limit'],
    blkioWeight: flags['blkio-weight'] || undefined,
    blkioWeightDevice: deviceWeights(flags['blkio-weight-device'] ?? []),
    unified: cgroupFiles(flags['cgroup-conf']),
    forceLimits: forceLimits(flags['force-limits']),
    deviceReadBps: rates(flags['device-read-bps'], parseBytes),
    deviceWriteBps: rates(flags['device-write-bps'], parseBytes),
    deviceReadIops: rates(flags['device-read-iops'], Number),
    deviceWriteIops: rates(flags['device-write-iops'], Number),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function deviceWeights(specs: readonly string[]): ContainerRequest['resources']['blkioWeightDevice'] {
  if (specs.length === 0) return undefined;
  return specs.map((spec) => {
    const colon = spec.lastIndexOf(':');
    const weight = Number(spec.slice(colon + 1));
    if (!spec.startsWith('/dev/') || !(Number.isInteger(weight) && weight >= 10 && weight <= 1000)) {
      throw new InvalidError(
        `bad format for --blkio-weight-device: ${spec} (expected /dev/sda:200, weights 10 to 1000)`,
      );
    }
    return { path: spec.slice(0, colon), weight };
  });
}

function cgroupFiles(specs: readonly string[]): Record<string, string> | undefined {
  if (specs.length === 0) return undefined;
  return Object.fromEntries(
    specs.map((spec) => {
      const equals = spec.indexOf('=');
      if (equals < 1)
        throw new InvalidError(
          `bad format for --cgroup-conf: ${spec} (expected FILE=VALUE, as memory.high=1G)`,
        );
      return [spec.slice(0, equals), spec.slice(equals + 1)];
    }),
  );
}

function cgroupManager(text: string | undefined): ContainerRequest['cgroupManager'] {
  if (text === undefined || text === 'cgroupfs' || text === 'systemd') return text;
  throw new InvalidError(`unknown cgroup manager specified: ${text}`, { hint: 'cgroupfs or systemd' });
}

function forceLimits(text: string | undefined): 'warn' | undefined {
  if (text === undefined || text === 'error') return undefined;
  if (text === 'warn') return 'warn';
  throw new InvalidError(`invalid value ${text} for --force-limits (expected error or warn)`);
}

function cpuList(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(text)) return text;
  throw new InvalidError(`invalid value ${text} for --${flag} (expected a list as 0-3,7)`);
}

function positive(flag: string, value: number | undefined): number | undefined {
  if (value !== undefined && value < 0) throw new InvalidError(`--${flag} must not be negative`);
  return value === 0 ? undefined : value;
}

function within(flag: string, value: number | undefined, least: number, most: number): number | undefined {
  if (value === undefined || (value >= least && value <= most)) return value;
  throw new InvalidError(`invalid value for --${flag}: ${value} (${least} to ${most})`);
}

function workdir(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.startsWith('/')) return path.posix.normalize(text);
  throw new InvalidError(`the working directory '${text}' is invalid, it needs to be an absolute path`);
}

function hostname(flag: string, text: string | undefined, longest: number): string | undefined {
  if (text === undefined || text === '') return undefined;
  const label = '[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?';
  if (text.length <= longest && new RegExp(`^${label}(\\.${label})*$`).test(text)) return text;
  throw new InvalidError(`invalid ${flag}: ${text} (letters, digits, - and ., at most 64 characters)`);
}

function userns(text: string | undefined): string | undefined {
  if (text === undefined || text === '' || text === 'private') return undefined;
  if (text === 'host') return text;
  throw new InvalidError(`--userns: invalid USER mode: ${text} (expected host or private)`);
}

function pullPolicy(text: string): ContainerRequest['pull'] {
  if (text === 'always' || text === 'missing' || text === 'never') return text;
  throw new InvalidError(`invalid pull option: '${text}': must be one of "always", "missing" or "never"`);
}
