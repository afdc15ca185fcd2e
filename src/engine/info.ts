import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Context, packageRoot } from '../base/index.js';
import { controllerReport } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import { listContainers } from './containers.js';
import { stateOf } from './ps.js';

export interface VersionInfo {
  Version: string;
  NodeVersion: string;
  Os: string;
  Arch: string;
  KernelVersion: string;
  OciVersion: string;
}

/** Version of nsbox and of what it stands on. */
export function versionInfo(): VersionInfo {
  const { version } = JSON.parse(readFileSync(`${packageRoot()}/package.json`, 'utf8')) as {
    version: string;
  };
  return {
    Version: version,
    NodeVersion: process.versions.node,
    Os: 'linux',
    Arch: process.arch === 'x64' ? 'amd64' : process.arch,
    KernelVersion: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    OciVersion: '1.3.0',
  };
}

/** What `nsbox info` shows, under Docker's names where it has them. */
export function systemInfo(ctx: Context, images: number) {
  const host = hostFacts(ctx);
  const states = listContainers(ctx).map((record) => stateOf(ctx, record).status);
  const count = (...wanted: string[]) => states.filter((s) => wanted.includes(s)).length;
  const { cgroup } = host;
  return {
    Containers: states.length,
    ContainersRunning: count('running', 'restarting'),
    ContainersPaused: count('paused'),
    ContainersStopped: states.length - count('running', 'restarting', 'paused'),
    Images: images,
    ServerVersion: versionInfo().Version,
    Driver: 'overlay',
    DriverStatus: [
      ['Backing Filesystem', host.root.filesystem],
      ['Idmapped layers', String(host.features.idmappedOverlay.have && host.features.idmappedRoot.have)],
    ],
    LoggingDriver: 'json-file',
    CgroupDriver: ctx.env['NSBOX_CGROUP_MANAGER'] === 'systemd' ? 'systemd' : 'cgroupfs',
    CgroupVersion: cgroup.mode === 'unified' ? '2' : cgroup.mode,
    CgroupControllers: { unified: cgroup.controllers, v1: Object.keys(cgroup.v1) },
    SecurityOptions: [
      ...(host.seccomp.available ? ['name=seccomp,profile=builtin'] : []),
      ...(host.userns.available ? ['name=userns'] : []),
      ...(host.lsm.apparmor ? ['name=apparmor'] : []),
      ...(host.lsm.selinux ? ['name=selinux'] : []),
    ],
    KernelVersion: host.kernel.release,
    OperatingSystem: osName(),
    OSType: 'linux',
    Architecture: host.machine,
    NCPU: host.cpus,
    MemTotal: host.memory,
    Name: hostname(),
    DockerRootDir: ctx.root,
    StateDir: ctx.state,
    IdRanges: host.ids.ranges,
    Warnings: controllerReport(cgroup)
      .filter((report) => report.place === undefined)
      .map(({ controller, why, remedy }) => `No ${controller} limit support: ${why}; ${remedy}`),
  };
}

export type SystemInfo = ReturnType<typeof systemInfo>;

function osName(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)"?/m.exec(text)?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}
