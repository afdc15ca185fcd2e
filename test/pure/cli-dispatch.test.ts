import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { NsboxError } from '../../src/base/index.js';
import { failureLine, renderFailure, runCli } from '../../src/cli/cli.js';
import { COMMANDS, GROUPS } from '../../src/cli/registry.js';
import { testIo } from '../support/io.js';

const dir = mkdtempSync(path.join(tmpdir(), 'nsbox-test-cli-'));
after(() => rmSync(dir, { recursive: true, force: true }));

async function run(line: string, options: { euid?: number; input?: string } = {}) {
  const io = testIo(options);
  const argv = line === '' ? [] : line.split(' ');
  const code = await runCli(argv, io, { env: { NSBOX_ROOT: dir, NSBOX_STATE: dir }, cwd: dir });
  return { code, out: io.text(), err: io.errors() };
}

describe('the command line', () => {
  const refused: [string, number, RegExp][] = [
    ['--foo', 125, /^nsbox: unknown flag: --foo\nSee 'nsbox --help'\.\n$/],
    ['ps --foo', 125, /^nsbox: unknown flag: --foo\nSee 'nsbox ps --help'\.\n$/],
    ['ps -x', 125, /^nsbox: unknown shorthand flag: 'x' in -x\nSee 'nsbox ps --help'\.\n$/],
    ['nosuch', 1, /^nsbox: 'nosuch' is not a nsbox command\.\nSee 'nsbox --help'\.\n$/],
    ['imagse', 1, /did you mean/],
    ['volume nosuch', 1, /^nsbox: 'volume nosuch' is not a nsbox command\.\nSee 'nsbox volume --help'\.\n$/],
    [
      'rename a',
      1,
      /"nsbox rename" requires exactly 2 arguments\.\nSee 'nsbox rename --help'\.\n\nUsage: {2}nsbox rename CONTAINER NEW_NAME\n/,
    ],
    ['rm', 1, /"nsbox rm" requires at least 1 argument\./],
    ['ps a', 1, /"nsbox ps" accepts no arguments\./],
    ['volume create a b', 1, /"nsbox volume create" requires at most 1 argument\./],
    [
      'create --link a:b i',
      125,
      /^nsbox: --link is not supported: join both containers to one network and use their names\n$/,
    ],
    ['create -p x i', 125, /^nsbox: invalid port mapping 'x': invalid container port: x\n$/],
    ['--log-level loud ps', 125, /unable to parse logging level: loud/],
    ['inspect --type foo x', 1, /"foo" is not a valid value for --type/],
    ['ps --filter foo=1', 1, /invalid filter 'foo'/],
  ];
  for (const [line, code, message] of refused) {
    it(`refuses: nsbox ${line}`, async () => {
      const result = await run(line);
      assert.match(result.err, message);
      assert.equal(result.out, '');
      assert.equal(result.code, line.startsWith('create -') ? 125 : code);
    });
  }

  it('says that root is needed, in a sentence', async () => {
    const { code, err } = await run('ps', { euid: 1000 });
    assert.equal(
      err,
      'nsbox: nsbox ps needs root (namespaces, mounts and networks are made with its rights: run it with sudo)\n',
    );
    assert.equal(code, 1);
  });

  it('helps: nsbox, groups, commands', async () => {
    for (const line of ['', '--help', 'help', '-h']) {
      const { code, out } = await run(line);
      assert.equal(code, 0, line);
      assert.match(
        out,
        /Usage: {2}nsbox \[OPTIONS\] COMMAND[\s\S]*Common Commands:[\s\S]*Management Commands:[\s\S]*Global Options:/,
      );
    }
    for (const group of Object.keys(GROUPS)) {
      for (const line of [group, `${group} --help`]) {
        assert.match((await run(line)).out, new RegExp(`Usage:  nsbox ${group} COMMAND`), line);
      }
    }
    assert.match((await run('help create')).out, /-e, --env list +Set environment variables/);
    assert.match((await run('help volume ls')).out, /Usage: {2}nsbox volume ls/);
    assert.match((await run('container ls --help')).out, /Aliases:\n {2}nsbox ps, nsbox container ls/);
    assert.match((await run('--version')).out, /^nsbox version \d+\.\d+\.\d+\n$/);
  });

  it('has a file behind every row, whose name and aliases are those of the table', async () => {
    for (const entry of COMMANDS) {
      const { command } = await entry.load();
      assert.equal(command.name, entry.paths[0]);
      assert.deepEqual([...(command.aliases ?? [])], entry.paths.slice(1), command.name);
      assert.equal(command.summary, entry.summary, command.name);
      for (const [name, flag] of Object.entries(command.options)) {
        assert.ok(flag.refused !== undefined || flag.help !== '', `${command.name} --${name}`);
      }
      const shorts = Object.values(command.options).flatMap((f) => f.short ?? []);
      assert.equal(new Set(shorts).size, shorts.length, `${command.name}: a letter twice`);
      const { code, out } = await run(`${entry.paths[0]} --help`);
      assert.equal(code, 0);
      assert.match(out, /Usage:/);
    }
    const all = COMMANDS.flatMap((e) => e.paths);
    assert.equal(new Set(all).size, all.length);
  });

  it('works on what is there: nothing', async () => {
    if (!existsSync(path.join(import.meta.dirname, '../../../Release/nsbox.node'))) return;
    assert.equal((await run('volume ls')).out, 'DRIVER    VOLUME NAME\n');
    assert.equal((await run('volume create data')).out, 'data\n');
    assert.equal((await run('volume ls -q')).out, 'data\n');
    assert.equal((await run('volume inspect --format {{.Name}} data')).out, 'data\n');
    const gone = await run('volume rm data nosuch');
    assert.deepEqual([gone.code, gone.out, gone.err], [1, 'data\n', 'nsbox: No such volume: nosuch\n']);
  });
});

describe('failures', () => {
  it('are one line with what to do, and all there is with --debug', () => {
    const error = new NsboxError('SYSCALL', 'cannot mount x:\n  no such device', {
      syscall: 'fsopen',
      errno: 'ENODEV',
      hint: 'load the module',
      cause: new Error('below'),
    });
    assert.equal(failureLine(error), 'cannot mount x:; no such device (load the module)');
    const io = testIo();
    assert.equal(renderFailure(error, io, { name: 'run', debug: true, failure: 125 }), 125);
    assert.match(io.errors(), /code=SYSCALL syscall=fsopen errno=ENODEV\n[\s\S]*caused by Error: below/);
    const other = testIo();
    assert.equal(renderFailure(new TypeError('x'), other, { name: 'run', debug: false, failure: 1 }), 1);
    assert.equal(other.errors(), 'nsbox: internal error: x (a bug of nsbox; with --debug it prints where)\n');
  });
});
