import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { podmanLimits } from '../support/network-engines.js';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const have = existsSync('/usr/bin/podman') || existsSync('/usr/local/bin/podman');
const skip = have ? false : 'podman is not installed';
const directory = mkdtempSync('/tmp/nsbox-test-podman-');
const world = new OciWorld();

const RUN = ['run', '--network', 'none', ...podmanLimits()];

const GLOBAL = [
  ...['--root', path.join(directory, 'root'), '--runroot', path.join(directory, 'runroot')],
  ...['--tmpdir', path.join(directory, 'tmp'), '--cgroup-manager', 'cgroupfs', '--events-backend', 'file'],
  ...['--storage-driver', 'overlay', '--runtime', NSBOX_OCI],
];

function podman(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const r = spawnSync('podman', [...GLOBAL, ...args], { encoding: 'utf8', timeout: 60_000 });
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

before(() => {
  if (!have) return;
  const tar = path.join(directory, 'rootfs.tar');
  assert.equal(spawnSync('tar', ['-C', world.rootfs, '-cf', tar, '.']).status, 0);
  const imported = podman('import', tar, 'box');
  assert.equal(imported.code, 0, imported.stderr);
});
after(() => {
  if (have) {
    podman('pod', 'rm', '-fa', '-t', '0');
    podman('rm', '-fa', '-t', '0');
  }
  rmSync(directory, { recursive: true, force: true });
  world.close();
});

test('run: output, exit codes, and the causes of failure', { skip }, () => {
  const hi = podman(...RUN, '--rm', 'box', 'echo', 'hi');
  assert.deepEqual(hi, { code: 0, stdout: 'hi\n', stderr: '' });
  assert.equal(podman(...RUN, '--rm', 'box', 'sh', '-c', 'exit 7').code, 7);
  const missing = podman(...RUN, '--rm', 'box', 'nosuch');
  assert.equal(missing.code, 127, missing.stderr);
  assert.match(missing.stderr, /executable file not found in \$PATH/);
  assert.equal(podman(...RUN, '--rm', 'box', '/etc').code, 126);
});

test('a life: run -d, exec, logs, top, pause, stop, start, rm', { skip }, () => {
  const started = podman(
    ...RUN,
    '-d',
    '--name',
    'life',
    'box',
    'sh',
    '-c',
    'trap "echo bye; exit 3" TERM; echo born; while :; do sleep 0.1; done',
  );
  assert.equal(started.code, 0, started.stderr);
  assert.deepEqual(podman('exec', 'life', 'sh', '-c', 'echo in; exit 5'), {
    code: 5,
    stdout: 'in\n',
    stderr: '',
  });
  assert.equal(podman('exec', 'life', 'nosuch').code, 127);
  assert.equal(
    podman('exec', '-i', '-e', 'A=b', '-w', '/tmp', '-u', '5', 'life', 'sh', '-c', 'echo $A $(pwd) $(id -u)')
      .stdout,
    'b /tmp 5\n',
  );
  assert.match(podman('top', 'life', 'pid', 'comm').stdout, /1\s+sh/);
  assert.equal(podman('pause', 'life').code, 0);
  assert.match(podman('ps', '-a', '--format', '{{.Status}}').stdout, /Paused/);
  assert.equal(podman('unpause', 'life').code, 0);
  assert.equal(podman('stop', '-t', '5', 'life').code, 0);
  assert.equal(podman('inspect', 'life', '--format', '{{.State.ExitCode}}').stdout, '3\n');
  assert.equal(podman('logs', 'life').stdout, 'born\nbye\n');
  assert.equal(podman('start', 'life').code, 0);
  assert.equal(podman('kill', '-s', 'KILL', 'life').code, 0);
  assert.equal(podman('wait', 'life').stdout, '137\n');
  assert.equal(podman('rm', 'life').code, 0);
});

test('-t has a terminal, of run and of exec; -it takes what is typed', { skip }, () => {
  const tty = podman(...RUN, '-t', '--rm', 'box', 'sh', '-c', 'tty; echo done');
  assert.match(tty.stdout, /\/dev\/pts\/0\r\ndone\r\n/);
  const words = ['podman', ...GLOBAL, ...RUN, '-it', '--rm', 'box', 'sh'].join(' ');
  const typed = spawnSync('script', ['-qec', `stty rows 31 cols 97; ${words}`, '/dev/null'], {
    encoding: 'utf8',
    timeout: 60_000,
    input: 'stty size\necho $((6 * 7))\nexit 6\n',
  });
  assert.equal(typed.status, 6, typed.stdout + typed.stderr);
  assert.match(typed.stdout, /\n42\r?\n/);
  assert.equal(podman(...RUN, '-d', '--name', 'screen', 'box', 'sleep', '100').code, 0);
  assert.match(podman('exec', '-t', 'screen', 'tty').stdout, /^\/dev\/pts\/\d+\r\n$/);
  assert.equal(podman('rm', '-f', '-t', '0', 'screen').code, 0);
});

test('--init: the init that podman names is process 1', { skip }, () => {
  // Debian's podman recommends catatonit, which isn't everywhere; --init-path takes any init. This one says so.
  const init = path.join(directory, 'init');
  writeFileSync(init, '#!/bin/sh\necho init of podman\n[ "$1" = -- ] && shift\n"$@"\n', { mode: 0o755 });
  const r = podman(...RUN, '--rm', '--init', '--init-path', init, 'box', 'sh', '-c', 'echo $PPID; exit 3');
  assert.deepEqual({ code: r.code, stdout: r.stdout }, { code: 3, stdout: 'init of podman\n1\n' }, r.stderr);
});

test('cp and update of what runs', { skip }, () => {
  const started = podman(...RUN, '-d', '--name', 'figures', '-m', '64m', 'box', 'sleep', '100');
  assert.equal(started.code, 0, started.stderr);
  writeFileSync(path.join(directory, 'sent'), 'sent\n');
  assert.equal(podman('cp', path.join(directory, 'sent'), 'figures:/data/sent').code, 0);
  assert.equal(podman('exec', 'figures', 'cat', '/data/sent').stdout, 'sent\n');
  assert.equal(podman('cp', 'figures:/etc/passwd', path.join(directory, 'got')).code, 0);
  assert.match(readFileSync(path.join(directory, 'got'), 'utf8'), /^root:/);
  const updated = podman('update', '-m', '96m', 'figures');
  assert.equal(updated.code, 0, updated.stderr);
  const limit = 'cat $(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)';
  assert.equal(podman('exec', 'figures', 'sh', '-c', limit).stdout, `${96 << 20}\n`);
  assert.equal(podman('rm', '-f', '-t', '0', 'figures').code, 0);
});

test('volumes, read-only, limits, capabilities, users, user namespaces', { skip }, () => {
  assert.equal(podman(...RUN, '--rm', '-v', 'keep:/data', 'box', 'sh', '-c', 'echo kept > /data/f').code, 0);
  assert.equal(podman(...RUN, '--rm', '-v', 'keep:/data:ro', 'box', 'cat', '/data/f').stdout, 'kept\n');
  writeFileSync(path.join(directory, 'host'), 'from the host');
  const bound = podman(
    ...RUN,
    '--rm',
    '-v',
    `${directory}/host:/h:ro`,
    '--read-only',
    'box',
    'sh',
    '-c',
    'cat /h; touch /x 2>/dev/null || echo " ro"',
  );
  assert.equal(bound.stdout, 'from the host ro\n');
  const pids = podman(
    ...RUN,
    '--rm',
    '--pids-limit',
    '30',
    '-m',
    '64m',
    'box',
    'sh',
    '-c',
    'cat $(ls -d /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null); cat $(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)',
  );
  assert.equal(pids.stdout, '30\n67108864\n', pids.stderr);
  const caps = podman(
    ...RUN,
    '--rm',
    '--cap-drop',
    'all',
    '--cap-add',
    'net_raw',
    '-u',
    '7:8',
    'box',
    'sh',
    '-c',
    'id -u; id -g; grep CapBnd /proc/self/status',
  );
  assert.match(caps.stdout, /^7\n8\nCapBnd:\s+0000000000002000\n$/);
  const mapped = podman(
    ...RUN,
    '--rm',
    '--uidmap',
    '0:100000:1000',
    '--gidmap',
    '0:100000:1000',
    'box',
    'sh',
    '-c',
    'tr -s " " < /proc/self/uid_map; touch /t && stat -c %u /t',
  );
  assert.equal(mapped.stdout, ' 0 100000 1000\n0\n', mapped.stderr);
  assert.match(
    podman(...RUN, '--rm', '--privileged', 'box', 'grep', 'CapEff', '/proc/self/status').stdout,
    /0000[0-9a-f]{4}[ef]*ffff/,
  );
});

test('healthcheck, pods, rename and update of what runs', { skip }, () => {
  assert.equal(
    podman(
      ...RUN,
      '-d',
      '--name',
      'healthy',
      '--health-cmd',
      'test -e /bin/sh',
      '--health-interval',
      'disable',
      'box',
      'sleep',
      '100',
    ).code,
    0,
  );
  assert.equal(podman('healthcheck', 'run', 'healthy').code, 0);
  assert.equal(podman('pod', 'create', '--name', 'pod', '--infra=false').code, 0);
  assert.equal(podman(...RUN, '-d', '--pod', 'pod', '--name', 'member', 'box', 'sleep', '100').code, 0);
  assert.match(podman('pod', 'ps', '--format', '{{.Status}}').stdout, /Running/);
  assert.equal(podman('pod', 'rm', '-f', '-t', '0', 'pod').code, 0);
  assert.equal(podman('rm', '-f', '-t', '0', 'healthy').code, 0);
});

test('containers join the namespaces of another', { skip }, () => {
  assert.equal(podman(...RUN, '-d', '--name', 'first', 'box', 'sleep', '100').code, 0);
  const ids = (name: string, ...args: string[]) =>
    podman('run', ...podmanLimits(), '--rm', ...args, 'box', 'readlink', `/proc/self/ns/${name}`).stdout;
  const of = (name: string) => podman('exec', 'first', 'readlink', `/proc/self/ns/${name}`).stdout;
  assert.equal(ids('net', '--network', 'container:first'), of('net'));
  assert.equal(ids('ipc', '--network', 'none', '--ipc', 'container:first'), of('ipc'));
  assert.equal(ids('pid', '--network', 'none', '--pid', 'container:first'), of('pid'));
  assert.notEqual(ids('net', '--network', 'none'), of('net'));
  podman('rm', '-f', '-t', '0', 'first');
});

test("nsbox's own defaults are podman's: capabilities and seccomp", { skip }, async () => {
  const fields = (status: string) => status.split('\n').filter((l) => /^(Cap|Seccomp)/.test(l));
  const theirs = podman(...RUN, '--rm', 'box', 'cat', '/proc/self/status').stdout;
  const { run } = await import('../../src/index.js');
  const ours = await run({
    rootfs: world.rootfs,
    root: path.join(directory, 'nsbox-root'),
    state: path.join(directory, 'nsbox-state'),
    command: ['cat', '/proc/self/status'],
  });
  assert.deepEqual(fields(ours.stdout), fields(theirs));
  assert.ok(fields(theirs).length >= 6);
});
