import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import type { Spec } from '../../src/spec/index.js';
import { OciWorld } from '../support/oci-bundle.js';

const world = new OciWorld();
after(() => world.close());

const args =
  (...a: string[]) =>
  (spec: Spec) => {
    spec.process!.args = a;
  };
const shell = (script: string) => args('sh', '-c', script);

/** Directories of cgroups that belong to a container of this test. */
function leftGroups(id: string): string[] {
  const found: string[] = [];
  for (const mount of [
    '/sys/fs/cgroup',
    ...readdirSync('/sys/fs/cgroup').map((d) => `/sys/fs/cgroup/${d}`),
  ]) {
    if (existsSync(`${mount}/nsbox-oci/${id}`)) found.push(`${mount}/nsbox-oci/${id}`);
  }
  return found;
}

test('create, state, start, exec, ps, pause, resume, kill, delete', async () => {
  const id = world.id();
  const pidFile = path.join(world.directory, 'pid');
  const bundle = world.bundle((s) => {
    shell('trap "exit 5" TERM; echo up; while :; do sleep 0.05; done')(s);
    s.annotations = { 'org.example': 'yes' };
  });
  assert.deepEqual(world.create(id, bundle, '--pid-file', pidFile), { code: 0, stdout: '', stderr: '' });
  const state = world.state(id)!;
  assert.deepEqual(Object.keys(state), [
    'ociVersion',
    'id',
    'pid',
    'status',
    'bundle',
    'rootfs',
    'created',
    'annotations',
    'owner',
  ]);
  assert.equal(state['status'], 'created');
  assert.equal(state['owner'], 'root');
  assert.equal(readFileSync(pidFile, 'utf8'), String(state['pid']));
  assert.ok(Math.abs(Date.parse(String(state['created'])) - Date.now()) < 20_000);
  assert.equal(world.call(['start', id]).code, 0);
  await world.until(() => world.output(id).stdout === 'up\n');
  assert.equal(world.state(id)?.['status'], 'running');
  assert.match(world.call(['start', id]).stderr, /cannot start an already running container/);

  const exec = world.call(['exec', id, 'sh', '-c', 'echo $$; cat /proc/1/comm; exit 9']);
  assert.equal(exec.code, 9);
  assert.match(exec.stdout, /^\d+\nsh\n$/);
  const pids = JSON.parse(world.call(['ps', '--format', 'json', id]).stdout) as number[];
  assert.ok(pids.includes(Number(state['pid'])));
  assert.match(world.call(['ps', id]).stdout, /^UID .*\n.*trap/);
  assert.equal(world.call(['list', '-q']).stdout, `${id}\n`);
  assert.equal((JSON.parse(world.call(['list', '-f', 'json']).stdout) as { id: string }[])[0]?.id, id);

  assert.equal(world.call(['pause', id]).code, 0);
  assert.equal(world.state(id)?.['status'], 'paused');
  assert.match(world.call(['exec', id, 'true']).stderr, /cannot exec in a paused container/);
  assert.equal(world.call(['resume', id]).code, 0);
  assert.match(world.call(['resume', id]).stderr, /not paused/);

  assert.match(world.call(['delete', id]).stderr, /cannot delete container .* that is not stopped: running/);
  assert.equal(world.call(['kill', id, 'TERM']).code, 0);
  await world.until(() => world.state(id)?.['status'] === 'stopped');
  assert.equal(world.state(id)?.['pid'], 0);
  assert.match(world.call(['kill', id]).stderr, /container not running/);
  assert.match(world.call(['start', id]).stderr, /cannot start a container that has stopped/);
  assert.match(world.call(['exec', id, 'true']).stderr, /cannot exec in a stopped container/);
  assert.equal(world.call(['delete', id]).code, 0);
  assert.match(world.call(['state', id]).stderr, /does not exist/);
  assert.match(world.call(['delete', id]).stderr, /does not exist/);
  assert.equal(world.call(['delete', '--force', id]).code, 0);
  assert.deepEqual(leftGroups(id), []);
});

test("run waits, gives the program's exit code, and leaves nothing", () => {
  const id = world.id();
  const bundle = world.bundle(shell('echo out; echo err >&2; read line; echo "$line"; exit 3'));
  const r = world.call(['run', '--bundle', bundle, id], { input: 'typed\n' });
  assert.deepEqual(r, { code: 3, stdout: 'out\ntyped\n', stderr: 'err\n' });
  assert.equal(world.state(id), undefined);
  assert.deepEqual(leftGroups(id), []);
  const kept = world.id();
  assert.equal(world.call(['run', '--keep', '-b', world.bundle(args('true')), kept]).code, 0);
  assert.equal(world.state(kept)?.['status'], 'stopped');
});

test('a program that is not there is told at create, in words that engines look for', () => {
  const cases: [string, RegExp][] = [
    ['nosuch', /executable file not found in \$PATH/],
    ['/bin/nosuch', /no such file or directory/],
    ['/etc', /permission denied/],
    ['/etc/passwd', /permission denied/],
  ];
  for (const [program, says] of cases) {
    const id = world.id();
    const r = world.create(id, world.bundle(args(program)));
    assert.equal(r.code, 1);
    assert.match(r.stderr, says);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
    assert.equal(world.state(id), undefined, 'nothing is left of it');
    assert.deepEqual(leftGroups(id), []);
  }
  const id = world.id();
  writeFileSync(path.join(world.rootfs, 'bin/script'), '#!/nosuch\n', { mode: 0o755 });
  assert.equal(world.create(id, world.bundle(args('/bin/script'))).code, 0);
  const started = world.call(['start', id]);
  assert.equal(started.code, 1);
  assert.match(started.stderr, /no such file or directory: its interpreter \/nosuch/);
});

test('exec: failures are 255, the container is as the flags say', () => {
  const id = world.id();
  world.create(id, world.bundle());
  world.call(['start', id]);
  assert.equal(world.call(['exec', id]).code, 255);
  assert.equal(world.call(['exec', id, 'nosuch']).code, 255);
  assert.match(world.call(['exec', id, 'nosuch']).stderr, /executable file not found in \$PATH/);
  assert.equal(world.call(['exec', id, 'sh', '-c', 'exit 127']).code, 127);
  assert.equal(world.call(['exec', id, 'sh', '-c', 'kill -9 $$']).code, 137);
  const r = world.call([
    'exec',
    '-e',
    'A=b',
    '--cwd',
    '/tmp',
    '-u',
    '5:6',
    '-g',
    '7',
    '-c',
    'CAP_SYS_ADMIN',
    id,
    'sh',
    '-c',
    'echo $A $(pwd) $(id); grep CapBnd /proc/self/status',
  ]);
  assert.match(r.stdout, /^b \/tmp uid=5 gid=6 groups=6?,?7?.*\n/);
  assert.match(r.stdout, /CapBnd:\s+0000000020200420/);
  const spec = path.join(world.directory, 'process.json');
  writeFileSync(
    spec,
    JSON.stringify({
      cwd: '/data',
      args: ['sh', '-c', 'pwd; id -u'],
      user: { uid: 3, gid: 3 },
      env: ['PATH=/bin'],
    }),
  );
  assert.equal(world.call(['exec', '-p', spec, id]).stdout, '/data\n3\n');
  const pidFile = path.join(world.directory, 'exec.pid');
  assert.equal(world.call(['exec', '-d', '--pid-file', pidFile, id, 'sleep', '0.01']).code, 0);
  assert.match(readFileSync(pidFile, 'utf8'), /^\d+$/);
  assert.equal(world.call(['exec', id, 'cat'], { input: 'through stdin' }).stdout, 'through stdin');
});

test('the state of hooks: order, namespaces, stdin, and failures', async () => {
  const log = path.join(world.directory, 'hooks.log');
  writeFileSync(log, '');
  const hook = (name: string) => ({
    path: '/bin/sh',
    args: ['sh', '-c', `echo ${name} $(cat | tr -d '\\n') ns=$(readlink /proc/self/ns/uts) >> ${log}`],
    env: ['PATH=/usr/bin:/bin'],
  });
  const id = world.id();
  const bundle = world.bundle((s) => {
    s.process!.args = ['true'];
    s.hooks = {
      prestart: [hook('prestart')],
      createRuntime: [hook('createRuntime1'), hook('createRuntime2')],
      createContainer: [hook('createContainer')],
      startContainer: [
        { path: '/bin/sh', args: ['sh', '-c', 'cat > /data/startContainer'], env: ['PATH=/bin'] },
      ],
      poststart: [hook('poststart')],
      poststop: [{ path: '/bin/false' }, hook('poststop')],
    };
  });
  assert.equal(world.create(id, bundle).code, 0);
  assert.equal(world.call(['start', id]).code, 0);
  await world.until(() => world.state(id)?.['status'] === 'stopped');
  const deleted = world.call(['delete', id]);
  assert.equal(deleted.code, 0, 'a failing poststop hook is a warning');
  assert.match(deleted.stderr, /poststop hook/);
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  assert.deepEqual(
    lines.map((l) => l.split(' ')[0]),
    ['prestart', 'createRuntime1', 'createRuntime2', 'createContainer', 'poststart', 'poststop'],
  );
  const states = lines.map((l) => JSON.parse(/\{.*\}/.exec(l)![0]) as Record<string, unknown>);
  for (const s of states) assert.equal(s['id'], id);
  assert.deepEqual(
    states.map((s) => s['status']),
    ['creating', 'creating', 'creating', 'creating', 'running', 'stopped'],
  );
  const here = readlinkSync('/proc/self/ns/uts');
  assert.deepEqual(
    lines.map((l) => l.endsWith(`ns=${here}`)),
    [true, true, true, false, true, true],
  );
  assert.equal(
    (JSON.parse(readFileSync(path.join(world.rootfs, 'data/startContainer'), 'utf8')) as { pid: number }).pid,
    1,
  );
});

test('a failing hook stops the container; a slow one is killed', async () => {
  for (const kind of ['prestart', 'createRuntime', 'createContainer'] as const) {
    const id = world.id();
    const marker = path.join(world.directory, `poststop-${kind}`);
    const r = world.create(
      id,
      world.bundle((s) => {
        s.hooks = {
          [kind]: [{ path: '/bin/sh', args: ['sh', '-c', 'echo why >&2; exit 4'] }],
          poststop: [{ path: '/bin/touch', args: ['touch', marker] }],
        };
      }),
    );
    assert.equal(r.code, 1, kind);
    assert.match(r.stderr, /hook/);
    assert.equal(world.state(id), undefined);
    assert.ok(existsSync(marker), `${kind}: poststop hooks run all the same`);
    assert.deepEqual(leftGroups(id), []);
  }
  const id = world.id();
  const begin = Date.now();
  const r = world.create(
    id,
    world.bundle((s) => {
      s.hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '60'], timeout: 1 }] };
    }),
  );
  assert.equal(r.code, 1);
  assert.match(r.stderr, /still running after 1 s/);
  assert.ok(Date.now() - begin < 10_000);
});

test('what leads outside is refused', () => {
  for (const id of ['../x', 'a/b', '', '.', '..', 'a b', 'ü']) {
    const r = world.call(['create', '--bundle', world.bundle(), id]);
    assert.equal(r.code, 1, JSON.stringify(id));
    assert.match(r.stderr, /invalid container ID format/);
  }
  const id = world.id();
  assert.match(
    world.create(
      id,
      world.bundle((s) => {
        s.linux!.cgroupsPath = '/../../x';
      }),
    ).stderr,
    /leads out of the cgroup tree/,
  );
  assert.match(
    world.create(
      id,
      world.bundle((s) => {
        s.linux!.sysctl = { 'vm.swappiness': '1' };
      }),
    ).stderr,
    /sysctl "vm.swappiness" is not allowed/,
  );
  // Links inside the root filesystem that point outside of it stay inside.
  symlinkSync('/../../../../../../tmp', path.join(world.rootfs, 'data/escape'));
  const target = `nsbox-escape-${process.pid}`;
  const r = world.call([
    'run',
    '-b',
    world.bundle((s) => {
      s.process!.args = ['ls', '/tmp'];
      s.mounts!.push({ destination: `/data/escape/${target}`, type: 'tmpfs', source: 'tmpfs' });
    }),
    world.id(),
  ]);
  assert.equal(existsSync(`/tmp/${target}`), false);
  assert.match(r.stdout, new RegExp(target));
});

test('an id in use is refused, and of ten created at once with one id one wins', async () => {
  const id = world.id();
  const bundle = world.bundle();
  const codes = await Promise.all(
    Array.from(
      { length: 10 },
      () =>
        new Promise<number | null>((resolve) => {
          spawn(world.runtime, ['--root', world.root, 'create', '-b', bundle, id], { stdio: 'ignore' }).on(
            'exit',
            resolve,
          );
        }),
    ),
  );
  assert.equal(codes.filter((c) => c === 0).length, 1);
  assert.equal(world.state(id)?.['status'], 'created');
  assert.match(world.call(['create', '-b', bundle, id]).stderr, /already exists/);
});

test('errors go to the log as one JSON line', () => {
  const log = path.join(world.directory, 'log.json');
  const r = world.call(['--log', log, '--log-format', 'json', 'start', 'nosuch']);
  assert.equal(r.code, 1);
  const [line, ...more] = readFileSync(log, 'utf8').trim().split('\n');
  assert.deepEqual(more, []);
  const entry = JSON.parse(line!) as Record<string, string>;
  assert.deepEqual(Object.keys(entry), ['level', 'msg', 'time']);
  assert.equal(entry['level'], 'error');
  assert.match(entry['msg']!, /does not exist/);
  assert.match(entry['time']!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test('a bundle that is wrong: path, expected type, and an unknown field', () => {
  const id = world.id();
  const bad = world.create(
    id,
    world.bundle((s) => {
      (s.process as { cwd: unknown }).cwd = 7;
    }),
  );
  assert.match(bad.stderr, /config\.json: process\.cwd: expected a string, received 7 \(number\)/);
  assert.match(
    world.create(
      id,
      world.bundle(() => '{'),
    ).stderr,
    /not valid JSON/,
  );
  assert.match(world.create(id, '/nosuch').stderr, /no such file or directory/);
  mkdirSync(path.join(world.directory, 'empty'));
  assert.match(world.create(id, path.join(world.directory, 'empty')).stderr, /config\.json not found/);
  const odd = world.call([
    'run',
    '-b',
    world.bundle((s) => {
      shell('echo fine')(s);
      (s.linux as Record<string, unknown>)['shiny'] = 1;
    }),
    world.id(),
  ]);
  assert.equal(odd.stdout, 'fine\n');
  assert.match(odd.stderr, /unknown fields are ignored: linux\.shiny/);
});

test('spec makes a bundle that runs', () => {
  const directory = path.join(world.directory, 'made');
  mkdirSync(directory);
  symlinkSync(world.rootfs, path.join(directory, 'rootfs'));
  assert.equal(world.call(['spec', '--bundle', directory]).code, 0);
  assert.match(world.call(['spec', '-b', directory]).stderr, /exists/);
  const file = path.join(directory, 'config.json');
  const spec = JSON.parse(readFileSync(file, 'utf8')) as Spec;
  spec.process!.terminal = false;
  spec.process!.args = ['/bin/echo', 'made'];
  writeFileSync(file, JSON.stringify(spec));
  assert.equal(world.call(['run', '-b', directory, world.id()]).stdout, 'made\n');
});

test('update changes limits, events shows figures', () => {
  const id = world.id();
  world.create(
    id,
    world.bundle((s) => {
      s.linux!.resources!.pids = { limit: 50 };
    }),
  );
  world.call(['start', id]);
  assert.equal(world.call(['update', '--pids-limit', '20', id]).code, 0);
  const updated = world.call(['update', '-r', '-', id], { input: '{"memory":{"limit":67108864}}' });
  assert.equal(updated.code, 0, updated.stderr);
  const stats = JSON.parse(world.call(['events', '--stats', id]).stdout) as {
    type: string;
    data: { pids: { limit: number }; memory: { usage: { limit: number } } };
  };
  assert.equal(stats.type, 'stats');
  assert.equal(stats.data.pids.limit, 20);
  assert.equal(stats.data.memory.usage.limit, 67108864);
});

test('seccomp: the listener gets the notify fd and the state, with the host pid', {
  skip: existsSync('/usr/bin/python3') ? false : 'python3 is not installed',
}, async () => {
  const socket = path.join(world.directory, 'notify.sock');
  const script = `
import socket, json
s = socket.socket(socket.AF_UNIX); s.bind('${socket}'); s.listen(1); print('ready', flush=True)
c, _ = s.accept(); data, fds, _, _ = socket.recv_fds(c, 65536, 4)
print(json.dumps({'fds': len(fds), 'state': json.loads(data)}), flush=True)`;
  const listener = spawn('/usr/bin/python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  listener.stdout.on('data', (d: Buffer) => {
    said += d.toString();
  });
  await world.until(() => said.includes('ready'), 'the listener');
  const id = world.id();
  world.create(
    id,
    world.bundle((s) => {
      s.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        listenerPath: socket,
        listenerMetadata: 'meta',
        syscalls: [{ names: ['swapon'], action: 'SCMP_ACT_NOTIFY' }],
      };
    }),
  );
  const { pid } = world.state(id) as { pid: number };
  assert.equal(world.call(['start', id]).code, 0);
  await world.until(() => said.includes('}'), 'the listener');
  const message = JSON.parse(said.split('\n')[1]!) as { fds: number; state: Record<string, unknown> };
  assert.equal(message.fds, 1);
  assert.deepEqual(message.state['fds'], ['seccompFd']);
  assert.equal(message.state['pid'], pid);
  assert.equal(message.state['metadata'], 'meta');
  assert.equal((message.state['state'] as { id: string; pid: number }).pid, pid);
});

test('network devices move into the container with their addresses', () => {
  const name = `nsd${process.pid % 100000}`;
  const ip = (...a: string[]) => spawnSync('ip', a, { encoding: 'utf8' });
  assert.equal(ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`).status, 0);
  try {
    ip('address', 'add', '10.99.1.2/24', 'dev', name);
    const run = (devices: object) =>
      world.call([
        'run',
        '-b',
        world.bundle((s) => {
          shell('ip -o address show dev inside; ip -o link show inside')(s);
          s.linux!.netDevices = devices as NonNullable<NonNullable<Spec['linux']>['netDevices']>;
        }),
        world.id(),
      ]);
    assert.match(run({ nosuch0: {} }).stderr, /no such network device on the host: nosuch0/);
    assert.match(run({ [name]: { name: 'lo' } }).stderr, /has a network device lo already/);
    assert.match(run({ [name]: { name: 'a/b' } }).stderr, /invalid network device name "a\/b"/);
    const r = run({ [name]: { name: 'inside' } });
    assert.match(r.stdout, /inet 10\.99\.1\.2\/24/, r.stderr);
    assert.match(r.stdout, /[<,]UP[,>]/);
  } finally {
    ip('link', 'delete', name);
  }
});

test('a terminal in the foreground: output to the last byte, its size, the exit code', {
  skip: existsSync('/usr/bin/script') ? false : 'script is not installed',
}, () => {
  const id = world.id();
  world.create(id, world.bundle());
  world.call(['start', id]);
  const command = `stty rows 33 cols 77; ${world.runtime} --root ${world.root} exec -t ${id} sh -c "tty; stty size; exit 6"`;
  const r = spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', timeout: 60_000 });
  // script(1) echoes the end of its input as ^@, at any place.
  assert.match(r.stdout.replaceAll('^@', ''), /^\/dev\/pts\/0\r+\n33 77\r+\n/);
  assert.equal(r.status, 6);
});

test('run: a signal that comes before the program runs is the program’s', async () => {
  const hooked = path.join(world.directory, 'hooked');
  const release = path.join(world.directory, 'release');
  const id = world.id();
  const bundle = world.bundle((s) => {
    args('sleep', '1000')(s);
    // The first process of a pid namespace ignores what it has no handler for.
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'pid');
    const wait = `touch ${hooked}; while ! [ -e ${release} ]; do sleep 0.05; done`;
    s.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', wait] }] };
  });
  const child = spawn(world.runtime, ['--root', world.root, 'run', '-b', bundle, id], { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  await world.until(() => existsSync(hooked), 'the hook');
  child.kill('SIGTERM');
  writeFileSync(release, '');
  assert.equal(await ended, 128 + 15);
  assert.equal(world.state(id), undefined);
  assert.deepEqual(leftGroups(id), []);
});
