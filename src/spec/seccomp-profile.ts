import { readFileSync } from 'node:fs';
import path from 'node:path';
import { InvalidError, packageRoot } from '../base/index.js';
import { parse } from './parse.js';
import type { SeccompArch, SpecSeccomp, SpecSyscall } from './runtime-linux.js';

/** Conditions of a rule in Docker's profile format: all of those given must hold. */
export interface ProfileFilter {
  caps?: string[] | undefined;
  arches?: string[] | undefined;
  /** "major.minor" */
  minKernel?: string | undefined;
}

/** Docker's seccomp profile format, the one that `--security-opt seccomp=FILE` takes. */
export interface SeccompProfile extends Omit<SpecSeccomp, 'syscalls'> {
  /** By the machine's own architecture; instead of `architectures`. */
  archMap?: { architecture: SeccompArch; subArchitectures?: SeccompArch[] | undefined }[] | undefined;
  syscalls?:
    | (Omit<SpecSyscall, 'names'> & {
        names?: string[] | undefined;
        name?: string | undefined;
        comment?: string | undefined;
        includes?: ProfileFilter | undefined;
        excludes?: ProfileFilter | undefined;
      })[]
    | undefined;
}

/** What a profile is evaluated for. */
export interface SeccompTarget {
  /** The container's bounding set, as `CAP_…`. */
  capabilities: readonly string[];
  /** As uname -m. */
  machine: string;
  /** Kernel version: major, minor, … */
  kernel: readonly number[];
}

/** Names of an architecture: uname -m, Go's (in profiles), OCI's. */
const MACHINES: Record<string, { go: string; oci: SeccompArch }> = {
  x86_64: { go: 'amd64', oci: 'SCMP_ARCH_X86_64' },
  i686: { go: 'x86', oci: 'SCMP_ARCH_X86' },
  aarch64: { go: 'arm64', oci: 'SCMP_ARCH_AARCH64' },
  armv7l: { go: 'arm', oci: 'SCMP_ARCH_ARM' },
  ppc64le: { go: 'ppc64le', oci: 'SCMP_ARCH_PPC64LE' },
  s390x: { go: 's390x', oci: 'SCMP_ARCH_S390X' },
  riscv64: { go: 'riscv64', oci: 'SCMP_ARCH_RISCV64' },
  loongarch64: { go: 'loong64', oci: 'SCMP_ARCH_LOONGARCH64' },
  mips64: { go: 'mips64', oci: 'SCMP_ARCH_MIPS64' },
};

/** libseccomp's name of the native architecture, `x86_64` for uname's `x86_64`. */
export function nativeArch(machine: string): string {
  return archName(MACHINES[machine]?.oci ?? 'SCMP_ARCH_X86_64');
}

/** `SCMP_ARCH_X86_64` → `x86_64`, as libseccomp calls it. */
export function archName(arch: SeccompArch): string {
  return arch.slice('SCMP_ARCH_'.length).toLowerCase();
}

/** nsbox's default policy (profiles/seccomp-default.json). */
export function defaultSeccompProfile(): SeccompProfile {
  return JSON.parse(
    readFileSync(path.join(packageRoot(), 'profiles/seccomp-default.json'), 'utf8'),
  ) as SeccompProfile;
}

/**
 * Validates the text of a profile that a person wrote.
 * @throws InvalidError INVALID_SPEC naming the JSON path
 */
export async function parseSeccompProfile(text: string, name: string): Promise<SeccompProfile> {
  const { profileSchema } = await import('./seccomp-schema.js');
  return parse(profileSchema, text, name).value;
}

/**
 * The OCI `linux.seccomp` section that a profile means for these capabilities, this architecture and kernel.
 * Undefined for a profile that restricts nothing because it says nothing.
 * @throws InvalidError for a profile that contradicts itself
 */
export function seccompSection(profile: SeccompProfile, target: SeccompTarget): SpecSeccomp | undefined {
  if (!profile.defaultAction) {
    if (!profile.syscalls?.length) return undefined;
    throw new InvalidError('seccomp profile: defaultAction is missing', {
      code: 'INVALID_SPEC',
      path: 'defaultAction',
    });
  }
  if (profile.architectures?.length && profile.archMap?.length) {
    throw new InvalidError('seccomp profile: use either "architectures" or "archMap", not both', {
      code: 'INVALID_SPEC',
      path: 'archMap',
    });
  }
  const machine = MACHINES[target.machine];
  const { archMap, syscalls, ...rest } = profile;
  const section: SpecSeccomp = { ...rest };
  const mapped = archMap?.find((a) => a.architecture === machine?.oci);
  if (mapped) section.architectures = [mapped.architecture, ...(mapped.subArchitectures ?? [])];
  section.syscalls = [];
  for (const [i, rule] of (syscalls ?? []).entries()) {
    const { name, names, includes, excludes, comment: _, ...call } = rule;
    if (name !== undefined && names?.length) {
      throw new InvalidError(`seccomp profile: syscalls[${i}]: use either "name" or "names", not both`, {
        code: 'INVALID_SPEC',
        path: `syscalls[${i}]`,
      });
    }
    if (includes && !holds(includes, 'all', target, machine?.go)) continue;
    if (excludes && holds(excludes, 'any', target, machine?.go)) continue;
    section.syscalls.push({ names: name === undefined ? (names ?? []) : [name], ...call });
  }
  return section;
}

/** Includes need every condition (and every capability); one match of an exclude is enough. */
function holds(
  filter: ProfileFilter,
  mode: 'all' | 'any',
  target: SeccompTarget,
  arch: string | undefined,
): boolean {
  const results: boolean[] = [];
  if (filter.arches?.length) results.push(arch !== undefined && filter.arches.includes(arch));
  if (filter.caps?.length) {
    const have = (cap: string) => target.capabilities.includes(cap);
    results.push(mode === 'all' ? filter.caps.every(have) : filter.caps.some(have));
  }
  if (filter.minKernel !== undefined) {
    const [major = 0, minor = 0] = filter.minKernel.split('.').map(Number);
    const [km = 0, kn = 0] = target.kernel;
    results.push(km > major || (km === major && kn >= minor));
  }
  return mode === 'all' ? results.every(Boolean) : results.some(Boolean);
}
