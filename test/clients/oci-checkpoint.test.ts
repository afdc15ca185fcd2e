import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import type { Spec } from '../../src/spec/index.js';
import { workingCriu } from '../support/criu.js';
import { OciWorld, type Result } from '../support/oci-bundle.js';

const criu = workingCriu();
const skip = 'reason' in criu ? criu.reason : false;
const program = 'file' in criu ? criu.file : 'criu';
const world = new OciWorld();
for (const applet of ['nc', 'kill', 'seq']) {
  if (!existsSync(path.join(world.rootfs, 'bin', applet)))
    symlinkSync('busybox', path.join(world.rootfs, 'bin', applet));
}
after(() => world.close());

/** Counts in memory, tells each number in a file, and ends with it where TERM comes. */
const COUNTER =
  'i=0; trap "exit \\$((i % 50 + 10))" TERM; while :; do i=$((i+1)); echo $i > /data/n; sleep 0.05; done';
const shell = (script: string) => (s: Spec) => {
  s.process!.args = ['sh', '-c', script];
};

function call(...args: string[]): Result {
  return world.call(['--criu', program, ...args], { timeout: 60_000 });
}

/** Runs `restore -d`, with the restored container's output in files as world.create has it. */
function restore(id: string, bundle: string, images: string, ...args: string[]): Result {
  const out = openSync(path.join(world.directory, `${id}.out`), 'a');
  const err = openSync(path.join(world.directory, `${id}.err`), 'a');
  try {
    const r = spawnSync(
      world.runtime,
      [
        '--root',
        world.root,
        '--criu',
        program,
        'restore',
        '-d',
        '-b',
        bundle,
        '--image-path',
        images,
        ...args,
        id,
      ],
      { cwd: world.directory, stdio: ['ignore', out, err], timeout: 60_000 },
    );
    return { code: r.status, ...world.output(id) };
  } finally {
    closeSync(out);
    closeSync(err);
  }
}

function ok(r: Result): Result {
  assert.equal(r.code, 0, r.stderr);
  return r;
}

/** A container with a directory of the host at /data. */
function withData(name: string, change: (s: Spec) => void): { bundle: string; data: string } {
  const data = path.join(world.directory, `data-${name}`);
  mkdirSync(data, { recursive: true });
  const bundle = world.bundle((s) => {
    s.mounts!.push({ destination: '/data', type: 'bind', source: data, options: ['rbind', 'rw'] });
    change(s);
  });
  return { bundle, data };
}

function started(
  name: string,
  change: (s: Spec) => void,
): { id: string; bundle: string; data: string; images: string } {
  const id = world.id();
  const made = withData(name, change);
  ok(world.create(id, made.bundle));
  ok(call('start', id));
  return { id, ...made, images: path.join(world.directory, `images-${name}`) };
}

const count = (data: string) => {
  try {
    return Number(readFileSync(path.join(data, 'n'), 'utf8'));
  } catch {
    return 0;
  }
};

/** Cgroups of a container that are still there. */
function groupsLeft(id: string): string[] {
  return ['', ...readdirSync('/sys/fs/cgroup')]
    .map((d) => path.join('/sys/fs/cgroup', d, 'nsbox-oci', id))
    .filter(existsSync);
}

test('checkpoint and restore: memory, files of a tmpfs, output; then every command as before', {
  skip,
}, async () => {
  const { id, bundle, data, images } = started('whole', (s) => {
    shell(`echo kept > /dev/shm/kept; echo first; ${COUNTER}`)(s);
    s.annotations = { 'org.example': 'yes' };
  });
  await world.until(() => count(data) > 3, 'the counter');
  ok(call('checkpoint', '--image-path', images, id));
  assert.equal(world.state(id), undefined, 'the container is gone');
  assert.deepEqual(groupsLeft(id), []);
  assert.ok(existsSync(path.join(images, 'inventory.img')));
  assert.ok(existsSync(path.join(images, 'dump.log')));
  assert.equal(
    (JSON.parse(readFileSync(path.join(images, 'descriptors.json'), 'utf8')) as string[]).length,
    3,
  );
  const before = count(data);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(count(data), before, 'nothing runs between checkpoint and restore');

  const pidFile = path.join(world.directory, 'restored.pid');
  ok(restore(id, bundle, images, '--pid-file', pidFile));
  await world.until(() => count(data) > before, 'the restored counter');
  assert.ok(count(data) < before + 1000, 'it goes on where it was');
  const state = world.state(id)!;
  assert.equal(state['status'], 'running');
  assert.equal(String(state['pid']), readFileSync(pidFile, 'utf8'));
  assert.deepEqual(state['annotations'], { 'org.example': 'yes' });
  assert.match(call('list').stdout, new RegExp(`${id} +\\d+ +running`));
  assert.equal(ok(call('exec', id, 'cat', '/dev/shm/kept')).stdout, 'kept\n');
  assert.equal(
    call('exec', id, 'sh', '-c', 'cat /proc/kcore | wc -c').stdout,
    '0\n',
    'masked paths are masked',
  );
  assert.match(call('exec', id, 'touch', '/proc/sys/kernel/x').stderr, /Read-only|No such|Permission/);
  assert.equal(world.output(id).stdout, 'first\n');
  ok(call('pause', id));
  assert.equal(world.state(id)!['status'], 'paused');
  ok(call('resume', id));
  assert.deepEqual(JSON.parse(call('ps', '-f', 'json', id).stdout).includes(state['pid']), true);
  ok(call('kill', id, 'TERM'));
  await world.until(() => world.state(id)?.['status'] === 'stopped', 'the end');
  ok(call('delete', id));
  assert.deepEqual(groupsLeft(id), []);
  assert.ok(
    !readFileSync('/proc/self/mountinfo', 'utf8').includes(world.root),
    'no mount is left on the host',
  );
});

test('--leave-running, a second id, and foreground: the exit status is the program’s', { skip }, async () => {
  const { id, bundle, data, images } = started('leave', shell(COUNTER));
  await world.until(() => count(data) > 3, 'the counter');
  const work = path.join(world.directory, 'work');
  ok(call('checkpoint', '--leave-running', '--image-path', images, '--work-path', work, id));
  assert.ok(existsSync(path.join(work, 'dump.log')), 'the log is in the work path');
  const at = count(data);
  await world.until(() => count(data) > at, 'the counter that was left running');
  assert.equal(world.state(id)!['status'], 'running');
  ok(call('delete', '-f', id));

  const second = world.id();
  const out = openSync(path.join(world.directory, `${second}.out`), 'w');
  const child = spawn(
    world.runtime,
    [
      '--root',
      world.root,
      '--criu',
      program,
      'restore',
      '-b',
      bundle,
      '--image-path',
      images,
      '--work-path',
      work,
      second,
    ],
    { stdio: ['ignore', out, out] },
  );
  closeSync(out);
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  await world.until(() => world.state(second)?.['status'] === 'running', 'the restored container');
  assert.ok(existsSync(path.join(work, 'restore.log')), 'and so is that of restore');
  child.kill('SIGTERM');
  const code = await ended;
  assert.ok(code !== null && code >= 10 && code < 60, `exit status ${code}`);
  assert.equal(world.state(second), undefined, 'deleted, as run does');
});

test('pipes are the caller’s new ones', { skip }, async () => {
  const { bundle, data } = withData(
    'pipes',
    shell('while :; do read -t 1 line < /data/say && echo "heard $line"; done'),
  );
  spawnSync('mkfifo', [path.join(data, 'say')]);
  const images = path.join(world.directory, 'images-pipes');
  const id = world.id();
  // Node's own stdio "pipes" are sockets, which criu can't give to a restored process: a shell makes real ones.
  const reader = (name: string, args: string[]) => {
    const file = path.join(world.directory, name);
    writeFileSync(file, '');
    spawn(
      'sh',
      [
        '-c',
        '"$@" 2>&1 | cat >> "$0"',
        file,
        world.runtime,
        '--root',
        world.root,
        '--criu',
        program,
        ...args,
      ],
      {
        stdio: 'ignore',
      },
    );
    return () => readFileSync(file, 'utf8');
  };
  const say = (word: string) => writeFileSync(path.join(data, 'say'), `${word}\n`);
  const before = reader('before', ['run', '-b', bundle, id]);
  await world.until(() => world.state(id)?.['status'] === 'running');
  say('one');
  await world.until(() => before().includes('heard one'), 'output before');
  ok(call('checkpoint', '--image-path', images, id));
  const next = world.id();
  const afterwards = reader('after', ['restore', '-b', bundle, '--image-path', images, next]);
  await world.until(() => world.state(next)?.['status'] === 'running');
  say('two');
  await world.until(() => afterwards().includes('heard two'), 'output after');
  assert.ok(!before().includes('two'));
  ok(call('delete', '-f', next));
});

test('a connection over loopback and a file lock: refused by name, and kept with the flag', {
  skip,
}, async (t) => {
  const tcp = started(
    'tcp',
    shell(
      '(sleep 1000 | nc -l -p 5000 > /data/got) & sleep 0.5; (while :; do echo x; sleep 0.1; done) | nc 127.0.0.1 5000; sleep 100',
    ),
  );
  await world.until(
    () => existsSync(path.join(tcp.data, 'got')) && readFileSync(path.join(tcp.data, 'got')).length > 4,
    'tcp',
  );
  const refusedTcp = call('checkpoint', '--image-path', tcp.images, tcp.id);
  assert.equal(refusedTcp.code, 1);
  assert.match(refusedTcp.stderr, /criu failed: type DUMP: .*--tcp-established/i);
  assert.ok(refusedTcp.stderr.includes(path.join(tcp.images, 'dump.log')), 'the log is named');
  assert.equal(world.state(tcp.id)!['status'], 'running', 'it runs on');
  const kept = call('checkpoint', '--tcp-established', '--image-path', tcp.images, tcp.id);
  if (kept.code !== 0) {
    // Kernels since 6.16 have these options for unix sockets alone, and criu up to 4.1 asks every socket for them.
    assert.match(kept.stderr, /sockets: Can't get 1:(16|34) opt: Operation not supported/);
    assert.equal(world.state(tcp.id)!['status'], 'running', 'it runs on');
    t.diagnostic(`--tcp-established: ${kept.stderr}`);
  } else {
    const got = readFileSync(path.join(tcp.data, 'got')).length;
    ok(restore(tcp.id, tcp.bundle, tcp.images, '--tcp-established'));
    await world.until(
      () => readFileSync(path.join(tcp.data, 'got')).length > got + 4,
      'more over the same connection',
    );
  }
  ok(call('delete', '-f', tcp.id));

  // busybox has no flock: the host's, with its libraries.
  for (const link of ['lib', 'lib64']) symlinkSync(`usr/${link}`, path.join(world.rootfs, link));
  const lock = started('lock', (s) => {
    shell('/usr/bin/flock /data/lock sh -c "echo have > /data/n2; sleep 1000"')(s);
    s.mounts!.push({ destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] });
  });
  await world.until(() => existsSync(path.join(lock.data, 'n2')), 'the lock');
  assert.match(call('checkpoint', '--image-path', lock.images, lock.id).stderr, /--file-locks/);
  ok(call('checkpoint', '--file-locks', '--image-path', lock.images, lock.id));
  ok(restore(lock.id, lock.bundle, lock.images, '--file-locks'));
  assert.notEqual(
    spawnSync('flock', ['-n', path.join(lock.data, 'lock'), 'true']).status,
    0,
    'the lock is held',
  );
  ok(call('delete', '-f', lock.id));
  assert.equal(spawnSync('flock', ['-n', path.join(lock.data, 'lock'), 'true']).status, 0);
});

test('what can’t be checkpointed or restored says so, and leaves nothing', { skip }, () => {
  const id = world.id();
  const bundle = world.bundle(shell('sleep 1000'));
  const images = path.join(world.directory, 'images-none');
  ok(world.create(id, bundle));
  assert.match(
    call('checkpoint', '--image-path', images, id).stderr,
    /Container cannot be checkpointed in created state/,
  );
  ok(call('start', id));
  const none = world.call(['--criu', '/nowhere/criu', 'checkpoint', '--image-path', images, id]);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /need criu: "\/nowhere\/criu": executable file not found in \$PATH \(install it/);
  assert.match(
    call('checkpoint', '--parent-path', '/abs', '--image-path', images, id).stderr,
    /--parent-path must be relative/,
  );
  assert.match(
    call('checkpoint', '--parent-path', '../nope', '--image-path', images, id).stderr,
    /invalid --parent-path/,
  );
  assert.match(
    call('checkpoint', '--manage-cgroups-mode', 'odd', id).stderr,
    /invalid manage-cgroups-mode value/,
  );
  assert.match(call('checkpoint', '--empty-ns', 'ipc', id).stderr, /namespace "ipc" is not supported/);
  assert.match(call('checkpoint', '--page-server', '127.0.0.1', id).stderr, /Use --page-server ADDRESS:PORT/);
  assert.match(call('checkpoint', '--nonsense', id).stderr, /flag provided but not defined: -nonsense/);
  assert.match(call('checkpoint', '--help').stdout, /checkpoint .*--image-path/);
  assert.match(call('restore', '--lsm-mount-context').stderr, /flag needs an argument/);
  assert.equal(world.state(id)!['status'], 'running');

  const other = world.id();
  const nothing = call('restore', '-d', '-b', bundle, '--image-path', images, other);
  assert.equal(nothing.code, 1);
  assert.match(nothing.stderr, /holds no checkpoint/);
  assert.equal(world.state(other), undefined);
  writeFileSync(path.join(images, 'descriptors.json'), '["/dev/null","/dev/null","/dev/null"]');
  const broken = call('restore', '-d', '-b', bundle, '--image-path', images, other);
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /criu failed: type RESTORE: .*log file: .*restore\.log/);
  assert.equal(world.state(other), undefined);
  assert.deepEqual(groupsLeft(other), []);
  assert.match(
    call('restore', '-d', '-b', bundle, '--image-path', images, id).stderr,
    /container with given ID already exists/,
  );
});

/** Takes the terminal that comes over a socket: what it says goes to a file, and what is typed to it. */
const TERMINAL = `
import array, os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + ".new")
s.listen(1)
os.rename(sys.argv[1] + ".new", sys.argv[1])
c = s.accept()[0]
fds = array.array("i")
_, ancillary, _, _ = c.recvmsg(64, socket.CMSG_LEN(4))
fds.frombytes(ancillary[0][2])
def types():
    while data := os.read(0, 4096):
        os.write(fds[0], data)
threading.Thread(target=types, daemon=True).start()
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
try:
    while data := os.read(fds[0], 4096):
        os.write(out, data)
except OSError:
    pass
`;

async function terminal(name: string) {
  const socket = path.join(world.directory, `${name}.sock`);
  const file = path.join(world.directory, `${name}.said`);
  writeFileSync(file, '');
  const child = spawn('python3', ['-c', TERMINAL, socket, file], { stdio: ['pipe', 'ignore', 'inherit'] });
  after(() => child.kill());
  await world.until(() => existsSync(socket), 'the console socket');
  return {
    socket,
    said: () => readFileSync(file, 'utf8'),
    type: (line: string) => child.stdin!.write(`${line}\n`),
    close: () => child.kill(),
  };
}

test('a terminal: its new master goes to --console-socket, or is relayed in the foreground', {
  skip,
}, async () => {
  const { bundle } = withData('tty', (s) => {
    shell('while read line; do echo "heard $line in $(stty size)"; done')(s);
    s.process!.terminal = true;
    s.process!.consoleSize = { height: 21, width: 87 };
  });
  const id = world.id();
  const images = path.join(world.directory, 'images-tty');
  const first = await terminal('first');
  ok(world.create(id, bundle, '--console-socket', first.socket));
  ok(call('start', id));
  first.type('one');
  await world.until(() => first.said().includes('heard one in 21 87'), 'the terminal');
  ok(call('checkpoint', '--image-path', images, id));
  first.close();

  const second = await terminal('second');
  ok(restore(id, bundle, images, '--console-socket', second.socket));
  second.type('two');
  await world.until(() => second.said().includes('heard two in 21 87'), 'the restored terminal');
  assert.match(ok(call('exec', id, 'readlink', '/proc/1/fd/0')).stdout, /^\/dev\/pts\/\d+\n$/);
  ok(call('delete', '-f', id));
  second.close();

  const relayed = path.join(world.directory, 'relayed');
  const words = [world.runtime, '--root', world.root, '--criu', program, 'restore', '-b', bundle];
  const r = spawnSync(
    'sh',
    [
      '-c',
      '(echo three; while ! grep -q "heard three in" "$0"; do sleep 0.1; done; printf "\\004") | "$@" > "$0" 2>&1',
      relayed,
      ...words,
      '--image-path',
      images,
      world.id(),
    ],
    { timeout: 60_000 },
  );
  assert.match(readFileSync(relayed, 'utf8'), /heard three in 21 87/);
  assert.equal(r.status, 0, 'the shell ended at the end of its input');
});

test('--shell-job: a process on a terminal of the host', { skip }, async () => {
  const { bundle, data } = withData('job', shell(`exec </dev/null; ${COUNTER}`));
  const images = path.join(world.directory, 'images-job');
  const onTerminal = (...args: string[]) => {
    const command = [world.runtime, '--root', world.root, '--criu', program, ...args].join(' ');
    const child = spawn('script', ['-qefc', command, '/dev/null'], { stdio: 'ignore' });
    return new Promise<number | null>((resolve) => child.on('exit', resolve));
  };
  const id = world.id();
  const ended = onTerminal('run', '-b', bundle, id);
  await world.until(() => count(data) > 3, 'the counter');
  ok(call('checkpoint', '--shell-job', '--image-path', images, id));
  await ended;
  const at = count(data);
  assert.match(
    restore(id, bundle, images, '--shell-job').stderr,
    /cannot restore: stdout was a terminal, and has to be one/,
  );
  const again = onTerminal('restore', '--shell-job', '-b', bundle, '--image-path', images, id);
  await world.until(() => count(data) > at, 'the restored counter');
  ok(call('kill', id, 'TERM'));
  const code = await again;
  assert.ok(code !== null && code >= 10 && code < 60, `exit status ${code}`);
});

test('memory in steps: --pre-dump and --parent-path', { skip }, async () => {
  const { id, bundle, data, images } = started('steps', shell(COUNTER));
  await world.until(() => count(data) > 3, 'the counter');
  const first = path.join(images, 'pre');
  const r = call('checkpoint', '--pre-dump', '--image-path', first, id);
  if (r.code !== 0) {
    // A kernel without CONFIG_MEM_SOFT_DIRTY.
    assert.match(
      r.stderr,
      /criu is missing features: MemTrack \(`.* check --all` says what this kernel lacks\)/,
    );
  } else {
    assert.equal(world.state(id)!['status'], 'running');
    const last = path.join(images, 'last');
    ok(call('checkpoint', '--parent-path', '../pre', '--image-path', last, id));
    const at = count(data);
    ok(restore(id, bundle, last));
    await world.until(() => count(data) > at, 'the restored counter');
  }
  ok(call('delete', '-f', id));
});

test('hooks of the runtime run at a restore, with the state on stdin', { skip }, async () => {
  const seen = path.join(world.directory, 'hook');
  const { id, bundle, data, images } = started('hooks', (s) => {
    shell(COUNTER)(s);
    // Without a cgroup namespace its cgroup mounts are binds of its groups.
    s.mounts!.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] });
    s.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${seen}`] }] };
  });
  await world.until(() => count(data) > 1, 'the counter');
  ok(call('checkpoint', '--image-path', images, id));
  writeFileSync(seen, '');
  ok(restore(id, bundle, images));
  const state = JSON.parse(readFileSync(seen, 'utf8')) as { id: string; pid: number };
  assert.equal(state.id, id);
  assert.equal(state.pid, world.state(id)!['pid']);
  ok(call('delete', '-f', id));
});

test('a runtime killed in the middle of a restore: delete --force cleans all', { skip }, async () => {
  const { id, bundle, data, images } = started('killed', shell(COUNTER));
  await world.until(() => count(data) > 1, 'the counter');
  ok(call('checkpoint', '--image-path', images, id));
  for (let round = 0; round < 8; round++) {
    const victim = world.id();
    const child = spawn(
      world.runtime,
      [
        '--root',
        world.root,
        '--criu',
        program,
        'restore',
        '-d',
        '-b',
        bundle,
        '--image-path',
        images,
        victim,
      ],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => child.on('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 400));
    child.kill('SIGKILL');
    await ended;
    call('delete', '-f', victim);
    assert.equal(world.state(victim), undefined);
    assert.deepEqual(groupsLeft(victim), []);
    assert.ok(!existsSync(path.join(world.root, victim)));
  }
  const before = count(data);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(count(data), before, 'no process of them is left');
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(world.root));
});
