import * as z from './shape.js';

/** Numbers and small shapes shared by the schemas of runtime-spec and image-spec (runtime-spec schema/defs.json). */

export const int32 = z.integer(-2147483648, 2147483647, 'expected an integer of 32 bits');
export const uint16 = z.integer(0, 65535, 'expected an unsigned integer of 16 bits');
export const uint32 = z.integer(0, 4294967295, 'expected an unsigned integer of 32 bits');

/**
 * 64-bit integers. A JSON number above 2^53 arrives as a bigint (see json.ts); where all its bits don't matter
 * (a memory limit of "everything") it becomes the nearest number, so that only fields declared with
 * `exactUint64` have two types.
 */
const wholeNumber = (signed: boolean) =>
  z
    .kind<number | bigint>(
      `expected ${signed ? 'an' : 'an unsigned'} integer of 64 bits`,
      (v) => typeof v === 'bigint' || Number.isInteger(v),
    )
    .check(
      z.refine(
        (v) => (signed ? v >= -(2n ** 63n) && v < 2n ** 63n : v >= 0n && v < 2n ** 64n),
        `expected ${signed ? 'a signed' : 'an unsigned'} integer that fits 64 bits`,
      ),
    );
export const int64 = wholeNumber(true).map(Number);
export const uint64 = wholeNumber(false).map(Number);
/** All 64 bits matter (a seccomp comparison, RLIM_INFINITY): a bigint above 2^53, a number below. */
export const exactUint64 = wholeNumber(false);

export const strings = z.array(z.string());
export const stringMap = z.record(z.string());

export const idMappingSchema = z.object({ containerID: uint32, hostID: uint32, size: uint32 });
