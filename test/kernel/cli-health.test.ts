import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import type { Health } from '../../src/engine/index.js';
import { CliRig } from '../support/cli.js';
import { eventually } from '../support/network.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox;
const BUSYBOX = path.join(packageRoot(), 'dist/images/busybox.tar');
const NET = ['--network', 'none'];
/** Checks as often as they end. */
const OFTEN = ['--health-interval', '50ms'];

/** Pids of processes on this machine whose command line has a word; a zombie (pid 1 may reap nothing) has none. */
function processesWith(word: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(word);
    } catch {
      return false; // it has ended
    }
  });
}

describe('health checks', { skip }, () => {
  const rig = skip ? undefined! : new CliRig('health');
  before(() => rig.ok('load', '-q', '-i', BUSYBOX));
  after(() => rig?.[Symbol.asyncDispose]());

  const start = (name: string, flags: string[], ...command: string[]) =>
    rig.ok(
      ...['run', '-d', '--name', name, ...NET, ...flags, 'busybox'],
      ...(command.length > 0 ? command : ['sleep', '1000']),
    );
  const health = async (name: string): Promise<Health> =>
    JSON.parse(await rig.ok('inspect', '-f', '{{json .State.Health}}', name));
  const becomes = (name: string, status: string) =>
    eventually(`${name} is ${status}`, async () => (await health(name)).Status === status, 60_000);
  const checks = async (name: string): Promise<string[]> =>
    (await health(name)).Log.map((entry) => `${entry.Start} ${entry.ExitCode}`);
  const names = (...filters: string[]) =>
    rig.ok('ps', '--format', '{{.Names}}', ...filters.flatMap((f) => ['-f', f]));
  const events = async (name: string): Promise<string[]> =>
    (
      await rig.ok(
        ...['events', '--since', '10m', '--until', '0s', '-f', `container=${name}`],
        ...['-f', 'event=health_status', '--format', '{{.Action}}'],
      )
    )
      .split('\n')
      .filter(Boolean);

  it('a container is starting, healthy, unhealthy and healthy again', async () => {
    const flags = ['--health-cmd', 'cat /ok', '--health-retries', '2', '--health-interval', '100ms'];
    await start('changes', [...flags, '--health-start-period', '1h', '--health-start-interval', '50ms']);
    await start('without', []);
    assert.match(await rig.ok('ps', '-f', 'name=changes'), / \(health: starting\) /);
    assert.equal(await names('health=starting'), 'changes');
    assert.equal(await names('health=none'), 'without');
    await eventually('a failed check', async () => (await health('changes')).Log.length >= 3);
    const first = await health('changes');
    assert.equal(first.Status, 'starting', 'within the start period');
    assert.equal(first.FailingStreak, 0);
    assert.deepEqual([first.Log[0]!.ExitCode, /ok.*No such file/.test(first.Log[0]!.Output)], [1, true]);
    assert.ok(Date.parse(first.Log[0]!.Start) <= Date.parse(first.Log[0]!.End));

    await rig.ok('exec', 'changes', 'sh', '-c', 'echo fine > /ok');
    await becomes('changes', 'healthy');
    assert.match(await rig.ok('ps', '-f', 'name=changes'), /Up [^(]+ \(healthy\) /);
    assert.equal(await names('health=healthy'), 'changes');
    assert.deepEqual((await health('changes')).Log.at(-1)!.Output, 'fine\n');

    await rig.ok('exec', 'changes', 'rm', '/ok');
    await becomes('changes', 'unhealthy');
    assert.ok((await health('changes')).FailingStreak >= 2);
    assert.match(await rig.ok('ps', '-f', 'name=changes'), /Up [^(]+ \(unhealthy\) /);
    assert.equal(await names('health=unhealthy'), 'changes');

    await rig.ok('exec', 'changes', 'touch', '/ok');
    await becomes('changes', 'healthy');
    assert.ok((await health('changes')).Log.length <= 5);
    assert.deepEqual(await events('changes'), [
      'health_status: healthy',
      'health_status: unhealthy',
      'health_status: healthy',
    ]);
    assert.deepEqual(JSON.parse(await rig.ok('inspect', '-f', '{{json .Config.Healthcheck}}', 'changes')), {
      Test: ['CMD-SHELL', 'cat /ok'],
      Interval: 1e8,
      StartPeriod: 3600e9,
      StartInterval: 5e7,
      Retries: 2,
    });
    assert.equal(await rig.ok('inspect', '-f', '{{json .State.Health}}', 'without'), 'null');
    await rig.ok('rm', '-f', 'changes', 'without');
  });

  it('a check that takes too long is killed with what it started', async () => {
    const word = `87654.${process.pid}`;
    await start('slow', [
      ...['--health-cmd', `echo begun; sleep ${word}; true`],
      ...['--health-timeout', '200ms', '--health-retries', '1', '--health-interval', '10ms'],
      ...['--health-start-period', '5s', '--health-start-interval', '10ms'],
    ]);
    await eventually('a check', async () => (await health('slow')).Log.length > 0);
    const [entry] = (await health('slow')).Log;
    assert.equal(entry!.ExitCode, -1);
    assert.equal(entry!.Output, 'Health check exceeded timeout (200ms): begun\n');
    await becomes('slow', 'unhealthy'); // after the start period
    await eventually('no test is left', () => processesWith(word).length === 0);
    await rig.ok('rm', '-f', 'slow');
  });

  it('the start interval is that of the start period, until the first success', async () => {
    await start('soon', [
      ...['--health-cmd', 'test -e /ok', '--health-interval', '1h'],
      ...['--health-start-period', '1h', '--health-start-interval', '20ms'],
    ]);
    await eventually('checks', async () => (await health('soon')).Log.length >= 2);
    await rig.ok('exec', 'soon', 'touch', '/ok');
    await becomes('soon', 'healthy');
    const before = await checks('soon');
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.deepEqual(await checks('soon'), before);
    await rig.ok('rm', '-f', 'soon');
  });

  it('a check that is run by hand counts, and its exit code tells', async () => {
    await start('hand', ['--health-cmd', 'test -e /ok', '--health-interval', '1h', '--health-retries', '1']);
    const run = () => rig.nsbox(['healthcheck', 'run', 'hand']);
    assert.deepEqual(
      { ...(await run()), signal: null },
      {
        code: 1,
        signal: null,
        stdout: 'unhealthy\n',
        stderr: '',
      },
    );
    await rig.ok('exec', 'hand', 'touch', '/ok');
    assert.equal((await run()).code, 0);
    assert.equal((await health('hand')).Status, 'healthy');
    assert.deepEqual(await events('hand'), ['health_status: unhealthy', 'health_status: healthy']);
    await rig.ok('pause', 'hand');
    const paused = await run();
    assert.deepEqual([paused.code, paused.stderr], [125, 'nsbox: container hand is paused\n']);
    await rig.ok('unpause', 'hand');
    await rig.ok('stop', '-t', '0', 'hand');
    const ended = await run();
    assert.deepEqual([ended.code, ended.stderr], [125, 'nsbox: container hand is not running\n']);
    const last = await health('hand');
    assert.deepEqual([last.Status, last.Log.length], ['unhealthy', 2], 'what is known stays');
    await rig.ok('rm', 'hand');
    await start('plain', []);
    const plain = await rig.nsbox(['healthcheck', 'run', 'plain']);
    assert.deepEqual(
      [plain.code, plain.stderr],
      [125, 'nsbox: container plain has no defined healthcheck\n'],
    );
    await rig.ok('rm', '-f', 'plain');
  });

  it('user, environment and directory are the container’s; what can’t be executed is told', async () => {
    await start('own', [
      ...['--health-cmd', 'id -u; pwd; echo $A', '-u', '7:8', '-w', '/tmp', '-e', 'A=b'],
      ...['--health-interval', '1h'],
    ]);
    await rig.ok('healthcheck', 'run', 'own');
    assert.equal((await health('own')).Log[0]!.Output, '7\n/tmp\nb\n');
    await rig.ok('commit', '--change', 'HEALTHCHECK CMD ["/no/such"]', 'own', 'without-program');
    await rig.ok('run', '-d', '--name', 'lost', ...NET, 'without-program', 'sleep', '1000');
    assert.equal((await rig.nsbox(['healthcheck', 'run', 'lost'])).code, 1);
    const [entry] = (await health('lost')).Log;
    assert.deepEqual([entry!.ExitCode, /\/no\/such/.test(entry!.Output)], [-1, true], entry!.Output);
    await rig.ok('rm', '-f', 'own', 'lost');
  });

  it('no more than 4096 bytes of output are kept', async () => {
    await start('loud', ['--health-cmd', 'yes | head -c 100000', '--health-interval', '1h']);
    await rig.ok('healthcheck', 'run', 'loud');
    const { Output } = (await health('loud')).Log[0]!;
    assert.deepEqual([Output.length, Output.slice(-4)], [4099, '\n...']);
    await rig.ok('rm', '-f', 'loud');
  });

  it('an image’s check is run; flags change it and --no-healthcheck turns it off', async () => {
    await start('base', []);
    const change = 'HEALTHCHECK --interval=50ms --retries=9 CMD test -e /bin/sh';
    await rig.ok('commit', '--change', change, 'base', 'checked');
    const config = async (name: string) =>
      JSON.parse(await rig.ok('inspect', '-f', '{{json .Config.Healthcheck}}', name));
    const run = (name: string, ...flags: string[]) =>
      rig.ok('run', '-d', '--name', name, ...NET, ...flags, 'checked', 'sleep', '1000');
    const own = { Test: ['CMD-SHELL', 'test -e /bin/sh'], Interval: 5e7, Retries: 9 };
    await run('as-it-is');
    assert.deepEqual(await config('as-it-is'), own);
    await becomes('as-it-is', 'healthy');
    await run('changed', '--health-cmd', 'false', '--health-retries', '1');
    assert.deepEqual(await config('changed'), { ...own, Test: ['CMD-SHELL', 'false'], Retries: 1 });
    await becomes('changed', 'unhealthy');
    await run('off', '--no-healthcheck');
    assert.deepEqual((await config('off')).Test, ['NONE']);
    assert.equal(await rig.ok('inspect', '-f', '{{json .State.Health}}', 'off'), 'null');
    assert.match(await rig.ok('ps', '-f', 'name=off'), / Up [^(]+ off$/);
    // And so does an image that is made of it.
    await rig.ok('commit', 'changed', 'again');
    assert.deepEqual(
      JSON.parse(await rig.ok('image', 'inspect', '-f', '{{json .Config.Healthcheck}}', 'again')),
      await config('changed'),
    );
    await rig.ok('rm', '-f', 'base', 'as-it-is', 'changed', 'off');
  });

  it('each run starts afresh', async () => {
    await start('again', ['--health-cmd', 'test -e /ok', ...OFTEN, '--health-retries', '1']);
    await becomes('again', 'unhealthy');
    await rig.ok('exec', 'again', 'touch', '/ok');
    await becomes('again', 'healthy');
    const before = await checks('again');
    await rig.ok('restart', '-t', '0', 'again');
    await becomes('again', 'healthy');
    assert.deepEqual(
      (await checks('again')).filter((entry) => before.includes(entry)),
      [],
    );
    await rig.ok('rm', '-f', 'again');
    // By the monitor, too.
    const flags = ['--restart', 'always', '--health-cmd', 'true', ...OFTEN];
    await start('returns', flags);
    await becomes('returns', 'healthy');
    process.kill(Number(await rig.ok('inspect', '-f', '{{.State.Pid}}', 'returns')), 'SIGKILL');
    await eventually(
      'a restart',
      async () => (await rig.ok('inspect', '-f', '{{.RestartCount}}', 'returns')) !== '0',
    );
    await becomes('returns', 'healthy');
    assert.ok((await events('returns')).length >= 2);
    await rig.ok('rm', '-f', 'returns');
  });

  it('a paused container is not checked', async () => {
    await start('still', ['--health-cmd', 'true', ...OFTEN]);
    await becomes('still', 'healthy');
    await rig.ok('pause', 'still');
    await new Promise((resolve) => setTimeout(resolve, 500)); // one may have been at its last line
    const paused = await checks('still');
    assert.match(await rig.ok('ps', '-f', 'name=still'), /Up [^(]+ \(Paused\) /);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert.deepEqual(await checks('still'), paused);
    await rig.ok('unpause', 'still');
    await eventually('a check', async () => String(await checks('still')) !== String(paused));
    await rig.ok('rm', '-f', 'still');
  });

  it('rm -f, --rm and kill -9 during a check leave nothing', async () => {
    const word = `98765.${process.pid}`;
    const flags = ['--health-cmd', `sleep ${word}; true`, ...OFTEN];
    for (const [name, ...more] of [['forced'], ['gone', '--rm']] as const) {
      const id = await start(name, [...flags, ...more]);
      await eventually('a check', () => processesWith(`sleep\0${word}`).length > 0);
      await (more.length > 0 ? rig.ok('stop', '-t', '0', name) : rig.ok('rm', '-f', name));
      await eventually('no process', () => processesWith(word).length + processesWith(id).length === 0);
      for (const place of [rig.box.root, rig.box.state]) {
        await eventually('no file', () => !existsSync(path.join(place, 'containers', id)));
      }
    }
    // The checking process alone: its test goes with it, and the next check comes.
    const id = await start('bereft', flags);
    const tests = () => processesWith(`sleep\0${word}`);
    const checkers = () => processesWith(id).filter((pid) => processesWith('healthcheck').includes(pid));
    await eventually('a check', () => tests().length > 0);
    const [first] = tests();
    for (const pid of checkers()) process.kill(Number(pid), 'SIGKILL');
    await eventually('its test has gone', () => !tests().includes(first!));
    await eventually('another check', () => tests().length > 0);
    assert.equal((await health('bereft')).Status, 'starting');
    await rig.ok('rm', '-f', 'bereft');
    await eventually('no process', () => processesWith(word).length + processesWith(id).length === 0);
  });

  it('wrong flags are refused as Docker refuses them', async () => {
    const refused: [string[], RegExp][] = [
      [['--no-healthcheck', '--health-retries', '1'], /--no-healthcheck conflicts with --health-\* options/],
      [['--health-interval', '-1s'], /--health-interval cannot be negative/],
      [['--health-interval', '1us'], /Interval in Healthcheck cannot be less than 1ms/],
      [['--health-timeout', '10'], /time: missing unit in duration "10"/],
    ];
    for (const [flags, message] of refused) {
      const r = await rig.nsbox(['create', ...NET, ...flags, 'busybox', 'true']);
      assert.match(r.stderr, message);
      assert.equal(r.code, 125);
    }
    const r = await rig.nsbox(['ps', '-f', 'health=ill']);
    assert.match(r.stderr, /invalid filter 'health=ill' \(expected starting, healthy, unhealthy, none\)/);
    assert.equal(r.code, 1);
    assert.equal(await rig.ok('ps', '-aq'), '');
  });
});
