import { InvalidError, UnsupportedError } from '../base/index.js';

/** What `--security-opt` asks, each value understood. */
export interface SecurityOptions {
  noNewPrivileges: boolean;
  /** `default`, `unconfined`, or the path of a profile. */
  seccomp: string;
  /** Name of a loaded AppArmor profile, or `unconfined`; absent: the host's default. */
  apparmor: string | undefined;
  /** SELinux label parts: `user`, `role`, `type`, `level`, or `disable`. */
  label: string[];
  /** Neither masked nor read-only paths. */
  systempathsUnconfined: boolean;
  mask: string[];
  unmask: string[];
  writableCgroups: boolean;
}

/** What is hidden in /proc and /sys: Docker's list. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

/** What can be read there and not written: Docker's list. */
export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/**
 * Reads `--security-opt` values, as Docker (and podman, for mask and unmask) write them.
 * No new privileges unless told: what nsbox's users run needs no setuid program, and those who do say
 * `no-new-privileges=false`. A privileged container has none of these fences.
 * @throws InvalidError for an option that isn't one
 */
export function parseSecurityOptions(values: readonly string[], privileged: boolean): SecurityOptions {
  const out: SecurityOptions = {
    noNewPrivileges: !privileged,
    seccomp: privileged ? 'unconfined' : 'default',
    apparmor: privileged ? 'unconfined' : undefined,
    label: [],
    systempathsUnconfined: privileged,
    mask: [],
    unmask: [],
    writableCgroups: privileged,
  };
  for (const value of values) {
    // `name=value`, and Docker's older `name:value`.
    const match = /^([a-z-]+)(?:[=:](.*))?$/s.exec(value);
    const name = match?.[1] ?? value;
    const argument = match?.[2];
    switch (name) {
      case 'no-new-privileges':
        out.noNewPrivileges = flag(value, argument);
        break;
      case 'seccomp':
        out.seccomp = required(value, argument);
        if (out.seccomp === 'builtin') out.seccomp = 'default';
        break;
      case 'apparmor':
        out.apparmor = required(value, argument);
        break;
      case 'label':
        out.label.push(required(value, argument));
        break;
      case 'systempaths':
        if (argument !== 'unconfined') throw invalid(value, 'systempaths knows only "unconfined"');
        out.systempathsUnconfined = true;
        break;
      case 'mask':
        out.mask.push(...required(value, argument).split(':'));
        break;
      case 'unmask':
        out.unmask.push(...required(value, argument).split(/[:,]/));
        break;
      case 'writable-cgroups':
        out.writableCgroups = flag(value, argument);
        break;
      default:
        throw invalid(
          value,
          'one of no-new-privileges, seccomp=, apparmor=, label=, systempaths=unconfined, mask=, unmask=, writable-cgroups',
        );
    }
  }
  for (const p of [...out.mask, ...out.unmask.filter((u) => u !== 'ALL')]) {
    if (!p.startsWith('/')) throw invalid(p, 'mask and unmask take absolute paths');
  }
  return out;
}

/** The masked and read-only paths that remain. `unmask=/proc/*` opens all that begins so, `ALL` everything. */
export function systemPaths(o: SecurityOptions): { masked: string[]; readonly: string[] } {
  if (o.systempathsUnconfined) return { masked: [...o.mask], readonly: [] };
  const opened = (p: string) =>
    o.unmask.some((u) => u === 'ALL' || u === p || (u.endsWith('/*') && p.startsWith(u.slice(0, -1))));
  return {
    masked: [...MASKED_PATHS.filter((p) => !opened(p)), ...o.mask],
    readonly: READONLY_PATHS.filter((p) => !opened(p)),
  };
}

/**
 * The SELinux label of process and mounts from `label=` parts; nothing where SELinux is off or disabled for it.
 * @throws UnsupportedError where a label is asked for and the host has no SELinux
 */
export function selinuxLabel(parts: readonly string[], selinux: boolean): string | undefined {
  if (parts.length === 0 || parts.includes('disable')) return undefined;
  if (!selinux) {
    throw new UnsupportedError(`cannot use --security-opt label=${parts[0]}: this host has no SELinux`, {
      hint: 'leave the option out, or give label=disable',
    });
  }
  const label = { user: 'system_u', role: 'system_r', type: 'container_t', level: 's0' };
  for (const part of parts) {
    const colon = part.indexOf(':');
    const key = part.slice(0, colon);
    if (!(key in label)) throw invalid(`label=${part}`, 'label takes user:, role:, type:, level: or disable');
    label[key as keyof typeof label] = part.slice(colon + 1);
  }
  return `${label.user}:${label.role}:${label.type}:${label.level}`;
}

function flag(value: string, argument: string | undefined): boolean {
  if (argument === undefined || /^(true|1|t)$/i.test(argument)) return true;
  if (/^(false|0|f)$/i.test(argument)) return false;
  throw invalid(value, 'true or false');
}

function required(value: string, argument: string | undefined): string {
  if (argument === undefined || argument === '') throw invalid(value, 'it needs a value');
  return argument;
}

function invalid(value: string, hint: string): InvalidError {
  return new InvalidError(`Invalid --security-opt: "${value}"`, { hint });
}
