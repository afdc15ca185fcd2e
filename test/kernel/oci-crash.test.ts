import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';
import { soakMs } from '../support/soak.js';

const world = new OciWorld();
after(() => world.close());
const bundle = world.bundle();
const env = { ...process.env, NSBOX_STATE: path.join(world.directory, 'state') };

/** What exists of containers whose id has this text: cgroups, processes in them or named after them, mounts. */
function leftOf(text: string): string[] {
  const found: string[] = [];
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  for (const line of mounts) {
    if (line.includes(text)) found.push(`mount ${line}`);
    if (!/ - cgroup2? /.test(line)) continue;
    const parent = path.join(line.split(' ')[4]!, 'nsbox-oci');
    if (!existsSync(parent)) continue;
    for (const name of readdirSync(parent)) if (name.includes(text)) found.push(`${parent}/${name}`);
  }
  for (const pid of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      if (cgroups.includes(text) || (command.startsWith('nsbox-init') && command.includes(text)))
        found.push(`process ${pid}: ${command}`);
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** Nothing is left of what has this text in its id: at once, or as soon as the killed have been reaped. */
async function nothingLeft(text: string, when: string): Promise<void> {
  const end = Date.now() + 10_000;
  let left = leftOf(text);
  while (left.length > 0 && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = leftOf(text);
  }
  assert.deepEqual(left, [], when);
}

/** `delete --force` must succeed, whatever there is, and leave nothing. */
async function deleted(id: string, when: string): Promise<void> {
  const r = world.call(['delete', '--force', id]);
  assert.equal(r.code, 0, `${when}: ${r.stderr}`);
  assert.equal(existsSync(path.join(world.root, id)), false, `${when}: its directory`);
  await nothingLeft(id, when);
}

/** Runs the runtime with nothing to read and its output thrown away. */
function launch(argv: string[], around: string[] = []) {
  const [program, ...rest] = [...around, NSBOX_OCI, '--root', world.root, ...argv];
  return spawn(program!, rest, { stdio: 'ignore', env, cwd: world.directory });
}

const ended = (child: ReturnType<typeof launch>) =>
  new Promise<string>((resolve) => child.on('close', (code, signal) => resolve(signal ?? String(code))));

test('ten containers created at once, started at once, killed and deleted at once', async () => {
  const ids = Array.from({ length: 10 }, () => world.id());
  const all = (verb: (id: string) => string[]) => Promise.all(ids.map((id) => ended(launch(verb(id)))));
  const good = ids.map(() => '0');
  assert.deepEqual(await all((id) => ['create', '--bundle', bundle, id]), good);
  assert.deepEqual(world.call(['list', '-q']).stdout.trim().split('\n').sort(), [...ids].sort());
  assert.deepEqual(await all((id) => ['start', id]), good);
  const states = ids.map((id) => world.state(id)!);
  assert.deepEqual(
    states.map((s) => s['status']),
    ids.map(() => 'running'),
  );
  assert.equal(new Set(states.map((s) => s['pid'])).size, 10);
  assert.deepEqual(await all((id) => ['kill', id, 'KILL']), good);
  assert.deepEqual(await all((id) => ['delete', '--force', id]), good);
  assert.equal(world.call(['list', '-q']).stdout, '');
  await nothingLeft(path.basename(world.directory), 'in the end');
});

test('a hundred in a row', async () => {
  const done = world.bundle((s) => {
    s.process!.args = ['true'];
  });
  for (let i = 0; i < 100; i++) {
    const r = world.call(['run', '--bundle', done, world.id()]);
    assert.equal(r.code, 0, r.stderr);
  }
  assert.equal(world.call(['list', '-q']).stdout, '');
  await nothingLeft(path.basename(world.directory), 'in the end');
});

/** Kills the runtime as it enters the nth of a system call, for each n until it gets through. */
async function killedAt(
  call: string,
  prepare: (id: string) => void,
  argv: (id: string) => string[],
): Promise<number> {
  for (let n = 1; ; n++) {
    const id = world.id();
    prepare(id);
    const trace = ['strace', '-qq', '-o', '/dev/null', '-e', `trace=${call}`];
    const how = await ended(launch(argv(id), [...trace, '-e', `inject=${call}:signal=KILL:when=${n}`]));
    await deleted(id, `${argv(id)[0]} killed at ${call} number ${n}`);
    if (how !== 'SIGKILL') return n - 1;
    assert.ok(n < 40, `${call} without end`);
  }
}

const noStrace = existsSync('/usr/bin/strace') ? false : 'strace is not installed';
const create = (id: string) => {
  const r = world.create(id, bundle);
  assert.equal(r.code, 0, r.stderr);
};

// For each command the calls by which it changes something, or waits for someone: between any two of them lies a step.
for (const [verb, calls, prepare, argv] of [
  [
    'create',
    ['mkdir', 'rename', 'vfork', 'memfd_create', 'recvmsg'],
    () => undefined,
    (id: string) => ['create', '--bundle', bundle, id],
  ],
  ['start', ['rename', 'connect', 'unlink'], create, (id: string) => ['start', id]],
  ['delete', ['rmdir', 'unlink'], create, (id: string) => ['delete', '--force', id]],
] as const) {
  test(`${verb}, killed at each step: delete --force cleans all`, { skip: noStrace }, async (t) => {
    const points: string[] = [];
    for (const call of calls) {
      const n = await killedAt(call, prepare, argv);
      if (n > 0) points.push(`${n} × ${call}`);
    }
    t.diagnostic(points.join(', '));
    assert.ok(points.length > 1, 'strace killed nothing');
  });
}

test('create and start, killed at random moments: delete --force cleans all', async (t) => {
  const began = performance.now();
  // As long as an undisturbed create takes here: moments are spread over that.
  const whole = world.id();
  create(whole);
  const length = performance.now() - began;
  await deleted(whole, 'undisturbed');
  let kills = 0;
  for (let i = 0; i < 24 || performance.now() - began < (soakMs ?? 0); i++) {
    const id = world.id();
    const child = launch(['run', '--detach', '--bundle', bundle, id]);
    const done = ended(child);
    const delay = length * 0.2 + ((i % 24) / 24) * length * 1.2;
    const timer = setTimeout(() => child.kill('SIGKILL'), delay);
    if ((await done) === 'SIGKILL') kills++;
    clearTimeout(timer);
    await deleted(id, `killed after ${delay.toFixed(1)} ms`);
  }
  t.diagnostic(`${kills} killed`);
});

test('a monitor that is killed takes nothing along that delete --force does not clean', async () => {
  for (let n = 1; n <= 6; n++) {
    const id = world.id();
    const child = launch(['create', '--bundle', bundle, id]);
    const done = ended(child);
    await new Promise((resolve) => setTimeout(resolve, n * 16));
    spawnSync('sh', [
      '-c',
      `for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline 2>/dev/null) in "nsbox-init ${id} "*) kill -9 \${p#/proc/};; esac; done`,
    ]);
    await done;
    await deleted(id, `monitor killed after ${n * 16} ms`);
  }
});
