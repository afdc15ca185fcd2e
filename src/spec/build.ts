import { InvalidError } from '../base/index.js';
import { capabilitySets, effectiveCapabilities } from './capabilities.js';
import type { ImageConfig } from './image-config.js';
import {
  DEFAULT_SHM_SIZE,
  defaultMounts,
  mergeMounts,
  type ResolvedMount,
  rootPropagation,
} from './mounts.js';
import { OCI_VERSION } from './parse.js';
import type { ContainerRequest } from './request.js';
import { type DeviceNumbers, defaultDeviceRules, resourcesFromRequest } from './resources.js';
import { rlimitsFromUlimits } from './rlimits.js';
import type { Spec } from './runtime.js';
import type { NamespaceType, SpecLinux, SpecResources, SpecSeccomp } from './runtime-linux.js';
import { parseSecurityOptions, selinuxLabel, systemPaths } from './security.js';
import { checkSysctls } from './sysctls.js';
import type { ResolvedUser } from './user.js';

/** The facts of the host that a spec depends on: a part of HostFacts. */
export interface SpecHost {
  /** Capabilities this process may hand on, with or without `CAP_`. */
  capabilities: { readonly bounding: readonly string[] };
  lsm: { readonly selinux: boolean; readonly apparmor: boolean };
  features: { readonly mountSetattr: { readonly have: boolean } };
}

/** Everything that a container is, resolved: nothing here is a name of something else any more. */
export interface SpecInput {
  request: ContainerRequest;
  image?: ImageConfig | undefined;
  /** Absolute host path of the root filesystem (a directory; for an image, where the overlay would be). */
  rootfs: string;
  id: string;
  hostname: string;
  user: ResolvedUser;
  /** Host ids of the container's user namespace; absent: the host's ids. */
  idRange?: { start: number; size: number } | undefined;
  /** Below the cgroup root, as `/nsbox/<id>`. */
  cgroupsPath?: string | undefined;
  /** Volumes, binds, tmpfs, and the container's own /etc/hosts, resolv.conf and hostname. */
  mounts: readonly ResolvedMount[];
  /** Namespaces of another container to join, by path; these win over the request's words. */
  join?: Partial<Record<NamespaceType, string>> | undefined;
  /** Host path of the /dev/shm shared with the container whose IPC namespace is joined. */
  shm?: string | undefined;
  host: SpecHost;
  /** The seccomp section for these capabilities; see seccompSection(). Not called when unconfined. */
  seccomp?: ((profile: string, capabilities: readonly string[]) => SpecSeccomp | undefined) | undefined;
  deviceNumbers?: DeviceNumbers | undefined;
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * A container's OCI config from what was asked and what its image says, with Docker's defaults.
 * @throws InvalidError for what can't be asked together
 */
export function buildSpec(input: SpecInput): Spec {
  const { request, host } = input;
  const security = parseSecurityOptions(request.securityOpt, request.privileged);
  const namespaces = namespaceList(input);
  const has = (type: NamespaceType) => namespaces.some((n) => n.type === type);
  const capabilities = effectiveCapabilities(request, host.capabilities.bounding);
  const paths = systemPaths(security);
  const label = selinuxLabel(security.label, host.lsm.selinux);
  const ipc = ipcMode(input);

  const spec: Spec = {
    ociVersion: OCI_VERSION,
    process: {
      terminal: request.tty,
      user: { uid: input.user.uid, gid: input.user.gid, additionalGids: input.user.additionalGids },
      args: processArgs(request, input.image),
      env: processEnv(input),
      cwd: workingDirectory(request, input.image),
      capabilities: capabilitySets(capabilities, input.user.uid),
      noNewPrivileges: security.noNewPrivileges,
    },
    root: { path: input.rootfs, readonly: request.readonlyRootfs },
    mounts: mergeMounts(
      defaultMounts({
        shmSize: request.shmSize ?? DEFAULT_SHM_SIZE,
        ipc,
        ownNetwork: has('network'),
        ownPid: has('pid'),
        userNamespace: has('user'),
        writableSys: request.privileged,
        writableCgroup: security.writableCgroups,
      }),
      input.mounts,
      host.features.mountSetattr.have,
    ),
    annotations: { ...request.annotations },
    linux: {
      namespaces,
      resources: resources(input),
      maskedPaths: paths.masked,
      readonlyPaths: paths.readonly,
    },
  };
  const linux = spec.linux!;
  const process = spec.process!;

  if (has('uts') && !input.join?.uts) {
    spec.hostname = input.hostname;
    if (request.domainname) spec.domainname = request.domainname;
  } else if (request.hostname || request.domainname) {
    throw new InvalidError('conflicting options: hostname and the UTS mode', {
      hint: "--hostname needs a UTS namespace of the container's own",
    });
  }
  if (input.idRange && !input.join?.user) {
    const map = [{ containerID: 0, hostID: input.idRange.start, size: input.idRange.size }];
    linux.uidMappings = map;
    linux.gidMappings = map;
  }
  if (input.cgroupsPath) linux.cgroupsPath = input.cgroupsPath;
  linux.sysctl = sysctls(input, has('network') && !input.join?.network);
  checkSysctls(request.sysctls, namespaces, spec.hostname);
  const propagation = rootPropagation(input.mounts);
  if (propagation) linux.rootfsPropagation = propagation;
  if (security.seccomp !== 'unconfined') {
    const section = input.seccomp?.(security.seccomp, capabilities);
    if (section) linux.seccomp = section;
  }
  if (label) {
    process.selinuxLabel = label;
    linux.mountLabel = label;
  }
  if (security.apparmor && security.apparmor !== 'unconfined') process.apparmorProfile = security.apparmor;
  const rlimits = rlimitsFromUlimits(request.ulimits);
  if (rlimits.length > 0) process.rlimits = rlimits;
  if (request.oomScoreAdj !== undefined) {
    if (request.oomScoreAdj < -1000 || request.oomScoreAdj > 1000) {
      throw new InvalidError(
        `Invalid value ${request.oomScoreAdj}, range for oom score adj is [-1000, 1000]`,
      );
    }
    process.oomScoreAdj = request.oomScoreAdj;
  }
  return spec;
}

/**
 * Why this request can't have a user namespace of its own; undefined where it can, and then it does.
 * One sentence for the person, as nsbox says it where it opts out.
 */
export function needsHostIds(request: ContainerRequest): string | undefined {
  if (request.namespaces.user === 'host') return '--userns=host was given';
  if (request.privileged) return "a privileged container has the host's rights";
  if (request.namespaces.pid === 'host') return "--pid=host shares the host's processes";
  if (request.networks.some((n) => n.network === 'host')) return "--network=host shares the host's network";
  if (request.namespaces.ipc === 'host') return "--ipc=host shares the host's memory segments";
  return undefined;
}

const NAMESPACES: readonly NamespaceType[] = ['mount', 'pid', 'network', 'ipc', 'uts', 'cgroup'];

function namespaceList(input: SpecInput): NonNullable<SpecLinux['namespaces']> {
  const { request } = input;
  const asked: Partial<Record<NamespaceType, string | undefined>> = {
    pid: request.namespaces.pid,
    ipc: request.namespaces.ipc,
    uts: request.namespaces.uts,
    cgroup: request.namespaces.cgroup,
    network: request.networks.some((n) => n.network === 'host') ? 'host' : undefined,
  };
  const list: NonNullable<SpecLinux['namespaces']> = [];
  for (const type of NAMESPACES) {
    const path = input.join?.[type];
    if (path !== undefined) list.push({ type, path });
    else if (asked[type] !== 'host') list.push({ type });
  }
  if (input.join?.user !== undefined) list.push({ type: 'user', path: input.join.user });
  else if (input.idRange) list.push({ type: 'user' });
  return list;
}

function ipcMode(input: SpecInput): 'private' | 'none' | 'host' | { shm: string } {
  const mode = input.request.namespaces.ipc;
  if (mode === 'host') return 'host';
  if (mode === 'none') return 'none';
  if (input.join?.ipc !== undefined) return input.shm === undefined ? 'none' : { shm: input.shm };
  return 'private';
}

/**
 * Entrypoint and arguments: the request's entrypoint replaces the image's and drops its Cmd; arguments replace Cmd.
 * @throws InvalidError where nothing says what to run
 */
export function processArgs(request: ContainerRequest, image: ImageConfig | undefined): string[] {
  const config = image?.config;
  const given = request.entrypoint;
  const entrypoint = given ? given.filter((part, i) => i > 0 || part !== '') : (config?.Entrypoint ?? []);
  const command =
    request.command.length > 0 ? request.command : given === undefined ? (config?.Cmd ?? []) : [];
  const args = [...entrypoint, ...command];
  if (args.length === 0 || args[0] === '') {
    throw new InvalidError('no command specified', {
      hint: request.image
        ? 'the image names no program of its own: give one after the image'
        : 'give the program to run',
    });
  }
  return args;
}

/**
 * The process's environment in Docker's order: PATH and HOSTNAME (and TERM), the image's, the request's, HOME.
 * An entry without `=` takes a variable away.
 */
export function processEnv(input: Pick<SpecInput, 'request' | 'image' | 'hostname' | 'user'>): string[] {
  const env = new Map<string, string>();
  const set = (entry: string) => {
    const at = entry.indexOf('=');
    if (at < 0) env.delete(entry);
    else env.set(entry.slice(0, at), entry);
  };
  set(DEFAULT_PATH);
  set(`HOSTNAME=${input.hostname}`);
  if (input.request.tty) set('TERM=xterm');
  for (const entry of input.image?.config?.Env ?? []) set(entry);
  for (const entry of input.request.env) set(entry);
  if (!env.has('HOME')) set(`HOME=${input.user.home}`);
  return [...env.values()];
}

function workingDirectory(request: ContainerRequest, image: ImageConfig | undefined): string {
  const cwd = request.workdir || image?.config?.WorkingDir || '/';
  if (!cwd.startsWith('/')) {
    throw new InvalidError(`the working directory '${cwd}' is invalid, it needs to be an absolute path`);
  }
  return cwd;
}

function resources(input: SpecInput): SpecResources {
  const out = resourcesFromRequest(input.request.resources, input.deviceNumbers ?? noDevices);
  out.devices = input.request.privileged ? [{ allow: true, access: 'rwm' }] : defaultDeviceRules();
  return out;
}

function noDevices(path: string): never {
  throw new InvalidError(`cannot limit the device ${path}: it can't be looked up here`);
}

/** Docker's two defaults (no privileged ports, ping without a capability), then what was asked. */
function sysctls(input: SpecInput, ownNetwork: boolean): Record<string, string> {
  const out: Record<string, string> = {};
  if (ownNetwork) {
    out['net.ipv4.ip_unprivileged_port_start'] = '0';
    // Every group of the range must exist in the namespace's id map.
    const last = input.idRange ? input.idRange.size - 1 : 2147483647;
    out['net.ipv4.ping_group_range'] = `0 ${last}`;
  }
  return { ...out, ...input.request.sysctls };
}
