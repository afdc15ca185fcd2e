import path from 'node:path';
import type { Readable } from 'node:stream';
import { InvalidError } from '../base/index.js';
import { type ContainerRequest, type DeviceRequest, emptyRequest, type MountRequest } from '../spec/index.js';

/** What `run` and `create` take. Exactly one of `image` and `rootfs`. */
export interface SandboxOptions {
  /** Name or id of an image in the store (see `images`). */
  image?: string;
  /** A plain directory as root filesystem; what the program writes goes to a layer of its own and is gone then. */
  rootfs?: string;
  /** Program and arguments. A string is run by `/bin/sh -c`. Absent: what the image says. */
  command?: readonly string[] | string;
  entrypoint?: readonly string[];
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** `name|uid[:group|gid]` */
  user?: string;
  hostname?: string;
  /** `none` (the default: loopback alone), `bridge`, `host`, or the name of a network. */
  network?: string;
  mounts?: readonly SandboxMount[];
  readonlyRootfs?: boolean;
  /** Bytes. */
  memory?: number;
  cpus?: number;
  pids?: number;
  capAdd?: readonly string[];
  capDrop?: readonly string[];
  privileged?: boolean;
  securityOpt?: readonly string[];
  /** An init of ours reaps what the program leaves behind. */
  init?: boolean;
  /** Host devices, by path or CDI name (`nvidia.com/gpu=0`). */
  devices?: readonly (string | SandboxDevice)[];
  /** As `--gpus` takes it: `all`, `2`, `device=0,1`. */
  gpus?: string;
  labels?: Readonly<Record<string, string>>;
  /** Any field of the typed request that has no option above. */
  request?: Partial<ContainerRequest>;

  /** Where nsbox keeps its things; NSBOX_ROOT and NSBOX_STATE, /var/lib/nsbox and /run/nsbox unless told. */
  root?: string;
  state?: string;
  /** Told what was done in another way than asked, as where a filesystem can't be idmapped. */
  onWarning?: (message: string) => void;
}

export interface SandboxDevice {
  source: string;
  /** Path in the container; the host's unless told. */
  target?: string;
  /** Selection of `rwm`; all of it unless told. */
  permissions?: string;
}

export interface SandboxMount {
  /** `bind` unless told; a `volume` is kept between sandboxes. */
  type?: 'bind' | 'volume' | 'tmpfs';
  source?: string;
  target: string;
  readonly?: boolean;
}

/** Options of `run` beyond those of `create`. */
export interface RunOptions extends SandboxOptions {
  /** The program's input; absent: none. */
  stdin?: string | Uint8Array | Readable;
  /** Milliseconds until it is killed and `run` fails with code TIMEOUT. */
  timeout?: number;
  /** Kills it and fails with code ABORTED. */
  signal?: AbortSignal;
  /** Bytes of stdout and stderr kept each; more is an error. Default 64 MiB. */
  maxBuffer?: number;
}

const KNOWN = new Set([
  'image',
  'rootfs',
  'command',
  'entrypoint',
  'env',
  'cwd',
  'user',
  'hostname',
  'network',
  'mounts',
  'readonlyRootfs',
  'memory',
  'cpus',
  'pids',
  'capAdd',
  'capDrop',
  'privileged',
  'securityOpt',
  'init',
  'devices',
  'gpus',
  'labels',
  'request',
  'root',
  'state',
  'onWarning',
  'stdin',
  'timeout',
  'signal',
  'maxBuffer',
]);

/**
 * Options → request.
 * @throws InvalidError naming the option, what was expected and what was received
 */
export function toRequest(options: RunOptions): ContainerRequest {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw new InvalidError(`unknown option ${JSON.stringify(key)}`);
  }
  if ((options.image === undefined) === (options.rootfs === undefined)) {
    throw new InvalidError('expected exactly one of the options "image" and "rootfs"');
  }
  expect('image', options.image, 'string');
  expect('rootfs', options.rootfs, 'string');
  for (const name of ['memory', 'cpus', 'pids', 'timeout', 'maxBuffer'] as const)
    expect(name, options[name], 'number');
  for (const name of ['cwd', 'user', 'hostname', 'network', 'gpus'] as const)
    expect(name, options[name], 'string');
  const command =
    options.command === undefined
      ? []
      : typeof options.command === 'string'
        ? ['/bin/sh', '-c', options.command]
        : strings('command', options.command);
  return {
    ...emptyRequest(),
    image: options.image,
    rootfs: options.rootfs === undefined ? undefined : path.resolve(options.rootfs),
    command,
    entrypoint: options.entrypoint && strings('entrypoint', options.entrypoint),
    env: Object.entries(options.env ?? {}).map(([k, v]) => `${k}=${v}`),
    workdir: options.cwd,
    user: options.user,
    hostname: options.hostname,
    networks: [{ network: options.network ?? 'none' }],
    mounts: (options.mounts ?? []).map(mount),
    readonlyRootfs: options.readonlyRootfs ?? false,
    resources: { memory: options.memory, cpus: options.cpus, pidsLimit: options.pids },
    capAdd: strings('capAdd', options.capAdd ?? []),
    capDrop: strings('capDrop', options.capDrop ?? []),
    privileged: options.privileged ?? false,
    securityOpt: strings('securityOpt', options.securityOpt ?? []),
    init: options.init ?? false,
    devices: (options.devices ?? []).map(device),
    gpus: options.gpus,
    labels: { ...options.labels },
    autoRemove: true,
    ...options.request,
  };
}

function device(d: string | SandboxDevice): DeviceRequest {
  const { source, target, permissions }: SandboxDevice = typeof d === 'string' ? { source: d } : d;
  if (typeof source !== 'string') {
    throw new InvalidError(`option devices: expected a path or CDI name, received ${describe(source)}`);
  }
  return { source, target: target ?? source, permissions: permissions ?? 'rwm' };
}

function mount(m: SandboxMount): MountRequest {
  if (!m.target?.startsWith('/')) {
    throw new InvalidError(
      `mounts: expected an absolute path as target, received ${JSON.stringify(m.target)}`,
    );
  }
  const type = m.type ?? 'bind';
  if (type === 'bind' && !m.source)
    throw new InvalidError(`mounts: the bind mount at ${m.target} has no source`);
  return {
    type,
    source: type === 'bind' ? path.resolve(m.source!) : m.source,
    target: m.target,
    readonly: m.readonly ?? false,
    createSource: false,
  };
}

function expect(name: string, value: unknown, type: 'string' | 'number'): void {
  if (value !== undefined && (type === 'string' ? typeof value !== 'string' : typeof value !== 'number')) {
    throw new InvalidError(`option ${name}: expected a ${type}, received ${describe(value)}`);
  }
}

function strings(name: string, value: readonly string[]): string[] {
  if (!Array.isArray(value) || value.some((v) => typeof v !== 'string')) {
    throw new InvalidError(`option ${name}: expected an array of strings, received ${describe(value)}`);
  }
  return [...value];
}

function describe(value: unknown): string {
  return `${JSON.stringify(value)} of type ${value === null ? 'null' : typeof value}`;
}
