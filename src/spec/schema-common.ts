import * as z from 'zod/mini';

/** Numbers and small shapes shared by the schemas of runtime-spec and image-spec (runtime-spec schema/defs.json). */

const integer = (minimum: number, maximum: number, name: string) =>
  z
    .number({ error: `expected ${name}` })
    .check(z.int({ error: `expected ${name}` }), z.gte(minimum), z.lte(maximum));

export const int32 = integer(-2147483648, 2147483647, 'an integer of 32 bits');
export const uint16 = integer(0, 65535, 'an unsigned integer of 16 bits');
export const uint32 = integer(0, 4294967295, 'an unsigned integer of 32 bits');

/**
 * 64-bit integers. A JSON number above 2^53 arrives as a bigint (see json.ts); where all its bits don't matter
 * (a memory limit of "everything") it becomes the nearest number, so that only fields declared with
 * `exactUint64` have two types.
 */
const wholeNumber = (signed: boolean) =>
  z
    .union([z.number(), z.bigint()], {
      error: `expected ${signed ? 'an' : 'an unsigned'} integer of 64 bits`,
    })
    .check(
      z.refine((v) => typeof v === 'bigint' || Number.isInteger(v), {
        error: `expected ${signed ? 'an' : 'an unsigned'} integer of 64 bits`,
      }),
      z.refine((v) => (signed ? v >= -(2n ** 63n) && v < 2n ** 63n : v >= 0n && v < 2n ** 64n), {
        error: `expected ${signed ? 'a signed' : 'an unsigned'} integer that fits 64 bits`,
      }),
    );
export const int64 = z.pipe(wholeNumber(true), z.transform(Number));
export const uint64 = z.pipe(wholeNumber(false), z.transform(Number));
/** All 64 bits matter (a seccomp comparison, RLIM_INFINITY): a bigint above 2^53, a number below. */
export const exactUint64 = wholeNumber(false);

export const strings = z.array(z.string());
export const stringMap = z.record(z.string(), z.string());

export const idMappingSchema = z.object({ containerID: uint32, hostID: uint32, size: uint32 });
