import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../../src/base/index.js';
import { create, NsboxError, run } from '../../src/index.js';
import { noBusybox, TestRoot } from '../support/rootfs.js';

const skip = noBusybox;

function isZombie(pid: string): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false; // gone meanwhile
  }
}

describe('library: run', { skip }, () => {
  const box = skip ? undefined! : new TestRoot('run');
  after(() => box?.[Symbol.dispose]());
  const sh = (script: string, more: object = {}) => run({ ...box.options, command: script, ...more });
  const code = (expected: string) => (error: unknown) => {
    assert.ok(error instanceof NsboxError, String(error));
    assert.equal(error.code, expected);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  };

  test('gives exit code, output and usage', async () => {
    const r = await sh('echo out; cat; echo err >&2; exit 7', { stdin: 'in\n' });
    assert.deepEqual([r.exitCode, r.signal, r.stdout, r.stderr], [7, null, 'out\nin\n', 'err\n']);
    assert.ok(r.usage.maxRss > 100_000 && r.usage.wallTime > 0);
  });

  test('leaves no zombie in the process that embeds it', async () => {
    for (let i = 0; i < 30; i++) await sh('exit');
    const zombies = () =>
      readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1')
        .trim()
        .split(' ')
        .filter((pid) => pid && isZombie(pid));
    // The last monitor may still be ending: it is waited for when it has.
    for (let i = 0; i < 100 && zombies().length > 0; i++) await new Promise((r) => setTimeout(r, 50));
    assert.deepEqual(zombies(), []);
  });

  test('figures of a sandbox that runs, and what its limits did in its usage', async () => {
    const busy = await create({
      ...box.options,
      command: ['sh', '-c', 'while :; do :; done'],
      cpus: 0.2,
      memory: 64 * 1024 ** 2,
      pids: 5,
    });
    for (;;) {
      const { cpu, pids, memory, network } = busy.figures();
      if (cpu.throttledPeriods > 0 && cpu.usageUsec > 20_000) {
        assert.deepEqual(pids, { current: 1, limit: 5 });
        assert.equal(memory.limit, 64 * 1024 ** 2);
        assert.ok(memory.total > 0 && memory.usage <= memory.total);
        assert.ok(Array.isArray(network));
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    busy.kill('SIGKILL');
    const { usage } = await busy.wait();
    const { cgroup } = usage;
    assert.ok(
      (cgroup?.throttledPeriods ?? 0) > 0 && (cgroup?.throttledTime ?? 0) > 0,
      JSON.stringify(cgroup),
    );
    assert.ok((cgroup?.cpuTime ?? 0) >= 20 && (cgroup?.memoryPeak ?? 0) > 0, JSON.stringify(cgroup));
    assert.equal(cgroup?.oomKills, 0);
    await busy[Symbol.asyncDispose]();
  });

  test('usage tells of processes killed for memory and of forks that were refused', async () => {
    const { usage, exitCode } = await run({
      ...box.options,
      command: ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?; exit 3'],
      memory: 16 * 1024 ** 2,
    });
    assert.equal(exitCode, 3);
    assert.ok((usage.cgroup?.oomKills ?? 0) >= 1, JSON.stringify(usage.cgroup));
    assert.ok((usage.cgroup?.memoryPeak ?? 0) > 8 * 1024 ** 2, JSON.stringify(usage.cgroup));
    const full = await run({
      ...box.options,
      command: ['sh', '-c', 'for i in 1 2 3 4; do sleep 1 & done; wait'],
      pids: 3,
    });
    assert.ok((full.usage.cgroup?.forksRefused ?? 0) >= 1, JSON.stringify(full.usage.cgroup));
  });

  test('tells a signal from an exit', async () => {
    const r = await sh('kill -TERM $$');
    // pid 1 ignores signals it has no handler for: nothing happens to it, as in any pid namespace
    assert.equal(r.exitCode, 0);
    const killed = await create({ ...box.options, command: ['sleep', '100'] });
    killed.kill('SIGKILL');
    assert.deepEqual(await killed.wait().then((s) => [s.exitCode, s.signal]), [null, 'SIGKILL']);
    await killed[Symbol.asyncDispose]();
  });

  test('every namespace differs from the host, the program is pid 1', async () => {
    const r = await sh('for n in /proc/self/ns/*; do readlink $n; done; echo $$; readlink /proc/1/exe');
    const lines = r.stdout.trim().split('\n');
    for (const kind of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'user']) {
      const host = readlinkSync(`/proc/self/ns/${kind}`);
      assert.ok(
        lines.some((l) => l.startsWith(`${kind}:`)),
        kind,
      );
      assert.ok(!lines.includes(host), `${kind} is the host's`);
    }
    assert.equal(lines.at(-2), '1');
    assert.equal(lines.at(-1), '/bin/busybox');
  });

  test('no fd but 0, 1, 2 is open', async () => {
    // sh itself opens the directory for the glob: the list of its own process holds 0 1 2 and that one
    const r = await run({ ...box.options, command: ['ls', '/proc/1/fd'] });
    assert.deepEqual(r.stdout.trim().split('\n').slice(0, 3), ['0', '1', '2']);
    assert.ok(r.stdout.trim().split('\n').length <= 4, r.stdout);
  });

  test('root inside is an id without rights outside', async () => {
    const s = await create({ ...box.options, command: ['sleep', '100'] });
    try {
      const status = readFileSync(`/proc/${s.pid}/status`, 'utf8');
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
      assert.ok(uid >= 65_536, `uid ${uid}`);
      assert.match(status, /^NoNewPrivs:\s+1$/m);
      assert.match(status, /^Seccomp:\s+2$/m);
      assert.match(status, /^CapEff:\s+00000000800405fb$/m);
    } finally {
      await s[Symbol.asyncDispose]();
    }
  });

  test('files of the image show their own owners, what is written belongs to the container', async () => {
    box.write('etc/owned', 'x');
    const r = await sh('stat -c %u /etc/owned; touch /tmp/new; stat -c %u /tmp/new; id -u');
    assert.deepEqual(r.stdout.trim().split('\n'), ['0', '0', '0']);
    assert.throws(() => statSync(path.join(box.rootfs, 'tmp/new')), /ENOENT/);
  });

  test('a user by name, with groups, home and directory', async () => {
    const r = await sh('id; echo $HOME; pwd', { user: 'app', cwd: '/app' });
    assert.match(r.stdout, /uid=1000.*gid=1000.*2000/);
    assert.match(r.stdout, /\n\/app\n\/app\n$/);
  });

  test('mounts: bind, read-only, tmpfs', async () => {
    writeFileSync(path.join(box.directory, 'data'), 'hello');
    const r = await sh('cat /data/data; echo x > /data/new; touch /ro/x; echo $?; df /t | tail -1', {
      mounts: [
        { source: box.directory, target: '/data' },
        { source: box.directory, target: '/ro', readonly: true },
        { type: 'tmpfs', target: '/t' },
      ],
    });
    assert.match(r.stdout, /^hello1\n.*\/t$/ms);
    assert.equal(readFileSync(path.join(box.directory, 'new'), 'utf8'), 'x\n');
    assert.equal(statSync(path.join(box.directory, 'new')).uid, 0);
  });

  test('no mount of it is in the host’s table', async () => {
    const s = await create({ ...box.options, command: ['sleep', '100'] });
    assert.doesNotMatch(readFileSync('/proc/self/mounts', 'utf8'), new RegExp(s.id));
    await s[Symbol.asyncDispose]();
  });

  test('what is hidden and read-only', async () => {
    const r = await sh(
      'echo 1 > /proc/sys/kernel/panic; echo 1 > /proc/sysrq-trigger; ls /proc/acpi /sys/firmware | wc -l; mknod /tmp/d b 8 0; mount -t tmpfs x /mnt; echo end',
    );
    assert.match(r.stderr, /panic: Read-only|can't create \/proc\/sys\/kernel\/panic/);
    assert.match(r.stderr, /mknod.*not permitted/);
    assert.match(r.stdout, /end/);
  });

  describe('what cannot run says why', () => {
    const cases: [string, string | Uint8Array, number, number, RegExp][] = [
      ['missing-interpreter', '#!/usr/bin/python9\n', 0o755, 127, /interpreter \/usr\/bin\/python9 is not/],
      ['crlf', '#!/bin/sh\r\necho hi\r\n', 0o755, 127, /CRLF/],
      ['no-shebang', 'echo hi\n', 0o755, 126, /exec format error/],
      ['not-executable', '#!/bin/sh\n', 0o644, 126, /not executable/],
      ['arm64', armProgram(), 0o755, 126, /built for ARM 64/],
    ];
    for (const [name, content, mode, exitCode, message] of cases) {
      test(name, async () => {
        box.write(`app/${name}`, content, mode);
        await assert.rejects(run({ ...box.options, command: [`/app/${name}`] }), (error) => {
          assert.ok(error instanceof NsboxError);
          assert.match(error.message, message);
          assert.equal(error.exitCode, exitCode);
          return true;
        });
      });
    }
    test('a name that is nowhere in PATH', () =>
      assert.rejects(run({ ...box.options, command: ['nosuch'], env: { PATH: '/bin:/app' } }), (error) => {
        assert.match(
          (error as Error).message,
          /"nosuch": executable file not found in \$PATH \(searched \/bin:\/app\)/,
        );
        return true;
      }));
  });

  test('timeout, abort and too much output end it', async () => {
    await assert.rejects(sh('sleep 100', { timeout: 100 }), code('TIMEOUT'));
    await assert.rejects(sh('sleep 100', { signal: AbortSignal.timeout(100) }), code('ABORTED'));
    await assert.rejects(sh('sleep 100', { signal: AbortSignal.abort() }), code('ABORTED'));
    await assert.rejects(sh('yes', { maxBuffer: 10_000 }), code('INVALID_ARGUMENT'));
  });

  test('wrong options are named', async () => {
    await assert.rejects(run({ ...box.options, comand: ['x'] } as never), /unknown option "comand"/);
    await assert.rejects(
      run({ ...box.options, memory: '1g' } as never),
      /memory: expected a number, received "1g"/,
    );
    await assert.rejects(run({ command: ['x'] }), /exactly one of the options "image" and "rootfs"/);
    await assert.rejects(
      sh('x', { mounts: [{ source: '/no/such', target: '/x' }] }),
      /does not exist: \/no\/such/,
    );
  });

  test('a stream as input, and input that nobody reads', async () => {
    const r = await sh('wc -c', { stdin: Readable.from([Buffer.alloc(300_000)]) });
    assert.equal(r.stdout.trim(), '300000');
    assert.equal((await sh('exit 0', { stdin: Buffer.alloc(1_000_000) })).exitCode, 0);
  });

  test('twenty at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => sh(`echo ${i}; hostname`)));
    assert.deepEqual(
      all.map((r) => Number(r.stdout.split('\n')[0])),
      [...Array(20).keys()],
    );
    assert.equal(new Set(all.map((r) => r.stdout.split('\n')[1])).size, 20);
  });

  test('exec in a long-lived one', async () => {
    const s = await create({ ...box.options, command: ['sleep', '100'] });
    try {
      const p = await s.exec('echo $A; id -u; hostname; exit 9', { env: { A: 'b' } });
      let text = '';
      p.stdout.on('data', (c: Buffer) => {
        text += c;
      });
      assert.equal((await p.wait()).exitCode, 9);
      if (!p.stdout.closed) await new Promise((done) => p.stdout.once('close', done));
      assert.equal(text, `b\n0\n${s.id.slice(0, 12)}\n`);
      await assert.rejects(s.exec(['nosuch']), code('COMMAND_NOT_FOUND'));
    } finally {
      await s[Symbol.asyncDispose]();
    }
  });

  test('works in worker threads, and a worker that is stopped takes its sandbox along', async () => {
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.index).then(async ({ run, create }) => {
        const r = await run({ ...workerData.options, command: 'echo from a worker' });
        const s = await create({ ...workerData.options, command: ['sleep', '1000'] });
        parentPort.postMessage({ text: r.stdout, pid: s.pid });
      });`;
    const worker = new Worker(script, {
      eval: true,
      workerData: { index: path.join(packageRoot(), 'build/js/src/index.js'), options: box.options },
    });
    const message = await new Promise<{ text: string; pid: number }>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    assert.equal(message.text, 'from a worker\n');
    await worker.terminate();
    await waitUntil(() => !alive(message.pid), 'the sandbox of a stopped worker ends');
  });

  test('nothing is left', async () => {
    await waitUntil(() => readdirSync(path.join(box.root, 'sandboxes')).length === 0, 'no sandbox directory');
    assert.deepEqual(readdirSync(path.join(box.root, 'ids')), []);
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function waitUntil(done: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (done()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`waited 5 s in vain: ${what}`);
}

/** The header of a 64-bit program for another processor. */
function armProgram(): Uint8Array {
  const b = Buffer.alloc(128);
  b.writeUInt32BE(0x7f454c46, 0);
  b.set([2, 1, 1], 4);
  b.writeUInt16LE(2, 16);
  b.writeUInt16LE(183, 18);
  b.writeUInt32LE(1, 20);
  b.writeBigUInt64LE(64n, 32);
  b.writeUInt16LE(64, 52);
  b.writeUInt16LE(56, 54);
  return b;
}
