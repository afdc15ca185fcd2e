/**
 * Runs a seccomp program on one call, as the kernel would: classic BPF over struct seccomp_data.
 * @returns SECCOMP_RET_… with its data
 */
export function runFilter(program: Uint8Array, call: { nr: number; arch: number; args?: bigint[] }): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr >>> 0, 0);
  data.writeUInt32LE(call.arch >>> 0, 4);
  for (const [i, a] of (call.args ?? []).entries()) data.writeBigUInt64LE(BigInt.asUintN(64, a), 16 + i * 8);
  const code = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const scratch = new Array<number>(16).fill(0);
  let a = 0;
  for (let pc = 0; pc * 8 < code.length; pc++) {
    const op = code.readUInt16LE(pc * 8);
    const jt = code.readUInt8(pc * 8 + 2);
    const jf = code.readUInt8(pc * 8 + 3);
    const k = code.readUInt32LE(pc * 8 + 4);
    switch (op) {
      case 0x20:
        a = data.readUInt32LE(k);
        break;
      case 0x60:
        a = scratch[k] ?? 0;
        break;
      case 0x02:
        scratch[k] = a;
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x25:
        pc += a > k ? jt : jf;
        break;
      case 0x35:
        pc += a >= k ? jt : jf;
        break;
      case 0x45:
        pc += (a & k) !== 0 ? jt : jf;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`instruction ${pc}: unknown code 0x${op.toString(16)}`);
    }
  }
  throw new Error('the program ran past its end');
}
