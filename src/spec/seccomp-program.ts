import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, errnoText, InvalidError, isErrno } from '../base/index.js';
import {
  compileSeccomp,
  libseccompVersion,
  resolveSyscalls,
  type SeccompRule,
  seccompArchToken,
} from '../kernel/index.js';
import { ensureDirectory, writeFileAtomic } from '../state/index.js';
import { stringifyJson } from './json.js';
import type { SeccompAction, SpecSeccomp } from './runtime-linux.js';
import { guard, type NewerCall } from './seccomp-guard.js';
import { archName, nativeArch } from './seccomp-profile.js';

/** A filter ready for seccomp(2). */
export interface SeccompProgram {
  /** struct sock_filter[] */
  program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_… */
  flags: number;
  /** The filter asks a listener: NEW_LISTENER is among the flags. */
  notify: boolean;
}

/** Changes whenever the same section would give another program. */
const FORMAT = 1;

const FLAGS: Record<string, number> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};
const NEW_LISTENER = 8;
const TSYNC_ESRCH = 16;

const OPERATORS: Record<string, number> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

const EPERM = 1;

/**
 * The program of an OCI seccomp section: from the cache in `<state>/seccomp`, or compiled (some milliseconds) and
 * left there. A listed call gets its action, one that the profile leaves out the default action, and one newer than
 * every call the profile knows ENOSYS, so that C libraries fall back to what they used before.
 * @param machine as uname -m
 * @throws InvalidError INVALID_SPEC for a rule that libseccomp refuses
 */
export function seccompProgram(
  ctx: Pick<Context, 'state'>,
  section: SpecSeccomp,
  machine: string,
): SeccompProgram {
  const notify =
    section.defaultAction === 'SCMP_ACT_NOTIFY' ||
    (section.syscalls ?? []).some((s) => s.action === 'SCMP_ACT_NOTIFY');
  if (notify && !section.listenerPath) {
    throw new InvalidError(
      'linux.seccomp.listenerPath: expected the path of a socket, as SCMP_ACT_NOTIFY is used',
      {
        code: 'INVALID_SPEC',
        path: 'linux.seccomp.listenerPath',
      },
    );
  }
  let flags = (section.flags ?? []).reduce((all, f) => all | (FLAGS[f] ?? 0), 0);
  if (notify) flags |= NEW_LISTENER | (flags & 1 ? TSYNC_ESRCH : 0);

  // listenerPath and flags don't change the program.
  const { listenerPath: _, listenerMetadata: __, flags: ___, ...rules } = section;
  const key = `${FORMAT} ${libseccompVersion()} ${machine} ${stringifyJson(rules)}\n`;
  const file = path.join(ctx.state, 'seccomp', `${fnv64(key)}.bpf`);
  const cached = readCached(file, key);
  if (cached) return { program: cached, flags, notify };
  const program = compile(section, machine);
  // A cache on a read-only or full disk is only slower next time.
  try {
    ensureDirectory(path.dirname(file));
    writeFileAtomic(file, Buffer.concat([Buffer.from(key), program]), { durable: false });
  } catch {}
  return { program, flags, notify };
}

/** The file holds the whole key before the program, so that two keys of one hash can't be mixed up. */
function readCached(file: string, key: string): Uint8Array | undefined {
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch {
    return undefined;
  }
  const size = Buffer.byteLength(key);
  const program = content.subarray(size);
  return content.toString('utf8', 0, size) === key && program.length > 0 && program.length % 8 === 0
    ? program
    : undefined;
}

/** FNV-1a, 64 bits: names a file; no security hangs on it. Loading node:crypto would take longer than a launch. */
function fnv64(text: string): string {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (let i = 0; i < text.length; i++) {
    low = (low ^ text.charCodeAt(i)) >>> 0;
    // times 2^40 + 0x1b3
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

function compile(section: SpecSeccomp, machine: string): Uint8Array {
  const native = nativeArch(machine);
  const arches = [...new Set([native, ...(section.architectures ?? []).map(archName)])];
  const defaultAction = actionNumber(section.defaultAction, section.defaultErrnoRet);
  const rules: SeccompRule[] = [];
  for (const call of section.syscalls ?? []) {
    const action = actionNumber(call.action, call.errnoRet);
    // libseccomp refuses a rule that says what holds anyway.
    if (action === defaultAction) continue;
    const comparisons = (call.args ?? []).map((a) => ({
      argument: a.index,
      operator: OPERATORS[a.op] ?? 0,
      a: BigInt(a.value),
      b: BigInt(a.valueTwo ?? 0),
    }));
    // One rule compares an argument once; several comparisons of one argument are alternatives, as in runc.
    const repeated = new Set(comparisons.map((c) => c.argument)).size < comparisons.length;
    for (const name of call.names) {
      if (repeated) for (const c of comparisons) rules.push({ name, action, comparisons: [c] });
      else rules.push({ name, action, comparisons });
    }
  }
  let main: Uint8Array;
  try {
    main = compileSeccomp(defaultAction, arches, rules);
  } catch (cause) {
    const e = cause as { code?: string; path?: string };
    throw new InvalidError(
      `linux.seccomp: libseccomp refuses the rule for ${e.path || 'the filter'}: ${errnoText(e.code ?? '')}`,
      {
        code: 'INVALID_SPEC',
        path: 'linux.seccomp.syscalls',
        cause,
        ...(isErrno(cause, 'EEXIST') ? { hint: 'two rules give the same call different actions' } : {}),
      },
    );
  }
  const names = [...new Set((section.syscalls ?? []).flatMap((s) => s.names))];
  const blocks = arches.flatMap((arch) => {
    const token = seccompArchToken(arch);
    if (token === 0) return [];
    const numbers = resolveSyscalls(arch, names);
    const newer: NewerCall[] = [];
    let last = -1;
    let known = -1;
    for (const [i, name] of names.entries()) {
      const number = numbers[i] ?? -1;
      if (number >= 0) known = Math.max(known, number);
      const late = number === -1 ? lateNumber(name, arch) : undefined;
      // Without conditions only: none of the late calls is ever filtered by its arguments.
      const rule =
        late === undefined ? undefined : rules.find((r) => r.name === name && r.comparisons.length === 0);
      if (late !== undefined) last = Math.max(last, late);
      if (late !== undefined && rule) newer.push({ number: late, action: rule.action });
    }
    return [{ arch, token, known, last: Math.max(known, last), newer }];
  });
  const restrictive = /^SCMP_ACT_(ERRNO|KILL|TRAP)/.test(section.defaultAction);
  return guard(blocks, main, { restrictive, defaultAction });
}

/**
 * Calls added since libseccomp 2.5.4, which Debian 12 has. Since 5.1 a new call has one number on every
 * architecture (scripts/syscall.tbl of the kernel).
 */
const LATE: Record<string, number> = {
  set_mempolicy_home_node: 450,
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
  open_tree_attr: 467,
  file_getattr: 468,
  file_setattr: 469,
};

/** Where an architecture's calls begin; MIPS tells its ABIs apart so, x32 by a bit. */
const BASES: Record<string, number> = {
  x32: 0x40000000,
  mips: 4000,
  mipsel: 4000,
  mips64: 5000,
  mipsel64: 5000,
  mips64n32: 6000,
  mipsel64n32: 6000,
};

function lateNumber(name: string, arch: string): number | undefined {
  const number = LATE[name];
  return number === undefined ? undefined : number + (BASES[arch] ?? 0);
}

/** SECCOMP_RET_… with its data; see seccomp(2). */
function actionNumber(action: SeccompAction, errno = EPERM): number {
  switch (action) {
    case 'SCMP_ACT_KILL':
    case 'SCMP_ACT_KILL_THREAD':
      return 0;
    case 'SCMP_ACT_KILL_PROCESS':
      return 0x80000000;
    case 'SCMP_ACT_TRAP':
      return 0x00030000;
    case 'SCMP_ACT_ERRNO':
      return (0x00050000 | (errno & 0xffff)) >>> 0;
    case 'SCMP_ACT_NOTIFY':
      return 0x7fc00000;
    case 'SCMP_ACT_TRACE':
      return (0x7ff00000 | (errno & 0xffff)) >>> 0;
    case 'SCMP_ACT_LOG':
      return 0x7ffc0000;
    case 'SCMP_ACT_ALLOW':
      return 0x7fff0000;
  }
}
