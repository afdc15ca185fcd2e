import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type EngineHost, eventually, type Place } from './engine-host.js';
import { NSBOX_OCI, OciWorld, type Result } from './oci-bundle.js';

/** What containerd of any version must do through `ctr --runc-binary nsbox-oci`; asked in a network of its own. */
export function ctrTests(version: RegExp, place: Place): void {
  describe('containerd', () => suite(version, place));
}

function suite(version: RegExp, place: Place): void {
  const world = new OciWorld();
  const { directory } = world;
  let host: EngineHost | undefined;

  const words = (...args: string[]) => ['ctr', '-a', `${directory}/c.sock`, ...args];
  const ctr = (...args: string[]): Result => host!.call(words(...args));
  const run = (id: string, flags: string[], ...command: string[]) =>
    ctr('run', '--runc-binary', NSBOX_OCI, ...flags, '--rootfs', world.rootfs, id, ...command);

  before(async () => {
    host = await place(directory);
    const config = path.join(directory, 'config.toml');
    const lines = [
      'version = 2',
      `root = "${directory}/containerd"`,
      `state = "${directory}/containerd-state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `  address = "${directory}/c.sock"`,
    ];
    writeFileSync(config, lines.join('\n'));
    mkdirSync(path.join(directory, 'containerd'));
    await host.daemon(
      ['containerd', '-c', config],
      `${directory}/containerd.log`,
      () => ctr('version').code === 0,
    );
  });
  after(async () => {
    if (host) {
      for (const id of ctr('task', 'ls', '-q').stdout.split('\n').filter(Boolean))
        ctr('task', 'rm', '-f', id);
      await host.close();
    }
    world.close();
  });

  test('ctr run: output and exit code; a missing program', () => {
    assert.match(ctr('version').stdout, version);
    const r = run('one', ['--rm'], '/bin/sh', '-c', 'echo hi; exit 4');
    assert.deepEqual({ code: r.code, stdout: r.stdout }, { code: 4, stdout: 'hi\n' }, r.stderr);
    const missing = run('two', ['--rm'], 'nosuch');
    assert.notEqual(missing.code, 0);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
  });

  test('ctr run: environment, directory, mounts, limits, read-only', () => {
    const flags = ['--env', 'A=b', '--cwd', '/tmp', '--read-only', '--memory-limit', '67108864'];
    const mount = ['--mount', `type=bind,src=${world.rootfs}/etc,dst=/data,options=rbind:ro`];
    const script =
      'echo $A $(pwd); touch /x 2>/dev/null || echo ro; test -f /data/passwd && echo bound; grep -h . /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null';
    const r = run('three', ['--rm', ...flags, ...mount], '/bin/sh', '-c', script);
    assert.match(r.stdout, /^b \/tmp\nro\nbound\n(67108864\n)?$/, r.stderr);
  });

  test('a terminal: ctr run -t', () => {
    const line = words(
      'run',
      '--runc-binary',
      NSBOX_OCI,
      '--rm',
      '-t',
      '--rootfs',
      world.rootfs,
      'tty',
      '/bin/tty',
    );
    const r = host!.call(['script', '-qec', line.join(' '), '/dev/null'], { input: '' });
    assert.match(r.stdout, /\/dev\/(pts\/0|console)/, r.stderr);
  });

  test('a task: start, exec, pause, metrics, kill, delete', async () => {
    assert.equal(run('task', ['-d'], '/bin/sleep', '1000').code, 0);
    assert.match(ctr('task', 'ls').stdout, /task\s+\d+\s+RUNNING/);
    const exec = ctr('task', 'exec', '--exec-id', 'e1', 'task', '/bin/sh', '-c', 'echo inside; exit 6');
    assert.deepEqual({ code: exec.code, stdout: exec.stdout }, { code: 6, stdout: 'inside\n' }, exec.stderr);
    const missing = ctr('task', 'exec', '--exec-id', 'e2', 'task', 'nosuch');
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    assert.equal(ctr('task', 'pause', 'task').code, 0);
    assert.match(ctr('task', 'ls').stdout, /PAUSED/);
    assert.equal(ctr('task', 'resume', 'task').code, 0);
    assert.match(ctr('task', 'ps', 'task').stdout, /^PID/);
    const metrics = ctr('task', 'metrics', '--format', 'json', 'task');
    assert.equal(metrics.code, 0, metrics.stderr);
    assert.match(metrics.stdout, /pids|memory/i);
    assert.equal(ctr('task', 'kill', '-s', 'SIGKILL', 'task').code, 0);
    const stopped = () => /STOPPED/.test(ctr('task', 'ls').stdout);
    await eventually(stopped, () => ctr('task', 'ls').stdout);
    assert.match(ctr('task', 'rm', 'task').stderr, /exit code 137/);
    assert.equal(ctr('container', 'rm', 'task').code, 0);
  });
}
