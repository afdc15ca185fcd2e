import type { Healthcheck } from './image-config.js';

/**
 * The typed request: what a person or program asks for. CLI flags, library options, a Dockerfile's RUN and a
 * compose service all become this, and nothing below looks at flags again. Names follow Docker's API where it has one.
 */
export interface ContainerRequest {
  /** Image reference or id. Exactly one of `image` and `rootfs`. */
  image?: string | undefined;
  /** A plain directory (absolute) used as root filesystem. */
  rootfs?: string | undefined;
  name?: string | undefined;
  /** Arguments after the image; replaces the image's Cmd when not empty. */
  command: string[];
  /** Replaces the image's Entrypoint; `[]` resets it. */
  entrypoint?: string[] | undefined;
  /** `KEY=value` entries, in order, later ones win (files and -e already merged). */
  env: string[];
  workdir?: string | undefined;
  /** `name|uid[:group|gid]` */
  user?: string | undefined;
  groupAdd: string[];
  hostname?: string | undefined;
  domainname?: string | undefined;
  labels: Record<string, string>;
  annotations: Record<string, string>;

  /** Open stdin (-i) and a terminal (-t). */
  interactive: boolean;
  tty: boolean;
  /** Remove the container (and its anonymous volumes) when it ends. */
  autoRemove: boolean;
  /** Run an init of ours as pid 1, which reaps and forwards signals (--init). */
  init: boolean;

  mounts: MountRequest[];
  /** Root filesystem read-only (--read-only). */
  readonlyRootfs: boolean;
  /** Bytes; default 64 MiB. */
  shmSize?: number | undefined;
  storageOpt: Record<string, string>;

  capAdd: string[];
  capDrop: string[];
  privileged: boolean;
  /** As written: `seccomp=unconfined`, `no-new-privileges`, `systempaths=unconfined`, `label=…`, `apparmor=…`, `mask=`, `unmask=`. */
  securityOpt: string[];
  ulimits: { name: string; soft: number; hard: number }[];
  sysctls: Record<string, string>;
  oomScoreAdj?: number | undefined;

  devices: DeviceRequest[];
  deviceCgroupRules: string[];
  /** --gpus as written, e.g. `all`, `device=0,1`. */
  gpus?: string | undefined;

  namespaces: {
    /** `host`, `private` or `container:<id>`; pid also `private` by default. Absent: the default. */
    pid?: string | undefined;
    ipc?: string | undefined; // also 'none' | 'shareable'
    uts?: string | undefined;
    cgroup?: string | undefined;
    /** `host`, or absent for an own id range. */
    user?: string | undefined;
  };

  /** Networks to join. Absent or empty: the default bridge. `none`, `host`, `container:<id>` stand alone. */
  networks: NetworkRequest[];
  ports: PortRequest[];
  publishAll: boolean;
  /** Ports made known besides the image's (--expose), as `80/tcp`. */
  exposed?: string[] | undefined;
  extraHosts: string[];
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];

  resources: ResourceRequest;
  cgroupParent?: string | undefined;
  /** Who makes the container's groups: nsbox itself (the default), or systemd as a scope. */
  cgroupManager?: 'cgroupfs' | 'systemd' | undefined;

  stopSignal?: string | undefined;
  /** Seconds; default 10. */
  stopTimeout?: number | undefined;
  restart: { name: 'no' | 'on-failure' | 'always' | 'unless-stopped'; maximumRetryCount: number };
  /** Over the image's, field by field; durations in nanoseconds. `Test: ['NONE']` is --no-healthcheck. */
  healthcheck?: Healthcheck | undefined;
  log: { driver: 'json-file' | 'none' | 'local'; options: Record<string, string> };
  pull: 'always' | 'missing' | 'never';
  platform?: string | undefined;
}

export interface MountRequest {
  type: 'bind' | 'volume' | 'tmpfs';
  /** Host path (absolute) for a bind, volume name for a volume; absent for tmpfs and anonymous volumes. */
  source?: string | undefined;
  /** Absolute path in the container. */
  target: string;
  readonly: boolean;
  /** -v makes a missing bind source, --mount refuses it. */
  createSource: boolean;
  propagation?: 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave' | undefined;
  /** Bind without submounts. */
  nonRecursive?: boolean | undefined;
  /** volume: don't fill from the image on first use. */
  noCopy?: boolean | undefined;
  /** tmpfs: bytes and mode; other tmpfs options as written. */
  tmpfs?:
    | { size?: number | undefined; mode?: number | undefined; options?: string[] | undefined }
    | undefined;
  volumeLabels?: Record<string, string> | undefined;
  volumeDriverOptions?: Record<string, string> | undefined;
}

export interface DeviceRequest {
  /** Host path, or a CDI name `vendor/class=name`. */
  source: string;
  target: string;
  /** Subset of `rwm`. */
  permissions: string;
}

export interface NetworkRequest {
  /** Network name or id, `bridge`, `none`, `host`, `container:<id>`. */
  network: string;
  aliases?: string[] | undefined;
  ip?: string | undefined;
  ip6?: string | undefined;
  mac?: string | undefined;
}

export interface PortRequest {
  hostIp?: string | undefined;
  /** 0 or absent: a free one is chosen. */
  hostPort?: number | undefined;
  /** The last of a range that starts with `hostPort`: its first free port is taken. */
  hostPortEnd?: number | undefined;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
}

/** Limits in Docker's units: bytes, CPUs, microseconds. Absent: unlimited. -1 where Docker means unlimited. */
export interface ResourceRequest {
  memory?: number | undefined;
  memoryReservation?: number | undefined;
  /** Memory plus swap, as Docker counts; -1 unlimited. */
  memorySwap?: number | undefined;
  memorySwappiness?: number | undefined;
  oomKillDisable?: boolean | undefined;
  cpus?: number | undefined;
  cpuShares?: number | undefined;
  cpuPeriod?: number | undefined;
  cpuQuota?: number | undefined;
  cpusetCpus?: string | undefined;
  cpusetMems?: string | undefined;
  pidsLimit?: number | undefined;
  blkioWeight?: number | undefined;
  blkioWeightDevice?: { path: string; weight: number }[] | undefined;
  deviceReadBps?: { path: string; rate: number }[] | undefined;
  deviceWriteBps?: { path: string; rate: number }[] | undefined;
  deviceReadIops?: { path: string; rate: number }[] | undefined;
  deviceWriteIops?: { path: string; rate: number }[] | undefined;
  /** Raw cgroup v2 files, as OCI `unified`. */
  unified?: Record<string, string> | undefined;
  /** What happens to a limit that this host can't enforce: an error (absent), or a warning. */
  forceLimits?: 'warn' | undefined;
}

/** A request that asks for nothing but an image or rootfs. Every field has its default. */
export function emptyRequest(): ContainerRequest {
  return {
    command: [],
    env: [],
    groupAdd: [],
    labels: {},
    annotations: {},
    interactive: false,
    tty: false,
    autoRemove: false,
    init: false,
    mounts: [],
    readonlyRootfs: false,
    storageOpt: {},
    capAdd: [],
    capDrop: [],
    privileged: false,
    securityOpt: [],
    ulimits: [],
    sysctls: {},
    devices: [],
    deviceCgroupRules: [],
    namespaces: {},
    networks: [],
    ports: [],
    publishAll: false,
    extraHosts: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    resources: {},
    restart: { name: 'no', maximumRetryCount: 0 },
    log: { driver: 'json-file', options: {} },
    pull: 'missing',
  };
}
