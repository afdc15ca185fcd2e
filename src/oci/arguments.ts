import { InvalidError } from '../base/index.js';

/** One flag of the runtime's command line. */
export interface Flag {
  name: string;
  short?: string;
  /** `switch` takes no value (or `=true`), `list` may be given several times. */
  kind: 'switch' | 'text' | 'number' | 'list';
}

export interface Parsed {
  switches: Record<string, boolean>;
  texts: Record<string, string>;
  numbers: Record<string, number>;
  lists: Record<string, string[]>;
  positional: string[];
}

export interface ParseOptions {
  /** Everything after this many positional arguments is positional too (the command of exec, the options of ps). */
  stopAfter?: number;
}

/**
 * Reads flags as runc and crun do: `--flag value`, `--flag=value`, `-f value`, `-fvalue` is not known, a long name
 * may have a single dash (Go's style), `--` ends the flags.
 * @throws InvalidError for a flag that doesn't exist or lacks its value
 */
export function parseArguments(
  argv: readonly string[],
  flags: readonly Flag[],
  options: ParseOptions = {},
): Parsed {
  const out: Parsed = { switches: {}, texts: {}, numbers: {}, lists: {}, positional: [] };
  let i = 0;
  for (; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--') {
      i++;
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      out.positional.push(word);
      if (options.stopAfter !== undefined && out.positional.length >= options.stopAfter) {
        i++;
        break;
      }
      continue;
    }
    const equals = word.indexOf('=');
    const name = (equals < 0 ? word : word.slice(0, equals)).replace(/^--?/, '');
    const flag = flags.find((f) => f.name === name || f.short === name);
    if (!flag) throw new InvalidError(`flag provided but not defined: -${name}`);
    let value = equals < 0 ? undefined : word.slice(equals + 1);
    if (flag.kind === 'switch') {
      if (value !== undefined && !/^(true|false|1|0|t|f)$/i.test(value)) {
        throw new InvalidError(`invalid value "${value}" for flag --${flag.name}: expected true or false`);
      }
      out.switches[flag.name] = value === undefined || /^(true|1|t)$/i.test(value);
      continue;
    }
    if (value === undefined) {
      i++;
      value = argv[i];
      if (value === undefined) throw new InvalidError(`flag needs an argument: --${flag.name}`);
    }
    if (flag.kind === 'text') out.texts[flag.name] = value;
    else if (flag.kind === 'list') {
      let list = out.lists[flag.name];
      if (!list) {
        list = [];
        out.lists[flag.name] = list;
      }
      list.push(value);
    } else {
      if (!/^-?\d+$/.test(value)) {
        throw new InvalidError(`invalid value "${value}" for flag --${flag.name}: expected a number`);
      }
      out.numbers[flag.name] = Number(value);
    }
  }
  out.positional.push(...argv.slice(i));
  return out;
}

/** @throws InvalidError in runc's words where the count of arguments is wrong */
export function checkCount(command: string, args: readonly string[], least: number, most = least): void {
  const name = `nsbox-oci: "${command}"`;
  if (least === most && args.length !== least) {
    throw new InvalidError(`${name} requires exactly ${least} argument(s)`);
  }
  if (args.length < least) throw new InvalidError(`${name} requires a minimum of ${least} argument(s)`);
  if (args.length > most) throw new InvalidError(`${name} requires a maximum of ${most} argument(s)`);
}
