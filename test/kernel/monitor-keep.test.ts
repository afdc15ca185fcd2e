import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { attachSocket, MonitorClient } from '../../src/engine/index.js';
import { Capture, Kept, until } from '../support/kept.js';

test('output goes to the log as Docker writes it, and the end is recorded', async () => {
  await using kept = await new Kept().start(
    `printf 'one\\ntwo "q" <&>\\t\\001\\377\\342\\200\\250 \\303\\244\\n'; echo err >&2; printf unfinished; exit 7`,
    { keep: { log: { driver: 'json-file', maxSize: 0, maxFiles: 1, attributes: { a: 'b' } } } },
  );
  const report = await kept.launched!.exit;
  assert.equal(report?.code, 7);
  await until('the exit record', () => kept.exit !== undefined && kept.running === undefined);
  const raw = readFileSync(kept.paths.log, 'utf8').split('\n');
  assert.match(
    raw[0]!,
    /^\{"log":"one\\n","stream":"stdout","attrs":\{"a":"b"\},"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"\}$/,
  );
  assert.ok(
    raw[1]!.startsWith('{"log":"two \\"q\\" \\u003c\\u0026\\u003e\\u0009\\u0001\\ufffd\\u2028 ä\\n",'),
    raw[1],
  );
  const texts = kept.log.map((l) => [l.stream, l.log]);
  assert.ok(texts.some(([s, l]) => s === 'stderr' && l === 'err\n'));
  assert.ok(texts.some(([s, l]) => s === 'stdout' && l === 'unfinished'));
  const exit = kept.exit!;
  assert.deepEqual([exit.exitCode, exit.signal, exit.oomKilled, exit.restartCount], [7, 0, false, 0]);
  assert.ok(Date.parse(exit.finishedAt) >= Date.parse(exit.startedAt));
  assert.deepEqual(
    kept.events.map((e) => e.Action),
    ['start', 'die'],
  );
  assert.deepEqual(kept.events[1]!.Actor.Attributes, { exitCode: '7', image: 'test', name: 'kept' });
  assert.deepEqual(readdirSync(kept.paths.state), ['lock']);
});

test('long lines are cut at 16 KiB, never inside a character', async () => {
  await using kept = await new Kept().start(
    `head -c 40000 /dev/zero | tr '\\0' x; echo; printf y; i=0; while [ $i -lt 10000 ]; do printf '\\303\\244'; i=$((i+1)); done; echo`,
  );
  await kept.launched!.exit;
  await until('the end', () => kept.exit !== undefined);
  assert.deepEqual(
    kept.log.map((l) => Buffer.byteLength(l.log)),
    [16384, 16384, 7233, 16383, 3619],
  );
  assert.equal(new Set(kept.log.slice(0, 3).map((l) => l.time)).size, 1);
  assert.equal(
    kept.log
      .slice(3)
      .map((l) => l.log)
      .join(''),
    `y${'ä'.repeat(10000)}\n`,
  );
});

test('the log is rotated by size, and only so many files stay', async () => {
  await using kept = await new Kept().start(`i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done`, {
    keep: { log: { driver: 'json-file', maxSize: 8000, maxFiles: 3 } },
  });
  await kept.launched!.exit;
  await until('the end', () => kept.exit !== undefined);
  const files = readdirSync(kept.paths.data)
    .filter((f) => f.startsWith('log.json'))
    .sort();
  assert.deepEqual(files, ['log.json', 'log.json.1', 'log.json.2']);
  const numbers = kept.log.map((l) => Number(l.log.slice(5)));
  assert.equal(numbers.at(-1), 399);
  numbers.reduce((a, b) => {
    assert.equal(b, a + 1);
    return b;
  });
});

test('a client attached before the start misses nothing, also of a program that ends at once', async () => {
  for (let i = 0; i < 20; i++) {
    await using kept = new Kept();
    const out = new Capture(kept.stdout);
    const err = new Capture(kept.stderr);
    await kept.start('echo out; echo err >&2; exit 3', { attach: {} });
    const end = await kept.attachment!.done;
    assert.deepEqual(
      { ...end },
      { reason: 'exit', exitCode: 3, signal: 0, oomKilled: false, restarting: false },
    );
    assert.deepEqual([out.text, err.text], ['out\n', 'err\n']);
  }
});

test('stdin flows both ways with back-pressure, and its end is passed on', async () => {
  await using kept = new Kept();
  const stdin = new PassThrough();
  const out = new Capture(kept.stdout);
  await kept.start('cat', { stdin: true, attach: { stdin } });
  const block = Buffer.alloc(100_000, 'z');
  for (let i = 0; i < 20; i++) {
    if (!stdin.write(block)) await new Promise((resolve) => stdin.once('drain', resolve));
  }
  stdin.end();
  const end = await kept.attachment!.done;
  assert.equal(end.reason, 'exit');
  assert.equal(out.bytes, 2_000_000);
});

test('a program that ends while stdin still comes gives its exit code', async () => {
  await using kept = new Kept();
  const stdin = new PassThrough();
  await kept.start('head -c 10 >/dev/null; exit 5', { stdin: true, attach: { stdin } });
  const pump = setInterval(() => stdin.write(Buffer.alloc(65536)), 1);
  const end = await kept.attachment!.done;
  clearInterval(pump);
  assert.equal(end.reason === 'exit' && end.exitCode, 5);
});

test('a client that does not read blocks the program; one that is gone does not', async () => {
  await using kept = await new Kept().start(
    'i=0; while [ $i -lt 3000 ]; do printf "%01000d\\n" $i; i=$((i+1)); done; sleep 60',
  );
  const slow = await MonitorClient.connect(kept.paths.socket);
  await slow!.request({ type: 'attach', stdin: false, stdout: true, stderr: true });
  slow!.pause(true);
  const seen = () => kept.log.length;
  let before = -1;
  await until('the log stands still', () => {
    const now = seen();
    const still = now === before;
    before = now;
    return still && now > 0;
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const blocked = seen();
  assert.ok(blocked < 3000, `${blocked} lines`);
  slow!.close();
  await until('all of it', () => seen() === 3000);
});

test('a terminal: size, echo, detach keys, attach again', async () => {
  await using kept = new Kept();
  const stdin = new PassThrough();
  const out = new Capture(kept.stdout);
  await kept.start(
    'stty size; trap "stty size" WINCH; while [ "$l" != bye ]; do read -r l && echo "got $l"; done',
    {
      tty: true,
      stdin: true,
      attach: { stdin, size: { rows: 33, columns: 77 } },
    },
  );
  stdin.write('hello\n');
  await until('the echo', () => out.text.includes('got hello'));
  assert.match(out.text, /33 77\r\n/);
  kept.attachment!.resize({ rows: 40, columns: 100 });
  stdin.write('x\n');
  await until('the new size', () => out.text.includes('40 100'));
  stdin.write(Buffer.from([16]));
  stdin.write(Buffer.from([17]));
  assert.deepEqual(await kept.attachment!.done, { reason: 'detached' });
  const again = new PassThrough();
  const stdout = new PassThrough();
  const second = new Capture(stdout);
  const attachment = await attachSocket(kept.paths.socket, { stdin: again, stdout, tty: true });
  again.write('again\n');
  await until('the second echo', () => second.text.includes('got again'));
  again.write('bye\n');
  assert.equal((await attachment!.done).reason, 'exit');
});

test('stop: the signal, then KILL; not restarted', async () => {
  await using kept = await new Kept().start('trap "" TERM; echo ready; while :; do sleep 1; done', {
    keep: { restart: { name: 'always', maximumRetryCount: 0 } },
    detach: true,
  });
  await until('ready', () => kept.log.length > 0);
  const client = await MonitorClient.connect(kept.paths.socket);
  const began = performance.now();
  await client!.request({ type: 'stop', timeoutMs: 150 });
  const exit = await client!.exit;
  assert.ok(performance.now() - began >= 140);
  assert.deepEqual([exit?.exitCode, exit?.signal, exit?.restarting], [137, 9, false]);
  assert.equal(kept.exit?.exitCode, 137);
  assert.equal(kept.running, undefined);
  assert.deepEqual(
    kept.events.map((e) => e.Action + (e.Actor.Attributes['signal'] ?? '')),
    ['start', 'kill15', 'kill9', 'die', 'stop'],
  );
});

test('TERM to the monitor stops the container', async () => {
  await using kept = await new Kept().start('trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done', {
    detach: true,
  });
  await until('ready', () => kept.log.length > 0);
  process.kill(kept.running!.monitorPid, 'SIGTERM');
  await until('the end', () => kept.exit !== undefined);
  assert.equal(kept.exit?.exitCode, 9);
});

test('on-failure restarts with growing pauses, so often and no more', async () => {
  await using kept = await new Kept().start('echo run; exit 4', {
    keep: { restart: { name: 'on-failure', maximumRetryCount: 2 } },
    detach: true,
  });
  const began = performance.now();
  await until('the end', () => kept.exit?.restartCount === 2 && kept.running === undefined);
  assert.ok(performance.now() - began >= 280);
  assert.deepEqual(
    kept.events.map((e) => e.Action),
    ['start', 'die', 'start', 'die', 'start', 'die'],
  );
  assert.deepEqual(
    kept.log.map((l) => l.log),
    ['run\n', 'run\n', 'run\n'],
  );
  assert.equal(kept.exit?.exitCode, 4);
});

test('while a restart is awaited: restarting on record, and stop ends it', async () => {
  await using kept = await new Kept().start('exit 1', {
    keep: { restart: { name: 'always', maximumRetryCount: 0 } },
    detach: true,
  });
  await until('restarting', () => kept.running?.state === 'restarting' && kept.running.restartCount >= 2);
  assert.equal(kept.running!.pid, 0);
  const client = await MonitorClient.connect(kept.paths.socket);
  client!.tell({ type: 'stop' });
  await client!.exit;
  await until('no record', () => kept.running === undefined);
  assert.equal(kept.exit?.exitCode, 1);
});

test('--rm: nothing stays', async () => {
  await using kept = await new Kept().start('exit 0', { keep: { autoRemove: true }, attach: {} });
  assert.equal((await kept.attachment!.done).reason, 'exit');
  assert.equal(existsSync(kept.paths.data), false);
  assert.equal(existsSync(kept.paths.state), false);
});

test('kill -9 of the monitor ends the program', async () => {
  await using kept = await new Kept().start('sleep 1000', { detach: true });
  const { pid, monitorPid } = kept.running!;
  process.kill(monitorPid, 'SIGKILL');
  await until(
    'the program to go',
    () => !existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')),
  );
  assert.ok(kept.running, 'the record tells recover() that there was a run');
});

test('the end of the runtime is the end of a container of the library', async () => {
  await using kept = await new Kept().start('sleep 1000', { keep: { dieWithRuntime: true } });
  kept.launched!.monitor.close();
  await until('the end', () => kept.exit !== undefined);
  assert.equal(kept.exit?.exitCode, 137);
});

test('an idle monitor takes less than half a MiB', async (t) => {
  await using kept = await new Kept().start('echo hello; sleep 1000', { detach: true });
  await until('hello', () => kept.log.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 1300)); // it makes itself small after a quiet second
  const rollup = readFileSync(`/proc/${kept.running!.monitorPid}/smaps_rollup`, 'utf8');
  const pss = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)![1]);
  assert.ok(pss <= 512, `${pss} KiB`);
  t.diagnostic(`PSS of an idle monitor: ${pss} KiB`);
});

test('health checks: one after the other, the start interval until one succeeds, none after the end', async () => {
  await using kept = new Kept();
  const file = `${kept.directory}/checks`;
  const lines = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []);
  // The third succeeds, and the fourth stays.
  const check = `echo $$ $(date +%s%N) >> ${file}; n=$(wc -l < ${file}); [ $n -lt 4 ] || exec sleep 1000; [ $n -eq 3 ]`;
  await kept.start('sleep 1000', {
    keep: {
      health: {
        command: ['/bin/sh', '-c', check],
        intervalMs: 300,
        startIntervalMs: 10,
        startPeriodMs: 60_000,
      },
    },
  });
  await until('the fourth', () => lines().length === 4);
  const times = lines().map((line) => Number(line.split(' ')[1]) / 1e6);
  assert.ok(times[3]! - times[2]! >= 290, `the interval after a success: ${times}`);
  const pid = lines()[3]!.split(' ')[0];
  assert.ok(existsSync(`/proc/${pid}`));
  kept.launched!.monitor.signal(9);
  await until('the end', () => kept.exit !== undefined);
  await until('the end of the check', () => !existsSync(`/proc/${pid}`));
  assert.equal(lines().length, 4);
});

test('health checks: none with the monitor killed', async () => {
  await using kept = new Kept();
  const file = `${kept.directory}/check`;
  await kept.start('sleep 1000', {
    keep: {
      health: {
        command: ['/bin/sh', '-c', `echo $$ > ${file}.new; mv ${file}.new ${file}; exec sleep 1000`],
        intervalMs: 1,
        startIntervalMs: 1,
        startPeriodMs: 0,
      },
    },
  });
  await until('the check', () => existsSync(file));
  const pid = readFileSync(file, 'utf8').trim();
  process.kill(kept.launched!.monitor.pid, 'SIGKILL');
  await until('the end of the check', () => !existsSync(`/proc/${pid}`));
});
