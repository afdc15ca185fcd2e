import type { SpecDeviceRule } from '../spec/index.js';

/**
 * Device access as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE. The kernel calls it with
 * `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }` (access in the upper half, type in the
 * lower) at each open and mknod; 1 allows, 0 is EPERM. Access bits that are still undecided are kept in a register
 * and decided rule by rule from the last to the first, so that the last rule about a bit wins, as in OCI.
 */

// Instruction encoding: u8 code, u8 dst | src << 4, i16 offset, i32 immediate. See Documentation/bpf/standardization.
const LDX_W = 0x61;
const MOV_IMM = 0xb7;
const MOV_REG = 0xbf;
const AND32_IMM = 0x54;
const RSH32_IMM = 0x74;
const JNE_IMM = 0x55;
const JSET_IMM = 0x45;
const JA = 0x05;
const EXIT = 0x95;

const RESULT = 0;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

const TYPE_BLOCK = 1;
const TYPE_CHAR = 2;
const ALL = 7;

type Instruction = [code: number, dst: number, src: number, offset: number, immediate: number];

/**
 * The instructions for a list of rules; what no rule speaks of is denied.
 * @returns 8 bytes per instruction, little-endian
 */
export function deviceProgram(rules: readonly SpecDeviceRule[]): Uint8Array {
  const program: Instruction[] = [
    [LDX_W, TYPE, CONTEXT, 0, 0],
    [MOV_REG, ACCESS, TYPE, 0, 0],
    [AND32_IMM, TYPE, 0, 0, 0xffff],
    [RSH32_IMM, ACCESS, 0, 0, 16],
    [LDX_W, MAJOR, CONTEXT, 4, 0],
    [LDX_W, MINOR, CONTEXT, 8, 0],
  ];
  let open = true;
  for (const rule of rules.toReversed()) {
    const block = ruleBlock(rule);
    program.push(...block.instructions);
    if (block.final) {
      // Nothing after it can be reached, and the verifier refuses dead code.
      open = false;
      break;
    }
  }
  if (open) program.push(...answer(0));
  return encode(program);
}

function answer(value: 0 | 1): Instruction[] {
  return [
    [MOV_IMM, RESULT, 0, 0, value],
    [EXIT, 0, 0, 0, 0],
  ];
}

function ruleBlock(rule: SpecDeviceRule): { instructions: Instruction[]; final: boolean } {
  const access = accessBits(rule.access);
  const body: Instruction[] = [];
  if (access === ALL) {
    body.push(...answer(rule.allow ? 1 : 0));
  } else if (rule.allow) {
    // What this rule allows is decided; when nothing is left, the answer is yes.
    body.push([AND32_IMM, ACCESS, 0, 0, ALL & ~access], [JNE_IMM, ACCESS, 0, 2, 0], ...answer(1));
  } else {
    body.push([JSET_IMM, ACCESS, 0, 1, access], [JA, 0, 0, 2, 0], ...answer(0));
  }
  const tests: [register: number, value: number][] = [];
  if (rule.type === 'b') tests.push([TYPE, TYPE_BLOCK]);
  // `u` is an unbuffered character device.
  if (rule.type === 'c' || rule.type === 'u') tests.push([TYPE, TYPE_CHAR]);
  if (rule.major !== undefined && rule.major >= 0 && rule.type !== 'a') tests.push([MAJOR, rule.major]);
  if (rule.minor !== undefined && rule.minor >= 0 && rule.type !== 'a') tests.push([MINOR, rule.minor]);
  const instructions: Instruction[] = tests.map(([register, value], n) => [
    JNE_IMM,
    register,
    0,
    tests.length - n - 1 + body.length,
    value,
  ]);
  return { instructions: [...instructions, ...body], final: tests.length === 0 && access === ALL };
}

/** `rwm` → the kernel's bits: mknod 1, read 2, write 4. Absent means all. */
function accessBits(access: string | undefined): number {
  if (!access) return ALL;
  return (access.includes('m') ? 1 : 0) | (access.includes('r') ? 2 : 0) | (access.includes('w') ? 4 : 0);
}

function encode(program: readonly Instruction[]): Uint8Array {
  const out = Buffer.alloc(program.length * 8);
  program.forEach(([code, dst, src, offset, immediate], n) => {
    out.writeUInt8(code, n * 8);
    out.writeUInt8(dst | (src << 4), n * 8 + 1);
    out.writeInt16LE(offset, n * 8 + 2);
    out.writeInt32LE(immediate | 0, n * 8 + 4);
  });
  return out;
}

/** Whether the rules end in allowing everything, as a privileged container's do: no program is needed. */
export function allowsEverything(rules: readonly SpecDeviceRule[]): boolean {
  const last = rules.at(-1);
  if (!last?.allow || accessBits(last.access) !== ALL) return false;
  const anyType = last.type === undefined || last.type === '' || last.type === 'a';
  const any = (n: number | undefined): boolean => n === undefined || n < 0;
  return anyType && (last.type === 'a' || (any(last.major) && any(last.minor)));
}

/** What every container may use (runtime-spec, default devices), and mknod of anything, which opens nothing. */
export const DEFAULT_DEVICE_RULES: readonly SpecDeviceRule[] = [
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' }, // null
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }, // zero
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' }, // full
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' }, // random
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' }, // urandom
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' }, // tty
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' }, // console
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' }, // ptmx
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];
