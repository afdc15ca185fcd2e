import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { workingCriu } from '../support/criu.js';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const criu = workingCriu();
const skip =
  'reason' in criu ? criu.reason : existsSync('/usr/bin/podman') ? false : 'podman is not installed';
const directory = mkdtempSync('/tmp/nsbox-test-podman-criu-');
const world = new OciWorld();
const bin = path.join(directory, 'bin');

/** podman asks criu for its version by itself, and finds it in PATH; so does the runtime. */
function podman(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const place = (name: string) => path.join(directory, name);
  const r = spawnSync(
    'podman',
    [
      ...['--root', place('root'), '--runroot', place('runroot'), '--tmpdir', place('tmp')],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'file', '--storage-driver', 'overlay'],
      ...['--runtime', NSBOX_OCI, ...args],
    ],
    {
      encoding: 'utf8',
      timeout: 120_000,
      env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    },
  );
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

after(() => {
  if (!skip) podman('rm', '-fa', '-t', '0');
  rmSync(directory, { recursive: true, force: true });
  world.close();
});

test('podman container checkpoint and restore: the container goes on, with its log', { skip }, async () => {
  mkdirSync(bin);
  if ('file' in criu) symlinkSync(criu.file, path.join(bin, 'criu'));
  const tar = path.join(directory, 'rootfs.tar');
  assert.equal(spawnSync('tar', ['-C', world.rootfs, '-cf', tar, '.']).status, 0);
  assert.equal(podman('import', tar, 'box').code, 0);
  // podman's own limits are above what a host without CAP_SYS_RESOURCE may set.
  const files = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  const limits = ['--ulimit', `nofile=${files}:${files}`, '--ulimit', 'nproc=1000:1000'];
  const script = 'i=0; while :; do i=$((i+1)); echo "at $i"; sleep 0.1; done';
  const run = podman('run', '-d', '--name', 'c', '--network', 'none', ...limits, 'box', 'sh', '-c', script);
  assert.equal(run.code, 0, run.stderr);
  const lines = () =>
    podman('logs', 'c')
      .stdout.trim()
      .split('\n')
      .map((l) => Number(l.slice(3)));
  await world.until(() => lines().length > 3, 'the log');
  const stopped = podman('container', 'checkpoint', 'c');
  assert.equal(stopped.code, 0, stopped.stderr);
  assert.match(podman('ps', '-a', '--format', '{{.Status}}').stdout, /^Exited/);
  const before = lines().at(-1)!;
  const restored = podman('container', 'restore', 'c');
  assert.equal(restored.code, 0, restored.stderr);
  await world.until(() => lines().at(-1)! > before, 'the log of the restored container');
  assert.ok(
    lines().every((n, i) => n === i + 1),
    'it counts on, nothing is lost or told twice',
  );
  assert.equal(podman('exec', 'c', 'echo', 'here').stdout, 'here\n');
  assert.equal(podman('stop', '-t', '0', 'c').code, 0);
});
