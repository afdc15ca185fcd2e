import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Flags } from '../../src/cli/command.js';
import { HelpRequest, parseFlags } from '../../src/cli/flags.js';

const TABLE = {
  all: { type: 'bool', short: 'a', help: '' },
  interactive: { type: 'bool', short: 'i', help: '' },
  tty: { type: 'bool', short: 't', help: '' },
  'sig-proxy': { type: 'bool', help: '', default: true },
  env: { type: 'list', short: 'e', help: '' },
  name: { type: 'string', help: '' },
  user: { type: 'string', short: 'u', help: '' },
  memory: { type: 'bytes', short: 'm', help: '' },
  time: { type: 'int', help: '' },
  explain: { type: 'string', help: '', bare: 'text' },
} as const satisfies Flags;

const parse = (line: string, flagsFirst = false) =>
  parseFlags(TABLE, line === '' ? [] : line.split(' '), { flagsFirst });

describe('flags', () => {
  const values: [string, Record<string, unknown>, string[]][] = [
    ['', { all: false, 'sig-proxy': true, env: [], name: undefined }, []],
    ['-a x', { all: true }, ['x']],
    ['x -a y', { all: true }, ['x', 'y']],
    ['-it', { interactive: true, tty: true }, []],
    ['-ite A=b', { interactive: true, tty: true, env: ['A=b'] }, []],
    ['-eA=b -e C=d -e=E=f --env G --env=H=i', { env: ['A=b', 'C=d', 'E=f', 'G', 'H=i'] }, []],
    ['--sig-proxy=false', { 'sig-proxy': false }, []],
    ['-i=false', { interactive: false }, []],
    ['-a=T', { all: true }, []],
    ['--name a --name b', { name: 'b' }, []],
    ['--name=', { name: '' }, []],
    ['--name --all', { name: '--all', all: false }, []],
    ['-u0:0', { user: '0:0' }, []],
    ['-m 64m', { memory: 67108864 }, []],
    ['-m1g', { memory: 1073741824 }, []],
    ['--time -1', { time: -1 }, []],
    ['-- -a --name', { all: false }, ['-a', '--name']],
    ['- x', {}, ['-', 'x']],
    ['--explain x', { explain: 'text' }, ['x']],
    ['--explain=json', { explain: 'json' }, []],
  ];
  for (const [line, expected, args] of values) {
    it(`takes "${line}"`, () => {
      const input = parse(line);
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(input.flags[key], value, key);
      assert.deepEqual(input.args, args);
    });
  }

  it('leaves what follows the first argument to the program', () => {
    const input = parse('-i busybox sh -c -t', true);
    assert.equal(input.flags['tty'], false);
    assert.deepEqual(input.args, ['busybox', 'sh', '-c', '-t']);
    assert.deepEqual(parse('-i -- busybox -t', true).args, ['busybox', '-t']);
  });

  it('knows which flags were given', () => {
    assert.deepEqual([...parse('-a --sig-proxy=true').given], ['all', 'sig-proxy']);
  });

  const refused: [string, string][] = [
    ['--foo', 'unknown flag: --foo'],
    ['--foo=1', 'unknown flag: --foo'],
    ['--toString', 'unknown flag: --toString'],
    ['-x', "unknown shorthand flag: 'x' in -x"],
    ['-ax', "unknown shorthand flag: 'x' in -ax"],
    ['--name', 'flag needs an argument: --name'],
    ['-ae', "flag needs an argument: 'e' in -ae"],
    ['--=x', 'bad flag syntax: --=x'],
    ['---a', 'bad flag syntax: ---a'],
    [
      '-m x',
      'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\' (expected a number and b, k, m or g)',
    ],
    ['--time 1.5', 'invalid argument "1.5" for "--time" flag: expected a whole number'],
    ['--all=maybe', 'invalid argument "maybe" for "-a, --all" flag: expected true or false'],
  ];
  for (const [line, message] of refused) {
    it(`refuses "${line}"`, () => {
      assert.throws(() => parse(line), { name: 'InvalidError', message, exitCode: 125 });
    });
  }

  it('answers --help and -h', () => {
    assert.throws(() => parse('--help'), HelpRequest);
    assert.throws(() => parse('-ah'), HelpRequest);
    assert.deepEqual(parse('x --help', true).args, ['x', '--help']);
  });
});
