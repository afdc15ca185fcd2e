import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const have = existsSync('/usr/sbin/dockerd') && existsSync('/usr/bin/docker');
const skip = have ? false : 'docker.io is not installed';
const directory = mkdtempSync('/tmp/nsbox-test-docker-');
const world = new OciWorld();
let daemon: ChildProcess | undefined;

function docker(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const r = spawnSync('docker', ['-H', `unix://${directory}/d.sock`, ...args], {
    encoding: 'utf8',
    timeout: 40_000,
  });
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

before(async () => {
  if (!have) return;
  const config = path.join(directory, 'daemon.json');
  writeFileSync(
    config,
    JSON.stringify({ runtimes: { nsbox: { path: NSBOX_OCI } }, 'default-runtime': 'nsbox' }),
  );
  daemon = spawn(
    'dockerd',
    [
      ...['--config-file', config, '--data-root', `${directory}/data`, '--exec-root', `${directory}/exec`],
      ...[
        '-H',
        `unix://${directory}/d.sock`,
        '-p',
        `${directory}/d.pid`,
        '--iptables=false',
        '--bridge=none',
      ],
    ],
    { stdio: 'ignore' },
  );
  await world.until(() => docker('version').code === 0, 'dockerd');
  const tar = path.join(directory, 'rootfs.tar');
  assert.equal(spawnSync('tar', ['-C', world.rootfs, '-cf', tar, '.']).status, 0);
  assert.equal(docker('import', tar, 'box').code, 0);
});
after(async () => {
  if (daemon) {
    docker('swarm', 'leave', '--force');
    for (const id of docker('ps', '-aq').stdout.split('\n').filter(Boolean)) docker('rm', '-f', id);
    const gone = new Promise((resolve) => daemon?.on('exit', resolve));
    daemon.kill();
    await gone;
    // The daemon leaves the mount of its first network namespace.
    const netns = path.join(directory, 'exec/netns');
    for (const n of existsSync(netns) ? readdirSync(netns) : []) spawnSync('umount', [path.join(netns, n)]);
  }
  rmSync(directory, { recursive: true, force: true });
  world.close();
});

test('docker run, exec, pause, stop, logs, --init, -t, limits', { skip }, () => {
  const r = docker('run', '--rm', '--network', 'none', 'box', 'sh', '-c', 'echo hi; exit 5');
  assert.deepEqual({ code: r.code, stdout: r.stdout }, { code: 5, stdout: 'hi\n' }, r.stderr);
  const missing = docker('run', '--rm', '--network', 'none', 'box', 'nosuch');
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /executable file not found in \$PATH/);
  assert.equal(docker('run', '--rm', '--network', 'none', 'box', '/etc').code, 126);
  const started = docker(
    'run',
    '-d',
    '--name',
    'life',
    '--network',
    'none',
    'box',
    'sh',
    '-c',
    'trap "echo bye; exit 3" TERM; echo born; while :; do sleep 0.1; done',
  );
  assert.equal(started.code, 0, started.stderr);
  const exec = docker(
    'exec',
    '-e',
    'A=b',
    '-w',
    '/tmp',
    '-u',
    '5',
    'life',
    'sh',
    '-c',
    'echo $A $(pwd) $(id -u); exit 4',
  );
  assert.deepEqual({ code: exec.code, stdout: exec.stdout }, { code: 4, stdout: 'b /tmp 5\n' });
  assert.equal(docker('pause', 'life').code, 0);
  assert.equal(docker('unpause', 'life').code, 0);
  assert.match(docker('top', 'life').stdout, /sh -c trap/);
  assert.equal(docker('stop', 'life').code, 0);
  assert.equal(
    docker('inspect', 'life', '--format', '{{.State.ExitCode}} {{.HostConfig.Runtime}}').stdout,
    '3 nsbox\n',
  );
  assert.equal(docker('logs', 'life').stdout, 'born\nbye\n');
  const limited = docker(
    'run',
    '--rm',
    '-t',
    '--init',
    '-m',
    '64m',
    '--pids-limit',
    '20',
    '--network',
    'none',
    'box',
    'sh',
    '-c',
    'tty; cat /proc/1/comm; cat $(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)',
  );
  assert.equal(limited.stdout, '/dev/pts/0\r\ndocker-init\r\n67108864\r\n', limited.stderr);
});

test('docker swarm: a service of three replicas, with nsbox as the default runtime', { skip }, async () => {
  const init = docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
  assert.equal(init.code, 0, init.stderr);
  const made = docker(
    'service',
    'create',
    '--detach',
    '--name',
    'three',
    '--replicas',
    '3',
    '--network',
    'host',
    'box',
    'sleep',
    '1000',
  );
  assert.equal(made.code, 0, made.stderr);
  const replicas = () => docker('service', 'ls', '--format', '{{.Replicas}}').stdout.trim();
  const end = Date.now() + 40_000;
  while (replicas() !== '3/3' && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(replicas(), '3/3');
  assert.equal(docker('service', 'rm', 'three').code, 0);
});
