import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';

/**
 * Path of the static program made of test/support/NAME.cc, built at the first call. NSBOX_TEST_NAME tells of one built
 * elsewhere: the test VM has no compiler's time to spend.
 */
export function testProgram(name: 'load' | 'sctp'): string {
  const given = process.env[`NSBOX_TEST_${name.toUpperCase()}`];
  if (given) return given;
  const source = path.join(packageRoot(), `test/support/${name}.cc`);
  const binary = path.join(packageRoot(), `build/test/${name}`);
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return binary;
  mkdirSync(path.dirname(binary), { recursive: true });
  const temporary = `${binary}.${process.pid}`;
  execFileSync('g++', ['-O1', '-static', '-D_GNU_SOURCE', '-o', temporary, source]);
  renameSync(temporary, binary);
  return binary;
}

/** Path of the load program (load.cc). */
export const loadProgram = (): string => testProgram('load');
