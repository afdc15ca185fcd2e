import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { after, describe, test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import {
  type Attachment,
  attachContainer,
  attachSocket,
  type ContainerRecord,
  containerPaths,
  createContainer,
  type ExitRecord,
  eventsFile,
  execInContainer,
  type LogEntry,
  openEngine,
  pauseContainer,
  readLogs,
  recover,
  removeContainer,
  renameContainer,
  restartContainer,
  setRestartPolicy,
  signalContainer,
  startContainer,
  stateOf,
  stopContainer,
  waitContainer,
} from '../../src/engine/index.js';
import { type ContainerRequest, emptyRequest } from '../../src/spec/index.js';
import { Capture, until } from '../support/kept.js';
import { noBusybox, TestRoot } from '../support/rootfs.js';

describe('the life of a container', { skip: noBusybox }, () => {
  const box = noBusybox ? undefined! : new TestRoot('life');
  const warnings: string[] = [];
  const ctx = box && makeContext({ root: box.root, state: box.state, warn: (w) => warnings.push(w) });
  after(async () => {
    if (!box) return;
    for (const record of openEngine(ctx).list()) await removeContainer(ctx, record, { force: true });
    await recover(ctx);
    box[Symbol.dispose]();
  });

  const make = (script: string, more: Partial<ContainerRequest> = {}): Promise<ContainerRecord> =>
    createContainer(ctx, {
      ...emptyRequest(),
      rootfs: box.rootfs,
      command: ['sh', '-c', script],
      networks: [{ network: 'none' }],
      ...more,
    });
  const start = async (record: ContainerRecord): Promise<void> => {
    const launched = await startContainer(ctx, record);
    launched?.monitor.close();
  };
  const logs = async (record: ContainerRecord, follow = false): Promise<string> => {
    let out = '';
    for await (const e of readLogs(ctx, record, { follow })) out += (e as LogEntry).text;
    return out;
  };
  const exitOf = (record: ContainerRecord): ExitRecord =>
    JSON.parse(readFileSync(containerPaths(ctx, record.id).exit, 'utf8')) as ExitRecord;

  test('create, start, logs, wait, start again, remove', async () => {
    const record = await make('echo hello $$; exit 3', { name: 'first' });
    assert.equal(stateOf(ctx, record).status, 'created');
    assert.equal(await waitContainer(ctx, record), 0);
    await start(record);
    assert.equal(await waitContainer(ctx, record), 3);
    assert.equal(stateOf(ctx, record).status, 'exited');
    assert.equal(await logs(record), 'hello 1\n');
    await start(record);
    assert.equal(await logs(record, true), 'hello 1\nhello 1\n');
    const removed = waitContainer(ctx, record, 'removed');
    await removeContainer(ctx, record);
    assert.equal(await removed, 3);
    assert.equal(existsSync(containerPaths(ctx, record.id).data), false);
  });

  test('run in the foreground: stdin to its end, output whole, exit code', async () => {
    const record = await make('cat; echo done >&2; exit 9', { interactive: true, autoRemove: true });
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const [out, err] = [new Capture(stdout), new Capture(stderr)];
    let attachment: Attachment | undefined;
    const launched = await startContainer(ctx, record, {
      attach: async (socket) => {
        attachment = await attachSocket(socket, { stdin, stdout, stderr, tty: false });
      },
    });
    stdin.end(Buffer.alloc(300_000, 'q'));
    const end = await attachment!.done;
    assert.equal(end.reason === 'exit' && end.exitCode, 9);
    assert.equal(out.bytes, 300_000);
    assert.equal(err.text, 'done\n');
    await launched!.exit;
    await until('its removal', () => !existsSync(containerPaths(ctx, record.id).data));
  });

  test('a terminal that is detached from and attached to again', async () => {
    const record = await make('stty size; read -r a; echo "a=$a"; read -r b; echo "b=$b"', {
      interactive: true,
      tty: true,
    });
    const streams = () => ({ stdin: new PassThrough(), stdout: new PassThrough() });
    const first = streams();
    const seen = new Capture(first.stdout);
    let attachment: Attachment | undefined;
    await startContainer(ctx, record, {
      attach: async (socket) => {
        attachment = await attachSocket(socket, { ...first, tty: true });
      },
      terminalSize: { rows: 31, columns: 91 },
    });
    first.stdin.write('one\n');
    await until('one', () => seen.text.includes('a=one'));
    assert.match(seen.text, /31 91/);
    first.stdin.write('\x10\x11');
    assert.equal((await attachment!.done).reason, 'detached');
    assert.equal(stateOf(ctx, record).status, 'running');
    const second = streams();
    const again = new Capture(second.stdout);
    const back = await attachContainer(ctx, record, second);
    second.stdin.write('two\n');
    const end = await back.done;
    assert.equal(end.reason === 'exit' && end.exitCode, 0);
    assert.match(again.text, /b=two/);
    await assert.rejects(attachContainer(ctx, record, streams()), /cannot attach to a stopped container/);
  });

  test('stop, kill, restart, pause, rename and exec on the same container', async () => {
    const record = await make('trap "exit 5" TERM; echo up; while :; do sleep 0.05; done', { name: 'loop' });
    await assert.rejects(signalContainer(ctx, record), /is not running/);
    await start(record);
    await until('up', () => existsSync(containerPaths(ctx, record.id).log));
    await execInContainer(ctx, record, { command: ['true'], stdio: [-1, -1, -1] } as never).then(
      (l) => l.exit,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await stopContainer(ctx, record);
    assert.equal(exitOf(record).exitCode, 5);
    await restartContainer(ctx, record);
    const first = stateOf(ctx, record).running!;
    await restartContainer(ctx, record, { timeout: 0 });
    assert.notEqual(stateOf(ctx, record).running!.pid, first.pid);
    await pauseContainer(ctx, record);
    assert.equal(stateOf(ctx, record).status, 'paused');
    await stopContainer(ctx, record, { timeout: 1 });
    assert.equal(stateOf(ctx, record).status, 'exited');
    await start(record);
    await renameContainer(ctx, record, 'other');
    await signalContainer(ctx, record, 'KILL');
    assert.equal(exitOf(record).exitCode, 137);
    const events = readFileSync(eventsFile(ctx), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((l) => JSON.parse(l))
      .filter((e) => e.Actor.ID === record.id);
    const last = events.findLast((e) => e.Action === 'die');
    assert.deepEqual([last.Actor.Attributes.name, last.Actor.Attributes.exitCode], ['other', '137']);
    assert.ok(events.some((e) => e.Action === 'restart'));
    assert.equal(events.filter((e) => e.Action === 'start').length, 4);
  });

  test('restart policies replay the plan, and can be changed while it runs', async () => {
    const record = await make('echo run; sleep 0.02; exit 1', {
      restart: { name: 'always', maximumRetryCount: 0 },
    });
    await start(record);
    await until('two restarts', () => (stateOf(ctx, record).running?.restartCount ?? 0) >= 2);
    await setRestartPolicy(ctx, record, { name: 'no', maximumRetryCount: 0 });
    await until('the end', () => stateOf(ctx, record).status === 'exited');
    assert.ok((await logs(record)).split('\n').length >= 3);
  });

  test('several starts at once are one start, and a removal waits for it', async () => {
    const record = await make('sleep 1000', { networks: [{ network: 'none' }] });
    const started = await Promise.all([1, 2, 3, 4].map(() => startContainer(ctx, record)));
    assert.equal(started.filter((s) => s !== undefined).length, 1);
    for (const s of started) s?.monitor.close();
    assert.equal(stateOf(ctx, record).status, 'running');
    const other = await make('sleep 1000');
    const [result] = await Promise.allSettled([
      startContainer(ctx, other).then((s) => s?.monitor.close()),
      removeContainer(ctx, other, { force: true }),
    ]);
    if (result.status === 'rejected') assert.match(String(result.reason), /No such container|being removed/);
    assert.equal(existsSync(containerPaths(ctx, other.id).data), false);
    await removeContainer(ctx, record, { force: true });
  });

  test('what makes no sense is refused when the container is made', async () => {
    await assert.rejects(
      make('true', { log: { driver: 'json-file', options: { 'max-size': 'lots' } } }),
      /invalid log opt max-size=lots/,
    );
    await assert.rejects(make('true', { stopSignal: 'SIGNOPE' }), /unknown signal "SIGNOPE"/);
  });

  test('a killed monitor: the program dies with it, and recover() puts the records right', async () => {
    const record = await make('sleep 1000');
    await start(record);
    const { running } = stateOf(ctx, record);
    const waiting = waitContainer(ctx, record);
    process.kill(running!.monitorPid, 'SIGKILL');
    assert.equal(await waiting, 137);
    await until('the program to go', () => !existsSync(`/proc/${running!.pid}`));
    await recover(ctx);
    assert.equal(stateOf(ctx, record).status, 'exited');
    assert.match(exitOf(record).error!, /monitor/);
    await start(record);
    assert.equal(stateOf(ctx, record).status, 'running');
    await removeContainer(ctx, record, { force: true });
  });
});
