import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    seccompVersion(): string;
    seccompArch(architecture: string): number;
    seccompResolve(architecture: string, names: string[]): Int32Array;
    seccompCompile(
      defaultAction: number,
      architectures: string[],
      names: string[],
      numbers: BigUint64Array,
    ): Uint8Array;
  }
}

/** Version of the libseccomp in use, as "2.5.4". */
export function libseccompVersion(): string {
  return addon().seccompVersion();
}

/** AUDIT_ARCH_… token of an architecture by libseccomp's name (`x86_64`); 0 where it doesn't know it. */
export function seccompArchToken(architecture: string): number {
  return addon().seccompArch(architecture) >>> 0;
}

/** Numbers of system calls on an architecture; negative where it has none of that name. */
export function resolveSyscalls(architecture: string, names: readonly string[]): Int32Array {
  return addon().seccompResolve(architecture, [...names]);
}

/** One rule of a filter, in the kernel's numbers. */
export interface SeccompRule {
  name: string;
  /** SECCOMP_RET_… with its data. */
  action: number;
  /** At most one comparison per argument; all must hold. Operators are libseccomp's `enum scmp_compare`. */
  comparisons: { argument: number; operator: number; a: bigint; b: bigint }[];
}

/**
 * Compiles a filter to a program of `struct sock_filter`. Names that libseccomp doesn't know are left out.
 * @param architectures libseccomp's names; the native one is always in
 * @throws the addon's error, with libseccomp's errno, for a rule it refuses
 * @see seccomp_rule_add(3)
 */
export function compileSeccomp(
  defaultAction: number,
  architectures: readonly string[],
  rules: readonly SeccompRule[],
): Uint8Array {
  const numbers: bigint[] = [];
  for (const rule of rules) {
    numbers.push(BigInt(rule.action >>> 0), BigInt(rule.comparisons.length));
    for (const c of rule.comparisons) numbers.push(BigInt(c.argument), BigInt(c.operator), c.a, c.b);
  }
  return addon().seccompCompile(
    defaultAction,
    [...architectures],
    rules.map((r) => r.name),
    BigUint64Array.from(numbers),
  );
}
