import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const have = existsSync('/usr/bin/containerd') && existsSync('/usr/bin/ctr');
const skip = have ? false : 'containerd is not installed';
const directory = mkdtempSync('/tmp/nsbox-test-ctr-');
const world = new OciWorld();
let daemon: ChildProcess | undefined;

function ctr(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const r = spawnSync('ctr', ['-a', path.join(directory, 'c.sock'), ...args], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

const run = (id: string, flags: string[], ...command: string[]) =>
  ctr('run', '--runc-binary', NSBOX_OCI, ...flags, '--rootfs', world.rootfs, id, ...command);

before(async () => {
  if (!have) return;
  const config = path.join(directory, 'config.toml');
  writeFileSync(
    config,
    [
      'version = 2',
      `root = "${directory}/root"`,
      `state = "${directory}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `  address = "${directory}/c.sock"`,
    ].join('\n'),
  );
  daemon = spawn('containerd', ['-c', config], { stdio: 'ignore' });
  await world.until(() => ctr('version').code === 0, 'containerd');
});
after(async () => {
  if (daemon) {
    for (const id of ctr('task', 'ls', '-q').stdout.split('\n').filter(Boolean)) ctr('task', 'rm', '-f', id);
    const gone = new Promise((resolve) => daemon?.on('exit', resolve));
    daemon.kill();
    await gone;
  }
  rmSync(directory, { recursive: true, force: true });
  world.close();
});

test('run: output and exit code; a missing program', { skip }, () => {
  const r = run('one', ['--rm'], '/bin/sh', '-c', 'echo hi; exit 4');
  assert.deepEqual({ code: r.code, stdout: r.stdout }, { code: 4, stdout: 'hi\n' }, r.stderr);
  const missing = run('two', ['--rm'], 'nosuch');
  assert.notEqual(missing.code, 0);
  assert.match(missing.stderr, /executable file not found in \$PATH/);
});

test('a task: start, exec, pause, metrics, kill, delete', { skip }, async () => {
  assert.equal(run('task', ['-d'], '/bin/sleep', '1000').code, 0);
  assert.match(ctr('task', 'ls').stdout, /task\s+\d+\s+RUNNING/);
  const exec = ctr('task', 'exec', '--exec-id', 'e1', 'task', '/bin/sh', '-c', 'echo inside; exit 6');
  assert.deepEqual({ code: exec.code, stdout: exec.stdout }, { code: 6, stdout: 'inside\n' }, exec.stderr);
  assert.match(
    ctr('task', 'exec', '--exec-id', 'e2', 'task', 'nosuch').stderr,
    /executable file not found in \$PATH/,
  );
  assert.equal(ctr('task', 'pause', 'task').code, 0);
  assert.match(ctr('task', 'ls').stdout, /PAUSED/);
  assert.equal(ctr('task', 'resume', 'task').code, 0);
  assert.match(ctr('task', 'ps', 'task').stdout, /^PID/);
  assert.equal(ctr('task', 'kill', '-s', 'SIGKILL', 'task').code, 0);
  await world.until(() => /STOPPED/.test(ctr('task', 'ls').stdout), 'the task');
  assert.match(ctr('task', 'rm', 'task').stderr, /exit code 137/);
  assert.equal(ctr('container', 'rm', 'task').code, 0);
});
