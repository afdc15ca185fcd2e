import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliRig, collect, NSBOX } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox;
const noScript = existsSync('/usr/bin/script')
  ? false
  : '/usr/bin/script is missing: apt-get install bsdutils';

describe('nsbox run', { skip }, () => {
  const rig = skip ? undefined! : new CliRig('cli');
  after(() => rig?.[Symbol.asyncDispose]());

  it('gives output, errors and exit code of the program', async () => {
    const r = await rig.run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([r.code, r.stdout, r.stderr], [7, 'out\n', 'err\n']);
    const killed = await rig.run(['--rm', '--init'], 'sh', '-c', 'kill -9 $$');
    assert.equal(killed.code, 137);
  });

  it('passes standard input to its end with -i, and none without', async () => {
    const args = ['run', '--rm', '--network', 'none'];
    const big = Buffer.alloc(3_000_000, 'abcdefghi\n');
    const r = await rig.nsbox([...args, '-i', '--rootfs', rig.box.rootfs, 'wc', '-c'], { input: big });
    assert.equal(r.stdout.trim(), '3000000');
    const without = await rig.nsbox([...args, '--rootfs', rig.box.rootfs, 'wc', '-c'], { input: 'x' });
    assert.equal(without.stdout.trim(), '0');
  });

  it('names lines of the sources with --debug', async () => {
    const r = await rig.nsbox(['--debug', 'run', '--rm', '--rootfs', `${rig.box.rootfs}/nosuch`, 'true']);
    assert.notEqual(r.code, 0);
    assert.match(r.stderr, /^ {4}at (async )?src\/\S+\.ts:\d+:\d+$/m);
  });

  it('loses nothing of much output', async () => {
    const r = await rig.run(['--rm'], 'sh', '-c', 'seq 1 200000; seq 1 1000 >&2');
    assert.equal(r.stdout.length, 1_288_895);
    assert.ok(r.stdout.endsWith('199999\n200000\n'));
    assert.equal(r.stderr.split('\n').length, 1001);
  });

  it('says what is wrong with a program, and how', async () => {
    rig.box.write('app/crlf', '#!/bin/sh\r\necho x\n', 0o755);
    rig.box.write('app/gone', '#!/no/such/interpreter\n', 0o755);
    rig.box.write('app/data', 'not a program\0\x01', 0o755);
    rig.box.write('app/plain', 'echo x\n', 0o644);
    const elf = Buffer.from(readFileSync('/bin/busybox').subarray(0, 4096));
    elf.writeUInt16LE(0xb7 + 0x3b, 18); // e_machine: none of ours
    rig.box.write('app/foreign', elf, 0o755);
    const cases: [string, number, RegExp][] = [
      ['nosuch', 127, /"nosuch".*not found.*\/usr\/local\/sbin:\/usr\/local\/bin/],
      ['/app/nosuch', 127, /\/app\/nosuch.*no such file/],
      ['/app/crlf', 127, /carriage return|CRLF|\\r/i],
      ['/app/gone', 127, /\/no\/such\/interpreter/],
      ['/app/plain', 126, /permission denied|not executable/i],
      ['/app/data', 126, /exec format error|not a program|format/i],
      ['/app/foreign', 126, /architecture|format/i],
      ['/app', 126, /directory|permission denied/i],
    ];
    for (const [program, code, message] of cases) {
      const r = await rig.run(['--rm'], program);
      assert.match(r.stderr, message, program);
      assert.match(r.stderr, /^nsbox: [^\n]*\n$/, program);
      assert.deepEqual([r.code, r.stdout], [code, ''], `${program}: ${r.stderr}`);
    }
    assert.equal(await rig.ok('ps', '-aq'), '');
  });

  it('leaves nothing of a --rm container', async () => {
    await rig.run(['--rm', '-v', '/data', '--name', 'once'], 'true');
    assert.equal(await rig.ok('ps', '-aq'), '');
    assert.equal(await rig.ok('volume', 'ls', '-q'), '');
    for (const dir of ['containers', 'names', 'ids']) {
      assert.deepEqual(readdirSync(path.join(rig.box.root, dir)), [], dir);
    }
    assert.deepEqual(readdirSync(path.join(rig.box.state, 'containers')), []);
  });

  it('sets what the flags ask for', async () => {
    const script = 'id; pwd; hostname; echo $A$B; ulimit -n; cat /proc/self/oom_score_adj; umask';
    const r = await rig.run(
      [
        '--rm',
        '-eA=1',
        '-e',
        'B=2',
        '-w',
        '/app',
        '-u',
        'app',
        '--group-add',
        '2000',
        '-h',
        'box',
        '--ulimit',
        'nofile=99',
      ],
      'sh',
      '-c',
      script,
    );
    assert.equal(r.stdout.split('\n')[0], 'uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)');
    assert.deepEqual(r.stdout.split('\n').slice(1, 5), ['/app', 'box', '12', '99'], r.stderr);
  });

  it('mounts volumes, binds and tmpfs', async () => {
    const dir = path.join(rig.box.directory, 'bind');
    const flags = ['--rm', '-v', `${dir}:/bind`, '-v', 'data:/data', '--tmpfs', '/run:size=1m'];
    const r = await rig.run(
      flags,
      'sh',
      '-c',
      'echo 1 > /bind/a; echo 2 > /data/b; df -k /run | tail -1; id -u',
    );
    assert.match(r.stdout, /1024/, r.stderr);
    assert.equal(readFileSync(`${dir}/a`, 'utf8'), '1\n');
    const ro = await rig.run(
      ['--rm', '-v', `${dir}:/bind:ro`, '-v', 'data:/data'],
      'sh',
      '-c',
      'cat /data/b; touch /bind/x',
    );
    assert.match(ro.stdout, /2/);
    assert.match(ro.stderr, /Read-only/);
    const missing = await rig.run(['--mount', 'type=bind,src=/no/such,dst=/x'], 'true');
    assert.equal(missing.code, 125);
    assert.match(missing.stderr, /bind source path does not exist: \/no\/such/);
    const gone = await rig.nsbox(['volume', 'rm', 'data']);
    assert.equal(gone.stdout, 'data\n');
  });

  it('writes id files, and refuses old ones', async () => {
    const cid = path.join(rig.box.directory, 'cid');
    const pid = path.join(rig.box.directory, 'pid');
    const id = await rig.start(['--cidfile', cid, '--pidfile', pid], 'sleep', '100');
    assert.equal(readFileSync(cid, 'utf8'), id);
    assert.match(readlinkSync(`/proc/${readFileSync(pid, 'utf8')}/exe`), /busybox/);
    const again = await rig.run(['--cidfile', cid], 'true');
    assert.equal(again.code, 125);
    assert.match(again.stderr, /container ID file found/);
    await rig.ok('rm', '-f', id);
  });

  it('passes signals on', async () => {
    const child = rig.spawn([
      'run',
      '--rm',
      '--network',
      'none',
      '--rootfs',
      rig.box.rootfs,
      'sh',
      '-c',
      'trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.05; done',
    ]);
    const done = collect(child);
    await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
    child.kill('SIGTERM');
    const r = await done;
    assert.deepEqual([r.code, r.stdout], [9, 'ready\ngot\n']);
  });

  it('keeps a container when its reader or nsbox itself goes', async () => {
    const child = rig.spawn([
      'run',
      '--name',
      'stays',
      '--network',
      'none',
      '--rootfs',
      rig.box.rootfs,
      'sleep',
      '100',
    ]);
    for (let i = 0; i < 100 && (await rig.ok('ps', '-q')) === ''; i++) await sleep(50);
    child.kill('SIGKILL');
    await collect(child);
    assert.equal(await rig.ok('ps', '--format', '{{.Names}} {{.State}}'), 'stays running');
    await rig.ok('rm', '-f', 'stays');
  });

  it('prints the plan, and does nothing', async () => {
    const text = await rig.ok('run', '--explain', '--network', 'none', '--rootfs', rig.box.rootfs, 'true');
    assert.match(text, /pivot_root/);
    assert.match(text, /execve/);
    const data = JSON.parse(
      await rig.ok('run', '--explain=json', '--network', 'none', '--rootfs', rig.box.rootfs, 'true'),
    );
    assert.ok(Array.isArray(data.init));
    assert.equal(await rig.ok('ps', '-aq'), '');
    const traced = await rig.run(['--rm', '--trace'], 'echo', 'x');
    assert.equal(traced.stdout, 'x\n');
    assert.match(traced.stderr, /took µs {2}step\n[\s\S]*Mount proc/);
  });

  it('gives a terminal, its size, raw keys, and detaches', { skip: noScript }, async () => {
    // script(1) gives nsbox a terminal and passes on what is typed.
    const terminal = async (script: string, keys: [number, string][]): Promise<string> => {
      const child = spawn('script', ['-qec', script, '/dev/null'], { env: rig.env });
      let text = '';
      child.stdout.on('data', (chunk) => {
        text += chunk;
      });
      const ended = once(child, 'close');
      for (const [ms, typed] of keys) {
        await sleep(ms);
        child.stdin.write(typed);
      }
      await sleep(500);
      child.stdin.end();
      await ended;
      return text;
    };
    const run = (flag: string) =>
      `${NSBOX} run -it ${flag} --network none --rootfs ${rig.box.rootfs} sh; echo code $?`;
    const r = await terminal(`stty rows 33 cols 77; ${run('--rm')}`, [
      [1200, 'tty; stty size\r'],
      [300, 'exit 3\r'],
    ]);
    assert.match(r, /\/dev\/pts\/0[\s\S]*33 77[\s\S]*code 3/);
    const left = await terminal(run('--name term'), [
      [1200, 'echo hi\r'],
      [300, '\x10\x11'],
    ]);
    assert.match(left, /hi[\s\S]*read escape sequence[\s\S]*code 0/);
    const entered = await terminal(`${NSBOX} exec -it term sh; echo code $?`, [
      [1200, 'tty\r'],
      [300, 'exit 5\r'],
    ]);
    assert.match(entered, /\/dev\/pts\/[0-9]+[\s\S]*code 5/);
    await rig.ok('rm', '-f', 'term');
  });

  it('refuses a terminal where there is none', async () => {
    const r = await rig.run(['-it'], 'sh');
    assert.match(r.stderr, /the input device is not a TTY/);
    assert.equal(r.code, 1);
  });
});
