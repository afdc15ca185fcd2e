import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';

/** Path of the static load program (load.cc), built at the first call. NSBOX_TEST_LOAD names one built elsewhere. */
export function loadProgram(): string {
  const given = process.env['NSBOX_TEST_LOAD'];
  if (given) return given;
  const source = path.join(packageRoot(), 'test/support/load.cc');
  const binary = path.join(packageRoot(), 'build/test/load');
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return binary;
  mkdirSync(path.dirname(binary), { recursive: true });
  const temporary = `${binary}.${process.pid}`;
  execFileSync('g++', ['-O1', '-static', '-D_GNU_SOURCE', '-o', temporary, source]);
  renameSync(temporary, binary);
  return binary;
}
