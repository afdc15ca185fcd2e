import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { findGroups, readUsage } from '../../src/cgroup/index.js';
import { hostFacts } from '../../src/host/index.js';
import { loadProgram } from '../support/load.js';

/** The same container, asked about by podman and by us: both read the kernel, and must say the same. */
function missing(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root';
  for (const program of ['podman', 'runc']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${program} is not installed`;
  }
  return false;
}

const UNITS: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
function bytes(text: string): number {
  const m = /^([\d.]+)([kMG]?B)$/.exec(text.trim());
  return m ? Number(m[1]) * (UNITS[m[2] ?? ''] ?? Number.NaN) : Number.NaN;
}

test('figures agree with podman stats for the same load', { skip: missing() }, async (t) => {
  const directory = mkdtempSync('/tmp/nsbox-test-podman-stats-');
  const rootfs = path.join(directory, 'fs');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp'])
    mkdirSync(path.join(rootfs, name), { recursive: true });
  copyFileSync(loadProgram(), path.join(rootfs, 'bin/load'));
  const podman = (...args: string[]): string => {
    const places = ['--root', `${directory}/root`, '--runroot', `${directory}/run`];
    const r = spawnSync('podman', [...places, '--runtime', 'runc', '--cgroup-manager', 'cgroupfs', ...args], {
      encoding: 'utf8',
    });
    assert.equal(r.status, 0, `podman ${args[0]}: ${r.stderr}`);
    return r.stdout.trim();
  };
  try {
    const limits = [
      '--memory',
      '128m',
      '--cpus',
      '0.5',
      '--pids-limit',
      '10',
      '--ulimit',
      'nofile=1024:1024',
      '--ulimit',
      'nproc=1024:1024',
    ];
    const id = podman(
      'run',
      '-d',
      '--network',
      'none',
      ...limits,
      '--rootfs',
      rootfs,
      '/bin/load',
      'memory',
      String(64 << 20),
      '600',
    );
    // Until it has touched all it wants, and sleeps.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const pid = podman('inspect', '--format', '{{.State.Pid}}', id);
    const group =
      /^(?:0::|\d+:memory:)(\/.*libpod.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? '';
    const { cgroup } = hostFacts(makeContext({ root: directory, state: directory }));
    const theirs =
      (JSON.parse(podman('stats', '--no-stream', '--format', 'json', id)) as Record<string, string>[])[0] ??
      {};
    const ours = readUsage(findGroups(cgroup, group));
    const [memory = '', limit = ''] = (theirs['mem_usage'] ?? '').split('/');
    const rows: [what: string, podman: number, nsbox: number, tolerance: number][] = [
      ['memory used, bytes', bytes(memory), ours.memory.usage, 1 << 20],
      ['memory limit, bytes', bytes(limit), ours.memory.limit ?? Number.NaN, 1e5],
      ['CPU time, ms', milliseconds(theirs['cpu_time'] ?? ''), ours.cpu.usageUsec / 1000, 5],
      ['processes', Number(theirs['pids']), ours.pids.current, 0],
    ];
    for (const [what, podmans, nsboxs, tolerance] of rows) {
      t.diagnostic(`${what}: podman ${podmans}, nsbox ${nsboxs}`);
      assert.ok(Math.abs(podmans - nsboxs) <= tolerance, `${what}: podman says ${podmans}, nsbox ${nsboxs}`);
    }
  } finally {
    podman('rm', '-f', '-t', '0', '-a');
    // podman leaves its storage mounted on itself.
    spawnSync('umount', ['-l', `${directory}/root/overlay`]);
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});

/** `50.215626ms`, `1.5s`. */
function milliseconds(text: string): number {
  const m = /^([\d.]+)(µs|ms|s)$/.exec(text);
  return m ? Number(m[1]) * ({ µs: 1e-3, ms: 1, s: 1e3 }[m[2] ?? ''] ?? Number.NaN) : Number.NaN;
}
