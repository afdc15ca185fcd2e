import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parseFeatures, type Spec } from '../../src/spec/index.js';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

const world = new OciWorld();
const running = world.id();
before(() => {
  const bundle = world.bundle((s) => {
    s.process!.noNewPrivileges = false;
  });
  assert.equal(world.create(running, bundle).code, 0);
  assert.equal(world.call(['start', running]).code, 0);
});
after(() => world.close());

const shell = (script: string, more: (s: Spec) => void = () => {}) =>
  world.bundle((s) => {
    s.process!.args = ['sh', '-c', script];
    more(s);
  });

/** Host pids of the processes that run with exactly these arguments. */
function pidsOf(...argv: string[]): number[] {
  const wanted = `${argv.join('\0')}\0`;
  return readdirSync('/proc')
    .filter((d) => /^\d+$/.test(d))
    .filter((d) => {
      try {
        return readFileSync(`/proc/${d}/cmdline`, 'utf8') === wanted;
      } catch {
        return false;
      }
    })
    .map(Number);
}

const python = existsSync('/usr/bin/python3') ? false : 'python3 is not installed';

/** Listens at a socket, receives one fd, and says in JSON what `look` (Python, over `fd` and `data`) makes of it. */
async function receiver(look: string): Promise<{ socket: string; said: Promise<unknown> }> {
  const socket = path.join(world.directory, `s${Math.random().toString(36).slice(2)}.sock`);
  const script = `
import socket, json, os, select
s = socket.socket(socket.AF_UNIX); s.bind('${socket}'); s.listen(1); print('ready', flush=True)
c, _ = s.accept(); data, fds, _, _ = socket.recv_fds(c, 4096, 4); fd = fds[0]
${look}`;
  const child = spawn('/usr/bin/python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (d: Buffer) => {
    text += d.toString();
  });
  const said = new Promise<unknown>((resolve, reject) => {
    child.on('close', (code) => {
      const line = text.split('\n')[1];
      if (code === 0 && line) resolve(JSON.parse(line));
      else reject(new Error(`the receiver ended with ${code}: ${text}`));
    });
  });
  await world.until(() => text.includes('ready'), 'the receiver');
  return { socket, said };
}

/** The number behind a pidfd, and whether its process ends. */
const PIDFD = `
pid = [l.split()[1] for l in open('/proc/self/fdinfo/%d' % fd) if l.startswith('Pid:')][0]
print(json.dumps({'pid': int(pid), 'count': len(fds)}), flush=True)`;

/** All that comes out of a terminal until its other side closes. */
const TERMINAL = `
out = b''
while True:
  try: part = os.read(fd, 4096)
  except OSError: break
  if not part: break
  out += part
print(json.dumps({'tty': os.isatty(fd), 'out': out.decode()}), flush=True)`;

test('--pidfd-socket: create, run and exec hand over a pidfd of their process', {
  skip: python,
}, async () => {
  const id = world.id();
  let r = await receiver(PIDFD);
  assert.equal(world.create(id, world.bundle(), '--pidfd-socket', r.socket).code, 0);
  assert.deepEqual(await r.said, { pid: world.state(id)!['pid'], count: 1 });

  r = await receiver(PIDFD);
  const pidFile = path.join(world.directory, 'pidfd.pid');
  const run = world.call([
    'run',
    '--pidfd-socket',
    r.socket,
    '--pid-file',
    pidFile,
    '-b',
    shell('exit 3'),
    world.id(),
  ]);
  assert.equal(run.code, 3, run.stderr);
  // A program this short may be gone by now: -1.
  const told = (await r.said) as { pid: number; count: number };
  assert.equal(told.count, 1);
  assert.ok([-1, Number(readFileSync(pidFile, 'utf8'))].includes(told.pid), String(told.pid));

  r = await receiver(PIDFD);
  // Its output is this test's pipe, which would be waited on.
  const script = 'exec sleep 1000 >/dev/null 2>&1';
  const args = ['exec', '-d', '--pidfd-socket', r.socket, '--pid-file', pidFile, running, 'sh', '-c', script];
  assert.equal(world.call(args).code, 0);
  const pid = Number(readFileSync(pidFile, 'utf8'));
  assert.deepEqual(await r.said, { pid, count: 1 });
  process.kill(pid, 'SIGKILL');
});

test('--console-socket: create, run -d and exec -d hand over the terminal of their process', {
  skip: python,
}, async () => {
  const script = 'tty; [ -t 0 ] && [ -t 2 ] && echo all';
  const expected = { tty: true, out: '/dev/pts/0\r\nall\r\n' };
  const bundle = shell(script, (s) => {
    s.process!.terminal = true;
  });
  const id = world.id();
  let r = await receiver(TERMINAL);
  assert.equal(world.create(id, bundle, '--console-socket', r.socket).code, 0);
  assert.equal(world.call(['start', id]).code, 0);
  assert.deepEqual(await r.said, expected);

  r = await receiver(TERMINAL);
  const detached = world.call(['run', '-d', '--console-socket', r.socket, '-b', bundle, world.id()]);
  assert.deepEqual(detached, { code: 0, stdout: '', stderr: '' });
  assert.deepEqual(await r.said, expected);

  r = await receiver(TERMINAL);
  const args = ['exec', '-d', '-t', '--console-socket', r.socket, running, 'sh', '-c', script];
  assert.deepEqual(world.call(args), { code: 0, stdout: '', stderr: '' });
  assert.deepEqual(await r.said, expected);
});

test('a console socket that has no use, or nobody behind it, is refused in one line', () => {
  const tty = world.bundle((s) => {
    s.process!.terminal = true;
  });
  const useless = /cannot use console socket if runc will not detach or allocate tty/;
  const needed = /cannot allocate tty if runc will detach without setting console socket/;
  const closed = path.join(world.directory, 'nobody.sock');
  const cases: [string[], RegExp][] = [
    [['exec', '--console-socket', closed, running, 'true'], useless],
    [['exec', '-t', '--console-socket', closed, running, 'true'], useless],
    [['exec', '-d', '--console-socket', closed, running, 'true'], useless],
    [['exec', '-d', '-t', running, 'true'], needed],
    [
      ['exec', '-d', '-t', '--console-socket', closed, running, 'true'],
      /console socket .*nobody\.sock: no such file/,
    ],
    [['create', '--console-socket', closed, '-b', world.bundle(), world.id()], useless],
    [['run', '--console-socket', closed, '-b', tty, world.id()], useless],
    [['run', '-d', '-b', tty, world.id()], needed],
    [
      ['run', '-d', '--console-socket', closed, '-b', tty, world.id()],
      /console socket .*nobody\.sock: no such file/,
    ],
  ];
  for (const [args, says] of cases) {
    const r = world.call(args);
    assert.equal(r.code, args[0] === 'exec' ? 255 : 1, args.join(' '));
    assert.match(r.stderr, says);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
  }
  assert.equal(world.call(['list', '-q']).stdout.includes(path.basename(world.directory)), true);
  for (const [args] of cases.slice(5)) assert.equal(world.state(args.at(-1)!), undefined);
});

test('a pid file or pidfd socket that cannot be served: an error, and the process does not stay', async () => {
  const length = String(100_000 + process.pid);
  for (const flag of ['--pid-file', '--pidfd-socket']) {
    const missing = path.join(world.directory, 'nowhere/x');
    for (const more of [[], ['-d']]) {
      const r = world.call(['exec', ...more, flag, missing, running, 'sleep', length]);
      assert.equal(r.code, 255, flag);
      assert.match(r.stderr, /nowhere\/x.*no such file or directory/);
      assert.doesNotMatch(r.stderr, /internal error/);
    }
    const id = world.id();
    const bundle = world.bundle((s) => {
      s.process!.args = ['sleep', length];
    });
    const groupless = ['--cgroup-manager', 'disabled', 'run', '-d', flag, missing, '-b', bundle, id];
    assert.equal(world.call(groupless).code, 1);
    assert.equal(world.state(id), undefined);
  }
  await world.until(() => pidsOf('sleep', length).length === 0, 'the end of what was started');
});

test('--no-subreaper: create and run take it; the container is as without it', async () => {
  const id = world.id();
  // Started in the host's pid namespace, orphans go to whoever called; either way none of them outlives the container.
  const length = String(200_000 + process.pid);
  const bundle = shell(`sleep ${length} & exit 4`, (s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'pid');
  });
  for (const flags of [['--no-subreaper'], []]) {
    assert.deepEqual(world.call(['run', ...flags, '-b', bundle, id]), { code: 4, stdout: '', stderr: '' });
    await world.until(() => pidsOf('sleep', length).length === 0, 'the end of the orphan');
  }
});

test('exec --ignore-paused: begins in the paused container, and goes on with it', async () => {
  const id = world.id();
  assert.equal(world.create(id, world.bundle()).code, 0);
  assert.equal(world.call(['start', id]).code, 0);
  assert.equal(world.call(['pause', id]).code, 0);
  assert.equal(world.call(['exec', id, 'true']).code, 255);
  const child = spawn(
    NSBOX_OCI,
    ['--root', world.root, 'exec', '--ignore-paused', id, 'sh', '-c', 'echo on; exit 7'],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let out = '';
  child.stdout.on('data', (d: Buffer) => {
    out += d.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const pids = () => JSON.parse(world.call(['ps', '-f', 'json', id]).stdout) as number[];
  await world.until(() => pids().length === 2, 'the second process');
  assert.equal(world.state(id)?.['status'], 'paused');
  assert.equal(out, '');
  assert.equal(world.call(['resume', id]).code, 0);
  assert.equal(await ended, 7);
  assert.equal(out, 'on\n');
  assert.equal(world.call(['delete', '--force', id]).code, 0);
});

test('exec --additional-gids, --no-new-privs and --cap: what /proc/self/status shows', () => {
  const status = (...flags: string[]) => {
    const r = world.call(['exec', ...flags, running, 'cat', '/proc/self/status']);
    assert.equal(r.code, 0, r.stderr);
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(r.stdout)![1];
    return { field, stderr: r.stderr };
  };
  assert.equal(status('--additional-gids', '44', '-g', '55').field('Groups'), '44 55');
  assert.equal(status().field('Groups'), '');
  for (const bad of ['x', '-4', '']) {
    const r = world.call(['exec', '--additional-gids', bad, running, 'true']);
    assert.equal(r.code, 255);
    assert.match(r.stderr, /additional-gids must be a positive number/);
  }
  assert.equal(status().field('NoNewPrivs'), '0');
  assert.equal(status('--no-new-privs').field('NoNewPrivs'), '1');
  assert.equal(status('--no-new-privs=false').field('NoNewPrivs'), '0');

  const base = '0000000020000420';
  const sets = (s: ReturnType<typeof status>) => ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(s.field);
  const zero = '0000000000000000';
  assert.deepEqual(sets(status('-c', 'CAP_SYS_ADMIN', '--cap', 'CAP_CHOWN')), [
    '0000000020200421',
    '0000000020200421',
    '0000000020200421',
    zero,
  ]);
  // A user that isn't root is given them in the bounding set alone.
  assert.deepEqual(sets(status('-c', 'CAP_SYS_ADMIN', '-u', '5')), [zero, zero, '0000000020200420', zero]);
  const unknown = status('-c', 'CAP_NOSUCH', '-c', 'cap_chown');
  assert.match(
    unknown.stderr,
    /level=warning msg="ignoring unknown or unavailable capabilities: \[CAP_NOSUCH cap_chown\]"/,
  );
  assert.deepEqual(sets(unknown), [base, base, base, zero]);
});

test('a capability of the configuration that nobody knows is told, and passed over', () => {
  const bundle = shell('grep CapEff /proc/self/status', (s) => {
    for (const set of ['bounding', 'effective', 'permitted'] as const) {
      s.process!.capabilities![set] = ['CAP_CHOWN', 'CAP_FUTURE'];
    }
  });
  const r = world.call(['run', '-b', bundle, world.id()]);
  assert.equal(r.stdout, 'CapEff:\t0000000000000001\n', r.stderr);
  assert.match(r.stderr, /level=warning .*ignoring unknown .*\[CAP_FUTURE\]/);
});

test('exec --process-label and --apparmor: taken on, or refused where the host cannot', () => {
  const lsm = existsSync('/sys/kernel/security/lsm') ? readFileSync('/sys/kernel/security/lsm', 'utf8') : '';
  for (const [flag, name, value] of [
    ['--process-label', 'selinux', 'system_u:system_r:container_t:s0'],
    ['--apparmor', 'apparmor', 'nsbox-no-such-profile'],
  ] as const) {
    if (lsm.split(',').includes(name)) continue; // what it does there depends on the policy that is loaded
    const r = world.call(['exec', flag, value, running, 'echo', 'ran']);
    assert.equal(r.code, 255, flag);
    assert.equal(r.stdout, '', 'the program is not run without its label');
    assert.match(r.stderr, new RegExp(`label .*${value}`));
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
  }
  assert.equal(
    world.call(['exec', '--apparmor', '', '--process-label', '', running, 'echo', 'ran']).stdout,
    'ran\n',
  );
});

test('run --keep: the container stays, stopped, with its bundle, until delete', () => {
  const id = world.id();
  const bundle = shell('exit 5');
  assert.equal(world.call(['run', '--keep', '-b', bundle, id]).code, 5);
  const state = world.state(id)!;
  assert.deepEqual([state['status'], state['pid'], state['bundle']], ['stopped', 0, bundle]);
  assert.match(world.call(['run', '-b', bundle, id]).stderr, /already exists/);
  assert.equal(world.call(['delete', id]).code, 0);
  assert.equal(world.state(id), undefined);
});

test('run -d: returns while the program runs, and leaves nothing where it cannot start', async () => {
  const id = world.id();
  const out = path.join(world.rootfs, 'data/detached');
  const pidFile = path.join(world.directory, 'detached.pid');
  const bundle = shell('echo here > /data/detached; exec sleep 1000');
  const r = spawnSync(
    NSBOX_OCI,
    ['--root', world.root, 'run', '-d', '--pid-file', pidFile, '-b', bundle, id],
    {
      stdio: 'ignore',
      timeout: 90_000,
    },
  );
  assert.equal(r.status, 0);
  assert.equal(world.state(id)?.['status'], 'running');
  assert.equal(readFileSync(pidFile, 'utf8'), String(world.state(id)?.['pid']));
  await world.until(() => existsSync(out) && readFileSync(out, 'utf8') === 'here\n');
  assert.equal(world.call(['kill', id, 'KILL']).code, 0);
  await world.until(() => world.state(id)?.['status'] === 'stopped');
  assert.equal(world.call(['delete', id]).code, 0);
  for (const program of ['nosuch', '/bin/badscript']) {
    writeFileSync(path.join(world.rootfs, 'bin/badscript'), '#!/nosuch\n', { mode: 0o755 });
    const bad = world.id();
    const failed = world.call([
      'run',
      '-d',
      '-b',
      world.bundle((s) => {
        s.process!.args = [program];
      }),
      bad,
    ]);
    assert.equal(failed.code, 1, program);
    assert.match(failed.stderr, /executable file not found in \$PATH|no such file or directory/);
    assert.equal(world.state(bad), undefined);
  }
});

test('ps -f table: the options are those of ps(1), the rows those of the container', () => {
  const pid = String(world.state(running)!['pid']);
  const rows = (...args: string[]) =>
    world
      .call(['ps', ...args])
      .stdout.trimEnd()
      .split('\n')
      .map((l) => l.trim().split(/\s+/));
  assert.deepEqual(rows('-f', 'table', running, '-e', '-o', 'comm,pid'), [
    ['COMMAND', 'PID'],
    ['sleep', pid],
  ]);
  assert.deepEqual(rows('--format', 'table', running)[1]!.slice(0, 2), ['root', pid]);
  assert.deepEqual(rows(running, 'axo', 'pid,args')[1], [pid, 'sleep', '1000']);
  assert.equal(world.call(['ps', '-f', 'json', running, '-ef']).stdout, `[${pid}]\n`);
  const fails = (says: RegExp, ...args: string[]) => {
    const r = world.call(['ps', ...args]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, says);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
  };
  fails(/couldn't find PID field in ps output/, running, '-e', '-o', 'comm');
  fails(/ps: error: unknown gnu long option/, running, '--nosuch');
  fails(/invalid format option/, '-f', 'yaml', running);
});

test('list -q: ids alone, one a line; nothing for no container', () => {
  const root = path.join(world.directory, 'list');
  mkdirSync(root);
  const at = (...args: string[]) => world.call(['--root', root, ...args]);
  assert.deepEqual(at('list', '-q'), { code: 0, stdout: '', stderr: '' });
  const ids = ['b', 'a.1'].map((n) => `${path.basename(world.directory)}-${n}`);
  for (const id of ids) assert.equal(at('run', '--keep', '-b', shell('true'), id).code, 0);
  const [b, a] = ids;
  assert.equal(at('list', '-q').stdout, `${a}\n${b}\n`);
  assert.equal(at('list', '--quiet', '-f', 'json').stdout, `${a}\n${b}\n`);
  for (const id of ids) assert.equal(at('delete', id).code, 0);
  rmSync(root, { recursive: true });
});

test('update -r: a file or stdin; what is wrong is named, and nothing changes', () => {
  const id = world.id();
  world.create(id, world.bundle());
  world.call(['start', id]);
  const limit = () =>
    (JSON.parse(world.call(['events', '--stats', id]).stdout) as { data: { pids: { limit: number } } }).data
      .pids.limit;
  const file = path.join(world.directory, 'resources.json');
  writeFileSync(file, '{"pids":{"limit":31}}');
  assert.deepEqual(world.call(['update', '-r', file, id]), { code: 0, stdout: '', stderr: '' });
  assert.equal(limit(), 31);
  assert.equal(world.call(['update', '--resources', '-', id], { input: '{"pids":{"limit":32}}' }).code, 0);
  assert.equal(limit(), 32);
  // As in runc, the file goes before single flags.
  assert.equal(world.call(['update', '-r', file, '--pids-limit', '40', id]).code, 0);
  assert.equal(limit(), 31);
  const bad: [string, RegExp][] = [
    ['{', /not valid JSON/],
    ['{"pids":{"limit":"many"}}', /pids\.limit: expected .*"many"/],
  ];
  for (const [text, says] of bad) {
    const r = world.call(['update', '-r', '-', id], { input: text });
    assert.equal(r.code, 1);
    assert.match(r.stderr, says);
  }
  const missing = world.call(['update', '-r', path.join(world.directory, 'missing.json'), id]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /missing\.json: no such file or directory/);
  assert.equal(limit(), 31);
  world.call(['delete', '--force', id]);
});

test('--debug: the steps that are taken, to the log and not to the program', () => {
  const log = path.join(world.directory, 'debug.log');
  const args = ['--log', log, '--log-format', 'json'];
  const bundle = shell('echo out');
  assert.equal(world.call([...args, 'run', '-b', bundle, world.id()]).stdout, 'out\n');
  assert.equal(existsSync(log), false);
  const r = world.call(['--debug', ...args, 'run', '-b', bundle, world.id()]);
  assert.deepEqual(r, { code: 0, stdout: 'out\n', stderr: '' });
  const lines = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l) as { level: string; msg: string });
  assert.ok(lines.every((l) => l.level === 'debug'));
  for (const call of [/clone3\(.*CLONE_NEWPID/, /pivot_root/, /execve/]) {
    assert.ok(
      lines.some((l) => call.test(l.msg)),
      String(call),
    );
  }
  const exec = world.call(['--debug', 'exec', running, 'echo', 'in']);
  assert.equal(exec.stdout, 'in\n');
  assert.match(exec.stderr, /level=debug msg=".*setns/);
});

test('--rootless: without rights on the cgroup tree, a container that asks for no limits goes without', () => {
  const readOnly =
    'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q $d && mount -o remount,bind,ro $d; done; exec "$@"';
  const confined = (rootless: string, bundle: string) => {
    const id = world.id();
    const argv = ['--root', world.root, `--rootless=${rootless}`, 'run', '-b', bundle, id];
    const r = spawnSync(
      'unshare',
      ['-m', '--propagation', 'private', 'sh', '-c', readOnly, 'sh', NSBOX_OCI, ...argv],
      {
        encoding: 'utf8',
        timeout: 90_000,
      },
    );
    return { code: r.status, stdout: r.stdout, stderr: r.stderr, left: world.state(id) };
  };
  assert.deepEqual(confined('true', shell('echo ran')), {
    code: 0,
    stdout: 'ran\n',
    stderr: '',
    left: undefined,
  });
  const limited = shell('echo ran', (s) => {
    s.linux!.resources = { pids: { limit: 20 } };
  });
  const placed = shell('echo ran', (s) => {
    s.linux!.cgroupsPath = '/nsbox-test-placed';
  });
  for (const [rootless, bundle] of [
    ['true', limited],
    ['true', placed],
    ['false', shell('echo ran')],
    ['auto', shell('echo ran')],
  ] as const) {
    const r = confined(rootless, bundle);
    assert.equal(r.code, 1, r.stderr);
    assert.match(r.stderr, /cannot make the cgroup|read-only file system/);
    assert.equal(r.left, undefined);
  }
  for (const fine of ['true', 'false', 'auto', '1', '0', 'F']) {
    assert.equal(world.call(['--rootless', fine, 'list', '-q']).code, 0, fine);
  }
  const r = world.call(['--rootless=maybe', 'list']);
  assert.equal(r.code, 1);
  assert.match(r.stderr, /invalid value "maybe" for flag --rootless/);
});

test('whoever is not root is told so', () => {
  const bundle = shell('true');
  const r = spawnSync(
    'setpriv',
    [
      '--reuid',
      '65534',
      '--clear-groups',
      NSBOX_OCI,
      '--root',
      '/tmp/nsbox-nobody',
      'run',
      '-b',
      bundle,
      'x',
    ],
    { encoding: 'utf8', timeout: 90_000, cwd: '/' },
  );
  assert.equal(r.status, 1);
  assert.match(r.stderr, /^nsbox-oci: nsbox-oci needs root to make a container [^\n]*\n$/);
});

test('spec --rootless: a user namespace, the network and the groups of the host; it runs', () => {
  const directory = path.join(world.directory, 'rootless');
  mkdirSync(directory);
  symlinkSync(world.rootfs, path.join(directory, 'rootfs'));
  assert.equal(world.call(['spec', '--rootless', '--bundle', directory]).code, 0);
  const file = path.join(directory, 'config.json');
  const spec = JSON.parse(readFileSync(file, 'utf8')) as Spec;
  assert.deepEqual(spec.linux!.namespaces!.map((n) => n.type).sort(), ['ipc', 'mount', 'pid', 'user', 'uts']);
  assert.deepEqual(spec.linux!.uidMappings, [{ containerID: 0, hostID: process.getuid!(), size: 1 }]);
  assert.deepEqual(spec.linux!.gidMappings, [{ containerID: 0, hostID: process.getgid!(), size: 1 }]);
  assert.equal(spec.linux!.resources, undefined);
  // An id that isn't mapped can't own anything.
  assert.ok(!spec.mounts!.some((m) => m.options?.some((o) => /^[ug]id=/.test(o))));
  assert.equal(spec.mounts!.find((m) => m.destination === '/sys')?.source, '/sys');
  spec.process!.terminal = false;
  spec.process!.args = ['/bin/sh', '-c', 'cat /proc/self/uid_map; readlink /proc/self/ns/net'];
  spec.process!.env = ['PATH=/bin'];
  writeFileSync(file, JSON.stringify(spec));
  const r = world.call(['run', '-b', directory, world.id()]);
  const net = spawnSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }).stdout;
  assert.equal(r.stdout.replace(/ +/g, ' '), ` 0 ${process.getuid!()} 1\n${net}`, r.stderr);
});

test('features: every field of the standard, and only what is so', async () => {
  const { value, unknown } = await parseFeatures(world.call(['features']).stdout);
  assert.deepEqual(unknown, []);
  assert.match(value.ociVersionMax, /^1\.3\.\d+$/);
  assert.equal(value.ociVersionMin, '1.0.0');
  assert.deepEqual(value.hooks, [
    'prestart',
    'createRuntime',
    'createContainer',
    'startContainer',
    'poststart',
    'poststop',
  ]);
  const linux = value.linux!;
  assert.deepEqual(linux.namespaces, ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts']);
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  assert.equal(linux.capabilities?.length, last + 1);
  assert.deepEqual(linux.cgroup, { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true });
  assert.equal(linux.seccomp?.enabled, true);
  for (const list of ['actions', 'operators', 'archs', 'knownFlags', 'supportedFlags'] as const) {
    assert.ok(linux.seccomp![list]!.length > 2, list);
  }
  assert.ok(linux.seccomp!.supportedFlags!.every((f) => linux.seccomp!.knownFlags!.includes(f)));
  assert.deepEqual(
    [linux.apparmor, linux.selinux, linux.intelRdt],
    [{ enabled: true }, { enabled: true }, { enabled: true, schemata: true, monitoring: true }],
  );
  assert.deepEqual(linux.netDevices, { enabled: true });
  assert.equal(linux.memoryPolicy?.modes?.length, 7);
  assert.equal(linux.memoryPolicy?.flags?.length, 3);
  assert.equal(linux.mountExtensions?.idmap?.enabled, true);
  // Each mount option that it names is taken.
  for (const option of ['rro', 'ridmap', 'tmpcopyup', 'nosymfollow', 'rslave']) {
    assert.ok(value.mountOptions?.includes(option), option);
  }
  assert.match(value.annotations!['io.github.seccomp.libseccomp.version']!, /^\d+\.\d+\.\d+$/);
  assert.equal(world.call(['features', 'extra']).code, 1);
});
