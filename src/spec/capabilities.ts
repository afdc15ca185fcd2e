import { InvalidError } from '../base/index.js';
import type { SpecCapabilities } from './runtime.js';

/**
 * Capabilities by number, as in linux/capability.h.
 * @see capabilities(7)
 */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

/**
 * What a container may do unless told otherwise: podman's default set, which is Docker's without MKNOD (useless in a user
 * namespace), NET_RAW (a neighbour's addresses can be forged with it; ping works without) and AUDIT_WRITE.
 */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
];

/** Number of a capability, by its name with or without `CAP_`, any case; undefined where there is none. */
export function capabilityNumber(name: string): number | undefined {
  const n = (CAPABILITIES as readonly string[]).indexOf(normalName(name));
  return n < 0 ? undefined : n;
}

/** The set as a bit mask. Names this kernel doesn't know are left to the caller, who knows the last one. */
export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const n = capabilityNumber(name);
    if (n !== undefined) mask |= 1n << BigInt(n);
  }
  return mask;
}

function normalName(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

/**
 * `--cap-add` and `--cap-drop` as Docker combines them: `ALL` in either replaces the default, names adjust it,
 * and a privileged container has all of them.
 * @param available names this process may give away (the host's bounding set): what `ALL` stands for
 * @throws InvalidError for a name that doesn't exist
 */
export function effectiveCapabilities(
  request: { capAdd: readonly string[]; capDrop: readonly string[]; privileged: boolean },
  available: readonly string[],
): string[] {
  const all = available.map(normalName);
  if (request.privileged) return all;
  const add = request.capAdd.map((n) => known(n, '--cap-add'));
  const drop = request.capDrop.map((n) => known(n, '--cap-drop'));
  const base = add.includes('ALL') ? all : drop.includes('ALL') ? [] : DEFAULT_CAPABILITIES;
  const set = new Set(base);
  for (const name of drop) set.delete(name);
  for (const name of add) if (name !== 'ALL') set.add(name);
  return CAPABILITIES.filter((n) => set.has(n));
}

function known(name: string, flag: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return 'ALL';
  if (capabilityNumber(upper) === undefined) {
    throw new InvalidError(`invalid ${flag}: unknown capability: "${normalName(name)}"`, {
      hint: 'capabilities(7) lists the names; ALL stands for every one',
    });
  }
  return normalName(upper);
}

/**
 * The five sets of a process. Root has them effective; another user only gets them through what he executes, as in
 * Docker since 20.10: nothing is inheritable or ambient.
 */
export function capabilitySets(names: string[], uid: number): SpecCapabilities {
  return uid === 0
    ? { bounding: names, effective: names, permitted: names, inheritable: [], ambient: [] }
    : { bounding: names, effective: [], permitted: [], inheritable: [], ambient: [] };
}
