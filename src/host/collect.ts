import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Context, isErrno } from '../base/index.js';
import { ensureDirectory, readRecord, writeRecord } from '../state/index.js';
import { capabilityNames } from './capabilities.js';
import { cgroupFacts, cgroupSources, ownFacts, readSmall } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { parseRelease, probeFeatures } from './features.js';
import { filesystemOf } from './filesystem.js';
import { idFacts } from './ids.js';

const LAYOUT = 5;

/** What is probed once per boot, kernel, cgroup layout and root directory. */
interface CacheRecord {
  key: string;
  facts: HostFacts;
}

/**
 * The facts of this machine as this process sees it. What can't change while the machine is up is kept in
 * `<state>/host.json`; what belongs to the process (capabilities, its own groups) is read anew. No process is spawned.
 */
export function hostFacts(ctx: Context): HostFacts {
  const mounts = cgroupMounts();
  const status = readSmall('/proc/self/status') ?? '';
  const bootId = readSmall('/proc/sys/kernel/random/boot_id') ?? '';
  const self = readSmall('/proc/self/cgroup') ?? '';
  const capabilities = capabilitiesOf(status);
  const cores = readSmall('/sys/devices/system/cpu/online') ?? '';
  const key = [
    LAYOUT,
    bootId,
    os.release(),
    ctx.root,
    cores,
    readSmall('/proc/self/uid_map') ?? '',
    capabilities.effective.length,
    mounts,
  ].join('\n');
  const file = path.join(ctx.state, 'host.json');
  const cached = readCache(file);
  if (cached?.key === key) {
    const cgroup = { ...cached.facts.cgroup, own: ownFacts(mounts, self) };
    return { ...cached.facts, cgroup, capabilities };
  }
  const facts = collect(ctx, bootId, mounts, capabilities);
  try {
    ensureDirectory(ctx.state);
    writeRecord(file, { key, facts } satisfies CacheRecord, { durable: false });
  } catch {
    // A state directory that can't be written is told by whoever needs it; facts don't.
  }
  return facts;
}

/** A cache that isn't JSON, or not ours to read, is no cache. */
function readCache(file: string): CacheRecord | undefined {
  try {
    return readRecord<CacheRecord>(file);
  } catch {
    return undefined;
  }
}

function collect(
  ctx: Context,
  bootId: string,
  mounts: string,
  capabilities: HostFacts['capabilities'],
): HostFacts {
  const release = os.release();
  const version = parseRelease(release);
  const features = probeFeatures(version, existing(ctx.root));
  const meminfo = readSmall('/proc/meminfo') ?? '';
  return {
    layout: LAYOUT,
    kernel: { release, version },
    machine: os.machine(),
    bootId,
    cpus: os.cpus().length,
    memory: kilobytes(meminfo, 'MemTotal'),
    swap: kilobytes(meminfo, 'SwapTotal'),
    cgroup: cgroupFacts(cgroupSources(mounts)),
    capabilities,
    lsm: lsmFacts(),
    seccomp: seccompFacts(),
    userns: usernsFacts(features.userNamespace.have),
    ids: idFacts({
      uidMap: readSmall('/proc/self/uid_map') ?? '',
      gidMap: readSmall('/proc/self/gid_map') ?? '',
      subuid: readSmall('/etc/subuid') ?? '',
      subgid: readSmall('/etc/subgid') ?? '',
    }),
    root: { path: ctx.root, filesystem: filesystemOf(ctx.root) },
    features,
    limits: {
      pidMax: Number(readSmall('/proc/sys/kernel/pid_max') ?? 32768),
      openFiles: Number(readSmall('/proc/sys/fs/nr_open') ?? 1048576),
    },
  };
}

/** Lines of mountinfo about cgroups. */
function cgroupMounts(): string {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'latin1');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
  return text
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .join('\n');
}

function capabilitiesOf(status: string): HostFacts['capabilities'] {
  const mask = (name: string): string => new RegExp(`^${name}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '0';
  return {
    effective: capabilityNames(mask('CapEff')),
    bounding: capabilityNames(mask('CapBnd')),
    last: Number(readSmall('/proc/sys/kernel/cap_last_cap') ?? 40),
  };
}

function lsmFacts(): HostFacts['lsm'] {
  return {
    apparmor: readSmall('/sys/module/apparmor/parameters/enabled') === 'Y',
    selinux: existsSync('/sys/fs/selinux/enforce'),
    apparmorRestrictsUserns: readSmall('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1',
  };
}

function seccompFacts(): HostFacts['seccomp'] {
  const actions = readSmall('/proc/sys/kernel/seccomp/actions_avail');
  return { available: actions !== undefined, actions: (actions ?? '').split(' ').filter(Boolean) };
}

function usernsFacts(have: boolean): HostFacts['userns'] {
  if (!have)
    return { available: false, reason: 'this kernel was built without user namespaces (CONFIG_USER_NS)' };
  if (readSmall('/proc/sys/user/max_user_namespaces') === '0') {
    return {
      available: false,
      reason: 'user namespaces are switched off; switch them on: sysctl -w user.max_user_namespaces=15000',
    };
  }
  return { available: true, reason: null };
}

function kilobytes(meminfo: string, field: string): number {
  return 1024 * Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(meminfo)?.[1] ?? 0);
}

/** The nearest directory that is there. */
function existing(directory: string): string {
  let at = path.resolve(directory);
  while (!existsSync(at)) at = path.dirname(at);
  return at;
}
