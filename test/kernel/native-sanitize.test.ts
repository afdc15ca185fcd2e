import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';

test('native code reads whole, cut and mangled input within its bounds (AddressSanitizer, UBSan)', (t) => {
  const root = packageRoot();
  const sources = ['launch', 'fs', 'bpf'].flatMap((folder) =>
    readdirSync(path.join(root, 'native', folder))
      .filter((f) => f.endsWith('.cc'))
      .map((f) => path.join('native', folder, f)),
  );
  mkdirSync(path.join(root, 'build/test'), { recursive: true });
  const scratch = mkdtempSync('/tmp/nsbox-test-sanitize-');
  t.after(() => rmSync(scratch, { recursive: true, force: true }));
  const program = path.join(scratch, 'sanitize');
  const flags = ['-std=c++20', '-g', '-O1', '-fno-exceptions', '-fno-rtti', '-D_GNU_SOURCE', '-Inative'];
  flags.push('-fsanitize=address,undefined', '-fno-sanitize-recover=all');
  execFileSync('g++', [...flags, '-o', program, 'test/support/sanitize.cc', ...sources], { cwd: root });
  const work = path.join(scratch, 'work');
  mkdirSync(work);
  chmodSync(scratch, 0o755);
  chmodSync(work, 0o777);
  const r = spawnSync(program, [work], {
    encoding: 'utf8',
    // The steps run in children that end without giving memory back; they are no leaks of a process that lives on.
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
  });
  assert.equal(r.status, 0, r.stderr);
  assert.equal(r.stdout, 'clean\n');
});
