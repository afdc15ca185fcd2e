/**
 * Instructions in front of libseccomp's program, for the calls that it doesn't know: newer ones that the profile
 * names get their action, and those newer than all the profile knows get ENOSYS. For every other call this costs
 * the comparison of the architecture and one of the number; where the kernel's bitmap answers, nothing.
 */

/** A call that libseccomp can't name, and what the profile says of it. */
export interface NewerCall {
  number: number;
  /** SECCOMP_RET_… */
  action: number;
}

export interface GuardBlock {
  /** libseccomp's name. */
  arch: string;
  /** AUDIT_ARCH_… as seccomp_data.arch has it (x32 has that of x86_64). */
  token: number;
  /** The highest number that libseccomp resolved; -1 for none. */
  known: number;
  /** The highest number that the profile knows, with the newer ones. */
  last: number;
  newer: NewerCall[];
}

// linux/filter.h and linux/bpf_common.h
const LD_W_ABS = 0x20;
const JMP_JA = 0x05;
const JMP_JEQ_K = 0x15;
const JMP_JGT_K = 0x25;
const JMP_JGE_K = 0x35;
const RET_K = 0x06;
/** Offsets in struct seccomp_data. */
const NR = 0;
const ARCH = 4;

const ENOSYS = 0x00050000 | 38;
const X32_BIT = 0x40000000;

type Instruction = [code: number, jt: number, jf: number, k: number];

/**
 * @param main the program for everything else
 * @param options restrictive: the default action denies, so that an unknown call gets ENOSYS
 */
export function guard(
  blocks: readonly GuardBlock[],
  main: Uint8Array,
  options: { restrictive: boolean; defaultAction: number },
): Uint8Array {
  const x32 = blocks.find((b) => b.arch === 'x32');
  const bodies: { token: number; body: (toMain: number) => Instruction[]; size: number }[] = [];
  for (const block of blocks) {
    if (block.arch === 'x32') continue;
    const own = checks(block, options);
    const isX86 = block.arch === 'x86_64';
    const far = isX86 && x32 ? checks(x32, options) : [];
    if (own.length === 0 && far.length === 0) continue;
    // ld nr; [jge X32_BIT → far]; own…; ja main; [far…; ja main]
    const size = 1 + (isX86 ? 1 : 0) + own.length + 1 + (isX86 ? far.length + 1 : 0);
    bodies.push({
      token: block.token,
      size,
      body: (after) => {
        const out: Instruction[] = [[LD_W_ABS, 0, 0, NR]];
        if (isX86) out.push([JMP_JGE_K, own.length + 1, 0, X32_BIT]);
        out.push(...own);
        out.push([JMP_JA, 0, 0, after + size - out.length - 1]);
        if (isX86) {
          out.push(...far);
          out.push([JMP_JA, 0, 0, after + size - out.length - 1]);
        }
        return out;
      },
    });
  }
  if (bodies.length === 0) return main;
  const prelude: Instruction[] = [[LD_W_ABS, 0, 0, ARCH]];
  // Each block: jeq token, then its body; a body ends in jumps to the main program, so the next block only
  // follows for another architecture.
  let rest = bodies.reduce((n, b) => n + b.size + 2, 0);
  for (const b of bodies) {
    rest -= b.size + 2;
    prelude.push([JMP_JEQ_K, 1, 0, b.token], [JMP_JA, 0, 0, b.size]);
    prelude.push(...b.body(rest));
  }
  return Buffer.concat([encode(prelude), main]);
}

/** With the number loaded: returns the action of a call above those libseccomp knows, or falls through. */
function checks(block: GuardBlock, options: { restrictive: boolean; defaultAction: number }): Instruction[] {
  // A profile without a single call of this architecture leaves nothing to compare with.
  if (block.last < 0) return [];
  const inner: Instruction[] = [];
  for (const call of block.newer) {
    inner.push([JMP_JEQ_K, 0, 1, call.number], [RET_K, 0, 0, call.action]);
  }
  if (options.restrictive) inner.push([JMP_JGT_K, 0, 1, block.last], [RET_K, 0, 0, ENOSYS]);
  if (inner.length === 0) return [];
  const first = Math.min(
    ...block.newer.map((c) => c.number),
    options.restrictive ? block.last + 1 : Infinity,
  );
  return [[JMP_JGE_K, 0, inner.length, first], ...inner];
}

function encode(program: readonly Instruction[]): Uint8Array {
  const out = Buffer.alloc(program.length * 8);
  for (const [i, [code, jt, jf, k]] of program.entries()) {
    out.writeUInt16LE(code, i * 8);
    out.writeUInt8(jt, i * 8 + 2);
    out.writeUInt8(jf, i * 8 + 3);
    out.writeUInt32LE(k >>> 0, i * 8 + 4);
  }
  return out;
}
