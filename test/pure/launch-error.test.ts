import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { elfInterpreter, elfMachine, launchError, shebang } from '../../src/engine/launch-error.js';
import type { StepFailure } from '../../src/kernel/index.js';
import type { LaunchPlan } from '../../src/plan/index.js';

const exec = (program: string): LaunchPlan => ({
  id: 'x',
  stdio: 'inherit',
  stdinOpen: false,
  leaveAfterStart: false,
  dieWithRuntime: false,
  passed: [],
  prepare: [],
  clone: { op: 'clone', namespaces: [], join: [], keepNamespaces: false },
  parent: [{ op: 'rlimits', limits: [{ name: 'RLIMIT_NOFILE', soft: 1n, hard: 2n }] }],
  init: [{ op: 'exec', path: '/usr/bin:/bin', argv: [program], env: [] }],
  exit: [],
  finish: [],
});

const failed = (errno: keyof typeof constants.errno, parts: Partial<StepFailure> = {}): StepFailure => ({
  list: 3,
  step: 0,
  errno: constants.errno[errno],
  syscall: 'execve',
  path: '/app/run',
  detail: '',
  mode: 0o100755,
  head: Buffer.alloc(0),
  ...parts,
});

/** The first bytes of an ELF file with a loader. */
function elf(machine: number, loader?: string): Buffer {
  const b = Buffer.alloc(256);
  b.writeUInt32BE(0x7f454c46, 0);
  b[4] = 2;
  b[5] = 1;
  b.writeUInt16LE(machine, 18);
  b.writeBigUInt64LE(64n, 32);
  b.writeUInt16LE(56, 54);
  if (loader) {
    b.writeUInt16LE(1, 56);
    b.writeUInt32LE(3, 64);
    b.writeBigUInt64LE(128n, 72);
    b.writeBigUInt64LE(BigInt(loader.length + 1), 96);
    b.write(loader, 128);
  }
  return b;
}

const cases: [name: string, program: string, failure: StepFailure, exitCode: number, message: RegExp][] = [
  [
    'a program that is nowhere',
    'nosuch',
    failed('ENOENT', { mode: 0, path: 'nosuch' }),
    127,
    /"nosuch": executable file not found in \$PATH \(searched \/usr\/bin:\/bin\)/,
  ],
  ['a path that is not there', '/no/such', failed('ENOENT', { mode: 0 }), 127, /no such file or directory/],
  [
    'a missing interpreter',
    '/app/run',
    failed('ENOENT', { head: Buffer.from('#!/usr/bin/python9\n') }),
    127,
    /interpreter \/usr\/bin\/python9 is not in the container/,
  ],
  [
    'a CRLF shebang',
    '/app/run',
    failed('ENOENT', { head: Buffer.from('#!/bin/sh\r\necho\r\n') }),
    127,
    /carriage return \(CRLF\).*"\/bin\/sh\\r"/,
  ],
  [
    'a missing loader',
    '/app/run',
    failed('ENOENT', { head: elf(62, '/lib64/ld-linux-x86-64.so.2') }),
    127,
    /loader \/lib64\/ld-linux-x86-64\.so\.2 is not in the container/,
  ],
  [
    'another architecture',
    '/app/run',
    failed('ENOEXEC', { head: elf(183) }),
    126,
    /built for ARM 64 \(aarch64\), this machine is x86-64/,
  ],
  [
    'a script without a first line',
    '/app/run',
    failed('ENOEXEC', { head: Buffer.from('echo hi\n') }),
    126,
    /neither an ELF program nor a script/,
  ],
  ['an empty file', '/app/run', failed('ENOEXEC'), 126, /the file is empty/],
  [
    'a file that is not executable',
    '/app/run',
    failed('EACCES', { mode: 0o100644 }),
    126,
    /the file is not executable/,
  ],
  ['a directory', '/app', failed('EACCES', { mode: 0o040755 }), 126, /is a directory/],
];

for (const [name, program, failure, exitCode, message] of cases) {
  test(`says what is wrong with ${name}`, () => {
    const error = launchError(exec(program), failure, 'x64');
    assert.match(error.message, message);
    assert.equal(error.exitCode, exitCode);
    assert.equal(error.syscall, 'execve');
    assert.doesNotMatch(error.message, /\n/);
  });
}

test('names step, system call, path and a remedy for any other step', () => {
  const error = launchError(
    exec('x'),
    failed('EPERM', { list: 2, syscall: 'prlimit', path: 'RLIMIT_NOFILE' }),
  );
  assert.equal(error.exitCode, 125);
  assert.equal(error.errno, 'EPERM');
  assert.match(error.step ?? '', /parent 1 \(rlimits\)/);
  assert.match(error.message, /prlimit RLIMIT_NOFILE: operation not permitted/);
  assert.match(error.hint ?? '', /CAP_SYS_RESOURCE/);
});

test('reads shebangs and ELF headers, and takes nothing else for one', () => {
  assert.deepEqual(shebang(Buffer.from('#! /usr/bin/env python3\n')), {
    interpreter: '/usr/bin/env',
    crlf: false,
  });
  assert.equal(shebang(Buffer.from('hello')), undefined);
  assert.equal(elfMachine(Buffer.from('#!/bin/sh\n')), undefined);
  assert.equal(elfMachine(elf(62)), 'x86-64');
  assert.equal(elfInterpreter(elf(62)), undefined);
  assert.equal(elfInterpreter(Buffer.alloc(3)), undefined);
});
