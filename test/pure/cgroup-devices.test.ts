import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { allowsEverything, DEFAULT_DEVICE_RULES, deviceProgram } from '../../src/cgroup/index.js';
import type { SpecDeviceRule } from '../../src/spec/index.js';

/** Runs a device program as the kernel would, for the few instructions that are used. */
function run(program: Uint8Array, type: 1 | 2, access: number, major: number, minor: number): number {
  const code = Buffer.from(program);
  const context = [(access << 16) | type, major, minor];
  const r = new Array<number>(11).fill(0);
  for (let pc = 0, steps = 0; ; pc++) {
    assert.ok(steps++ < 10_000 && pc * 8 < code.length, 'ran off the end');
    const [op = 0, regs = 0] = [code[pc * 8], code[pc * 8 + 1]];
    const dst = regs & 15;
    const src = regs >> 4;
    const offset = code.readInt16LE(pc * 8 + 2);
    const immediate = code.readInt32LE(pc * 8 + 4);
    const value = r[dst] ?? 0;
    if (op === 0x61) r[dst] = context[offset / 4] ?? 0;
    else if (op === 0xb7) r[dst] = immediate;
    else if (op === 0xbf) r[dst] = r[src] ?? 0;
    else if (op === 0x54) r[dst] = (value & immediate) >>> 0;
    else if (op === 0x74) r[dst] = value >>> immediate;
    else if (op === 0x55) pc += value !== immediate ? offset : 0;
    else if (op === 0x45) pc += (value & immediate) !== 0 ? offset : 0;
    else if (op === 0x05) pc += offset;
    else if (op === 0x95) return r[0] ?? 0;
    else assert.fail(`unknown instruction ${op}`);
  }
}

/** The rule of OCI, bit by bit: the last rule that speaks of a device and an access decides. */
function model(
  rules: readonly SpecDeviceRule[],
  type: 'b' | 'c',
  access: string,
  major: number,
  minor: number,
): boolean {
  return [...access].every((bit) => {
    let allowed = false;
    for (const rule of rules) {
      if (rule.access && !rule.access.includes(bit)) continue;
      if (rule.type !== 'a' && rule.type !== undefined) {
        if (rule.type !== type) continue;
      }
      if (rule.type !== 'a') {
        if (rule.major !== undefined && rule.major >= 0 && rule.major !== major) continue;
        if (rule.minor !== undefined && rule.minor >= 0 && rule.minor !== minor) continue;
      }
      allowed = rule.allow;
    }
    return allowed;
  });
}

const bits = (access: string): number =>
  (access.includes('m') ? 1 : 0) | (access.includes('r') ? 2 : 0) | (access.includes('w') ? 4 : 0);

test('device programs decide as the list of rules does', () => {
  const number = fc.oneof(fc.constant(-1), fc.constant(undefined), fc.integer({ min: 0, max: 3 }));
  const access = fc.subarray(['r', 'w', 'm'], { minLength: 1 }).map((a) => a.join(''));
  const rule = fc.record({
    allow: fc.boolean(),
    type: fc.constantFrom('a', 'b', 'c', undefined),
    major: number,
    minor: number,
    access: fc.oneof(access, fc.constant(undefined)),
  }) as fc.Arbitrary<SpecDeviceRule>;
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 12 }),
      fc.constantFrom('b' as const, 'c' as const),
      access,
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      (rules, type, asked, major, minor) => {
        const got = run(deviceProgram(rules), type === 'b' ? 1 : 2, bits(asked), major, minor);
        assert.equal(got === 1, model(rules, type, asked, major, minor), JSON.stringify(rules));
      },
    ),
    { numRuns: 2000 },
  );
});

test('the default rules', () => {
  const program = deviceProgram([{ allow: false, access: 'rwm' }, ...DEFAULT_DEVICE_RULES]);
  assert.equal(run(program, 2, bits('rw'), 1, 3), 1, '/dev/null');
  assert.equal(run(program, 2, bits('rw'), 136, 17), 1, 'a pseudo terminal');
  assert.equal(run(program, 1, bits('m'), 8, 0), 1, 'mknod of a disk');
  assert.equal(run(program, 1, bits('r'), 8, 0), 0, 'reading it');
  assert.equal(run(program, 2, bits('rm'), 10, 200), 0, 'mknod allowed and read not');
});

test('nothing follows a rule that speaks of everything', () => {
  const short = deviceProgram([
    { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
    { allow: false, type: 'a', access: 'rwm' },
  ]);
  assert.equal(short.length / 8, 8);
  assert.ok(allowsEverything([{ allow: false }, { allow: true, type: 'a', access: 'rwm' }]));
  assert.ok(!allowsEverything([{ allow: true, type: 'c', access: 'rwm' }]));
  assert.ok(!allowsEverything([]));
});
