import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import type { GuestResult } from './report.js';

function missing(): string | undefined {
  if (process.env['NSBOX_TEST_VM'] === 'no') return 'NSBOX_TEST_VM=no';
  if (process.getuid?.() !== 0) return 'the test VM needs root';
  if (process.arch !== 'x64') return `the test VM is built for x86_64, this machine is ${process.arch}`;
  return undefined;
}

export interface GuestOptions {
  /** Time of the whole boot, in seconds. */
  seconds: number;
  /** Done before it, on this machine: gives what the guest finds in its environment (names that begin with NSBOX_). */
  prepare: () => NodeJS.ProcessEnv;
}

/**
 * Boots the test VM once (Debian kernel, cgroup2 with every controller, software emulation), runs a program of test/vm
 * in it and makes a test of each line that it reports. Left out with NSBOX_TEST_VM=no, and where QEMU can't be had.
 */
export function testInVm(name: string, file: string, options: GuestOptions): void {
  test(name, { timeout: (options.seconds + 60) * 1000 }, async (t) => {
    const why = missing();
    if (why) return t.skip(why);
    const root = packageRoot();
    const program = path.join(root, 'build/js/test/vm', file);
    const limits = ['--cpus', '2', '--mem', '1536', '--timeout', String(options.seconds)];
    const vm = spawn(path.join(root, 'test/vm/vm-run'), [...limits, '--', process.execPath, program], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.prepare() },
    });
    let errors = '';
    vm.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    let count = 0;
    for await (const line of createInterface({ input: vm.stdout })) {
      if (!line.startsWith('{')) continue;
      const result = JSON.parse(line) as GuestResult;
      count++;
      await t.test(`${result.name} (${result.ms} ms in the VM)`, (inner) => {
        if (result.skipped) inner.skip(result.skipped);
        if (result.error) assert.fail(result.error);
      });
    }
    const code = await new Promise<number | null>((resolve) => {
      if (vm.exitCode !== null) resolve(vm.exitCode);
      else vm.on('close', resolve);
    });
    if (code === 126) return t.skip(`the test VM cannot be built here: ${errors.trim().split('\n').at(-1)}`);
    assert.equal(code, 0, `the test VM ended with ${code}: ${errors.slice(-4000)}`);
    assert.ok(count > 0, 'the test VM reported nothing');
  });
}
