/**
 * Writing what native code reads (native/launch/wire.h): little-endian numbers; strings and bytes as
 * u32 length, content, NUL.
 */
export class Writer {
  #buffer = Buffer.allocUnsafe(4096);
  #length = 0;

  u8(value: number): this {
    this.#reserve(1);
    this.#length = this.#buffer.writeUInt8(value, this.#length);
    return this;
  }

  u32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32LE(value, this.#length);
    return this;
  }

  i32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeInt32LE(value, this.#length);
    return this;
  }

  /** A whole number of up to 64 bits; a number must be exact (below 2^53). */
  u64(value: number | bigint): this {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigUInt64LE(BigInt(value), this.#length);
    return this;
  }

  i64(value: number | bigint): this {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigInt64LE(BigInt(value), this.#length);
    return this;
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  str(value: string): this {
    const size = Buffer.byteLength(value);
    this.u32(size);
    this.#reserve(size + 1);
    this.#buffer.write(value, this.#length, 'utf8');
    this.#length += size;
    return this.u8(0);
  }

  bytes(value: Uint8Array): this {
    this.u32(value.length);
    this.#reserve(value.length + 1);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this.u8(0);
  }

  strs(values: readonly string[]): this {
    this.u32(values.length);
    for (const v of values) this.str(v);
    return this;
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + size));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
