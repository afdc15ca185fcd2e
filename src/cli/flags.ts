import { InvalidError, NsboxError, parseBytes, parseSeconds, UnsupportedError } from '../base/index.js';
import type { Flag, Flags, Input } from './command.js';

/** A command line that doesn't fit the command's table: exit code 125, followed by "See 'nsbox x --help'.". */
export class UsageError extends InvalidError {
  constructor(message: string, exitCode = 125) {
    super(message, { exitCode });
  }
}

/** Thrown where `--help` is met. */
export class HelpRequest extends Error {}

export interface ParseOptions {
  /** Flags end at the first argument. */
  flagsFirst?: boolean | undefined;
  /** `-h` asks for help too (unless the table has an h of its own). */
  shortHelp?: boolean | undefined;
}

/**
 * Parses arguments by the rules that Docker's users know (those of Go's pflag): `--flag value`, `--flag=value`,
 * `-it`, `-eA=b`, `-e A=b`, `-e=A=b`, `--bool=false`, `--` ends the flags. A flag that takes a value takes the next
 * argument whatever it looks like.
 * @throws UsageError, HelpRequest
 */
export function parseFlags(table: Flags, argv: readonly string[], options: ParseOptions = {}): Input<Flags> {
  const shorts = new Map<string, string>();
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  const args: string[] = [];
  for (const [name, flag] of Object.entries(table)) {
    if (flag.short) shorts.set(flag.short, name);
    values[name] = flag.type === 'list' ? [] : (flag.default ?? (flag.type === 'bool' ? false : undefined));
  }

  const set = (name: string, flag: Flag, text: string): void => {
    given.add(name);
    if (flag.refused !== undefined) throw new UnsupportedError(`--${name} is not supported: ${flag.refused}`);
    if (flag.type === 'list') (values[name] as string[]).push(text);
    else values[name] = convert(flagName(name, flag), flag, text);
  };

  let at = 0;
  for (; at < argv.length; at++) {
    const arg = argv[at]!;
    if (arg === '--') {
      args.push(...argv.slice(at + 1));
      break;
    }
    if (arg.length < 2 || arg[0] !== '-') {
      if (options.flagsFirst) {
        args.push(...argv.slice(at));
        break;
      }
      args.push(arg);
      continue;
    }
    if (arg[1] === '-') at += long(arg);
    else at += short(arg);
  }
  return { flags: values as never, args, given };

  /** Returns how many further arguments were taken. */
  function long(arg: string): number {
    const equals = arg.indexOf('=');
    const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
    if (name === '' || name[0] === '-' || name[0] === '=') throw new UsageError(`bad flag syntax: ${arg}`);
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!flag) {
      if (name === 'help') throw new HelpRequest();
      throw new UsageError(`unknown flag: --${name}`);
    }
    if (equals >= 0) set(name, flag, arg.slice(equals + 1));
    else if (flag.type === 'bool') set(name, flag, 'true');
    else if (flag.bare !== undefined) set(name, flag, flag.bare);
    else {
      if (at + 1 >= argv.length) throw new UsageError(`flag needs an argument: --${name}`);
      set(name, flag, argv[at + 1]!);
      return 1;
    }
    return 0;
  }

  function short(arg: string): number {
    for (let i = 1; i < arg.length; i++) {
      const letter = arg[i]!;
      const name = shorts.get(letter);
      const flag = name === undefined ? undefined : table[name];
      if (name === undefined || !flag) {
        if (letter === 'h' && options.shortHelp !== false) throw new HelpRequest();
        throw new UsageError(`unknown shorthand flag: '${letter}' in ${arg}`);
      }
      const rest = arg.slice(i + 1);
      if (flag.type === 'bool') {
        if (!rest.startsWith('=')) {
          set(name, flag, 'true');
          continue;
        }
        set(name, flag, rest.slice(1));
      } else if (rest !== '') set(name, flag, rest.startsWith('=') ? rest.slice(1) : rest);
      else if (flag.bare !== undefined) set(name, flag, flag.bare);
      else {
        if (at + 1 >= argv.length) throw new UsageError(`flag needs an argument: '${letter}' in ${arg}`);
        set(name, flag, argv[at + 1]!);
        return 1;
      }
      return 0;
    }
    return 0;
  }
}

function flagName(name: string, flag: Flag): string {
  return flag.short ? `-${flag.short}, --${name}` : `--${name}`;
}

function convert(shown: string, flag: Flag, text: string): boolean | string | number {
  const bad = (why: string) => new UsageError(`invalid argument "${text}" for "${shown}" flag: ${why}`);
  switch (flag.type) {
    case 'bool':
      if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
      if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
      throw bad('expected true or false');
    case 'int': {
      if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
        throw bad('expected a whole number');
      return Number(text);
    }
    case 'float': {
      const value = Number(text);
      if (text.trim() === '' || !Number.isFinite(value)) throw bad('expected a number');
      return value;
    }
    case 'bytes':
    case 'seconds':
      try {
        return flag.type === 'bytes' ? parseBytes(text) : parseSeconds(text);
      } catch (error) {
        throw bad(error instanceof NsboxError ? error.message : String(error));
      }
    default:
      return text;
  }
}
