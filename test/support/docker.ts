import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CliRig } from './cli.js';
import { type EngineHost, eventually, type Place } from './engine-host.js';
import { NSBOX_OCI, OciWorld, type Result } from './oci-bundle.js';

const LIMIT = 'cat $(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)';

/** What a dockerd of any version must do with nsbox-oci as its default runtime; asked in a network of its own. */
export function dockerTests(version: RegExp, place: Place): void {
  describe('dockerd', () => suite(version, place));
}

function suite(version: RegExp, place: Place): void {
  const world = new OciWorld();
  const { directory } = world;
  let host: EngineHost | undefined;

  const words = (...args: string[]) => ['docker', '-H', `unix://${directory}/d.sock`, ...args];
  const docker = (...args: string[]): Result => host!.call(words(...args));
  const ok = (...args: string[]): string => {
    const r = docker(...args);
    assert.equal(r.code, 0, `docker ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  };
  const inspect = (name: string, format: string) => ok('inspect', name, '--format', format).trim();

  before(async () => {
    host = await place(directory);
    const config = path.join(directory, 'daemon.json');
    const runtimes = { runtimes: { nsbox: { path: NSBOX_OCI } }, 'default-runtime': 'nsbox' };
    writeFileSync(config, JSON.stringify(runtimes));
    const where = ['--data-root', `${directory}/data`, '--exec-root', `${directory}/exec`];
    const socket = ['-H', `unix://${directory}/d.sock`, '-p', `${directory}/d.pid`];
    await host.daemon(
      ['dockerd', '--config-file', config, ...where, ...socket],
      `${directory}/dockerd.log`,
      () => docker('version').code === 0,
    );
    const tar = path.join(directory, 'rootfs.tar');
    assert.equal(host.call(['tar', '-C', world.rootfs, '-cf', tar, '.']).code, 0);
    ok('import', tar, 'box');
  });
  after(async () => {
    if (host) {
      docker('swarm', 'leave', '--force');
      for (const id of docker('ps', '-aq').stdout.split('\n').filter(Boolean)) docker('rm', '-f', id);
      await host.close();
    }
    world.close();
  });

  test('docker version and info: nsbox is the default runtime', () => {
    assert.match(ok('version', '--format', '{{.Server.Version}}'), version);
    assert.equal(ok('info', '--format', '{{.DefaultRuntime}}'), 'nsbox\n');
  });

  test('docker run: output, exit codes, causes of failure', () => {
    const r = docker('run', '--rm', 'box', 'sh', '-c', 'echo hi; echo err >&2; exit 5');
    assert.deepEqual(r, { code: 5, stdout: 'hi\n', stderr: 'err\n' });
    const missing = docker('run', '--rm', 'box', 'nosuch');
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    const denied = docker('run', '--rm', 'box', '/etc');
    assert.equal(denied.code, 126);
    assert.match(denied.stderr, /permission denied|is a directory/i);
  });

  test('docker run -d, exec, top, stats, pause, logs, stop, start, kill, wait', () => {
    const script = 'trap "echo bye; exit 3" TERM; echo born; while :; do sleep 0.1; done';
    ok('run', '-d', '--name', 'life', 'box', 'sh', '-c', script);
    const flags = ['-e', 'A=b', '-w', '/tmp', '-u', '5'];
    const exec = docker('exec', ...flags, 'life', 'sh', '-c', 'echo $A $(pwd) $(id -u); exit 4');
    assert.deepEqual({ code: exec.code, stdout: exec.stdout }, { code: 4, stdout: 'b /tmp 5\n' });
    const typed = host!.call(words('exec', '-i', 'life', 'cat'), { input: 'through\n' });
    assert.equal(typed.stdout, 'through\n');
    assert.match(ok('exec', '-t', 'life', 'tty'), /^\/dev\/pts\/\d+\r\n$/);
    // 126 until Docker 24, whatever the runtime says; 127 since.
    const missing = docker('exec', 'life', 'nosuch');
    assert.ok([126, 127].includes(missing.code!), `exit code ${missing.code}`);
    assert.match(missing.stdout + missing.stderr, /executable file not found in \$PATH/);
    assert.match(ok('top', 'life'), /sh -c trap/);
    const figures = '{{.MemUsage}}|{{.PIDs}}|{{.CPUPerc}}';
    const [memory, processes, cpu] = ok('stats', '--no-stream', '--format', figures, 'life')
      .trim()
      .split('|');
    assert.match(memory!, /^[1-9][\d.]*[KM]iB \/ /);
    assert.ok(
      Number.parseFloat(cpu!) < 50,
      `a shell that mostly sleeps has ${cpu}: figures of the container alone`,
    );
    assert.ok(Number(processes) >= 1, `${processes} processes`);
    ok('pause', 'life');
    assert.equal(inspect('life', '{{.State.Status}}'), 'paused');
    ok('unpause', 'life');
    ok('stop', 'life');
    assert.equal(inspect('life', '{{.State.ExitCode}} {{.HostConfig.Runtime}}'), '3 nsbox');
    assert.equal(ok('logs', 'life'), 'born\nbye\n');
    ok('start', 'life');
    ok('kill', 'life');
    assert.equal(ok('wait', 'life'), '137\n');
    assert.match(ok('logs', 'life'), /^born\nbye\nborn\n/);
    ok('rm', 'life');
  });

  test('docker update and limits, of what runs', () => {
    const limits = ['-m', '64m', '--pids-limit', '20', '--cpus', '0.5'];
    ok('run', '-d', '--name', 'small', ...limits, 'box', 'sleep', '1000');
    assert.equal(ok('exec', 'small', 'sh', '-c', LIMIT), `${64 << 20}\n`);
    ok('update', '-m', '96m', '--memory-swap', '192m', 'small');
    assert.equal(ok('exec', 'small', 'sh', '-c', LIMIT), `${96 << 20}\n`);
    const pids = 'cat $(ls /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null)';
    assert.equal(ok('exec', 'small', 'sh', '-c', pids), '20\n');
    ok('rm', '-f', 'small');
  });

  test('docker cp both ways, diff, commit, export', () => {
    ok('run', '-d', '--name', 'files', 'box', 'sh', '-c', 'echo inside > /made; sleep 1000');
    const file = path.join(directory, 'sent');
    writeFileSync(file, 'from the host\n');
    ok('cp', file, 'files:/data/sent');
    assert.equal(ok('exec', 'files', 'cat', '/data/sent'), 'from the host\n');
    ok('cp', 'files:/made', path.join(directory, 'made'));
    assert.equal(readFileSync(path.join(directory, 'made'), 'utf8'), 'inside\n');
    assert.match(ok('diff', 'files'), /^A \/made$/m);
    ok('commit', 'files', 'box:2');
    assert.equal(ok('run', '--rm', 'box:2', 'cat', '/made', '/data/sent'), 'inside\nfrom the host\n');
    ok('rm', '-f', 'files');
  });

  test('images go both ways: docker save, nsbox load; nsbox save, docker load', async () => {
    await using rig = new CliRig('docker-images');
    const file = (name: string) => path.join(directory, name);
    ok(
      'run',
      '--name',
      'layer',
      'box',
      'sh',
      '-c',
      'printf "#!/bin/sh\\necho it runs\\n" >/hi; chmod 755 /hi',
    );
    ok('commit', '-c', 'CMD ["/hi"]', 'layer', 'made:1');
    ok('rm', 'layer');
    ok('tag', 'box', 'second:2');
    ok('save', '-o', file('saved.tar'), 'made:1', 'second:2', 'box:latest');
    const names = host!.call(['tar', '-tf', file('saved.tar')]).stdout.split('\n');
    assert.ok(names.includes('manifest.json'));
    // Docker 25 and later: an OCI layout with an entry for each image, and Docker's manifest beside it.
    const version = Number.parseInt(ok('version', '--format', '{{.Server.Version}}'), 10);
    assert.equal(names.includes('index.json'), version >= 25);
    const loaded = await rig.ok('load', '-i', file('saved.tar'));
    const lines = ['made:1', 'second:2', 'box:latest'].map((name) => `Loaded image: ${name}`);
    assert.deepEqual(loaded.split('\n').sort(), lines.sort());
    assert.equal(await rig.ok('run', '--rm', '--network', 'none', 'made:1'), 'it runs');
    const id = await rig.ok('image', 'inspect', '--format', '{{.Id}}', 'made:1');
    assert.equal(id, inspect('made:1', '{{.Id}}'));

    await rig.ok('save', '-o', file('ours.tar'), 'made:1', 'second:2');
    ok('rmi', 'made:1', 'second:2');
    ok('load', '-i', file('ours.tar'));
    assert.equal(inspect('made:1', '{{.Id}}'), id);
    assert.equal(inspect('second:2', '{{.Id}}'), inspect('box', '{{.Id}}'));
    assert.equal(ok('run', '--rm', 'made:1'), 'it runs\n');
    ok('rmi', 'made:1', 'second:2');
  });

  test('a terminal: docker run -t, and -it with what is typed', () => {
    const script = 'tty; cat /proc/1/comm';
    const r = docker('run', '--rm', '-t', '--init', 'box', 'sh', '-c', script);
    assert.equal(r.stdout, '/dev/pts/0\r\ndocker-init\r\n', r.stderr);
    const line = `stty rows 31 cols 97; ${words('run', '--rm', '-it', 'box', 'sh').join(' ')}`;
    const typed = host!.call(['script', '-qec', line, '/dev/null'], {
      input: 'stty size\necho $((6 * 7))\nexit 6\n',
    });
    assert.equal(typed.code, 6, typed.stdout + typed.stderr);
    assert.match(typed.stdout, /\n42\r?\n/);
  });

  test('volumes, read-only, user, capabilities, a health check', async () => {
    ok('run', '--rm', '-v', 'keep:/data', 'box', 'sh', '-c', 'echo kept > /data/f');
    const flags = ['-v', 'keep:/data:ro', '--read-only', '--tmpfs', '/scratch', '-u', '7:8'];
    const caps = ['--cap-drop', 'all', '--security-opt', 'no-new-privileges'];
    const script =
      'cat /data/f; touch /x 2>/dev/null || echo ro; id -u; id -g; grep -E "CapBnd|NoNew" /proc/self/status';
    const r = docker('run', '--rm', ...flags, ...caps, 'box', 'sh', '-c', script);
    assert.equal(r.stdout, 'kept\nro\n7\n8\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n', r.stderr);
    const health = ['--health-cmd', 'test -e /bin/sh', '--health-interval', '1s'];
    ok('run', '-d', '--name', 'healthy', ...health, 'box', 'sleep', '1000');
    const status = () => inspect('healthy', '{{.State.Health.Status}}');
    await eventually(() => status() === 'healthy', status);
    ok('rm', '-f', 'healthy');
  });

  test('a network: containers find each other by name, a port is published', async () => {
    ok('network', 'create', 'mesh');
    const serve = 'while :; do echo served | busybox nc -l -p 80; done';
    const flags = ['--network', 'mesh', '-p', '127.0.0.1:8085:80'];
    ok('run', '-d', '--name', 'web', ...flags, 'box', 'sh', '-c', serve);
    const ask = (...at: string[]) => `busybox nc ${at.join(' ')} </dev/null`;
    let answer = '';
    const inside = () => {
      answer = docker('run', '--rm', '--network', 'mesh', 'box', 'sh', '-c', ask('web', '80')).stdout;
      return answer === 'served\n';
    };
    await eventually(inside, () => `the name web answers "${answer}"`);
    const outside = () => {
      answer = host!.call(
        ['timeout', '5', path.join(world.rootfs, 'bin/busybox'), 'nc', '127.0.0.1', '8085'],
        {
          input: '',
        },
      ).stdout;
      return answer === 'served\n';
    };
    await eventually(outside, () => `the published port answers "${answer}"`);
    ok('rm', '-f', 'web');
    ok('network', 'rm', 'mesh');
  });

  test('docker restart policies start it again', async () => {
    ok('run', '-d', '--name', 'again', '--restart', 'on-failure:2', 'box', 'sh', '-c', 'echo try; exit 1');
    const state = () => inspect('again', '{{.RestartCount}} {{.State.Status}}');
    await eventually(() => state() === '2 exited', state);
    assert.equal(ok('logs', 'again'), 'try\ntry\ntry\n');
    ok('rm', 'again');
  });

  test('docker swarm: a service of three replicas, with nsbox as the default runtime', async () => {
    ok('swarm', 'init', '--advertise-addr', '127.0.0.1');
    ok('service', 'create', '--detach', '--name', 'three', '--replicas', '3', 'box', 'sleep', '1000');
    const replicas = () => ok('service', 'ls', '--format', '{{.Replicas}}').trim();
    await eventually(() => replicas() === '3/3', replicas);
    const ids = ok('ps', '-q', '--filter', 'name=three').trim().split('\n');
    assert.equal(ids.length, 3);
    for (const id of ids)
      assert.equal(inspect(id, '{{.HostConfig.Runtime}} {{.State.Status}}'), 'nsbox running');
    ok('rm', '-f', ids[0]!);
    await eventually(
      () => ok('ps', '-q', '--filter', 'name=three').trim().split('\n').length === 3,
      replicas,
    );
    ok('service', 'rm', 'three');
  });
}
