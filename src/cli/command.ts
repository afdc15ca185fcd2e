/**
 * # How a command of nsbox is made
 *
 * A command is one file in src/cli/commands that exports `command = defineCommand({…})`: its options as a table,
 * which is both parsed (flags.ts) and printed (help.ts), and a `run` function of (parsed flags and arguments, io,
 * context). It returns the exit code and has no process-wide state: a warm process may run it again and again.
 *
 * To add one:
 *  1. write src/cli/commands/<name>.ts,
 *  2. add its row to the table in src/cli/registry.ts: paths (`images`, `image ls`), summary, lazy import.
 *
 * Anything heavy is imported inside `run` (`await import('../../image/index.js')`), so that `--help` and other
 * commands don't pay for it. Failures are thrown as NsboxError and rendered once, by cli.ts.
 * Lists are printed by format/list.ts (`printList`), which knows `--format`, `table`, `json`, `-q`, `--no-trunc`.
 */
import type { Context } from '../base/index.js';
import type { Io } from './io.js';

/** One option of a command. `value` is what help shows for its argument (`string`, `list`, `bytes`, …). */
export interface Flag {
  /**
   * bool: `-x`, `--x`, `--x=false`; string: the last one wins; list: may be repeated;
   * int, float: numbers; bytes: `64m`, `1.5GiB`, in bytes; seconds: `10`, `1m30s`, in seconds.
   */
  readonly type: 'bool' | 'string' | 'list' | 'int' | 'float' | 'bytes' | 'seconds';
  /** One letter. */
  readonly short?: string;
  readonly value?: string;
  readonly help: string;
  /** Value where the flag is absent; shown by help unless false. Lists are empty by themselves. */
  readonly default?: boolean | string | number;
  /** Accepted and left out of help: an older spelling. */
  readonly hidden?: boolean;
  /** Known from Docker and not done by nsbox: giving it fails with this reason. Left out of help. */
  readonly refused?: string;
  /** For a string flag given without a value, as in `--explain` and `--explain=json`. */
  readonly bare?: string;
}

export type Flags = Readonly<Record<string, Flag>>;

type Base<F extends Flag> = F['type'] extends 'bool'
  ? boolean
  : F['type'] extends 'list'
    ? string[]
    : F['type'] extends 'string'
      ? string
      : number;
type ValueOf<F extends Flag> = F['type'] extends 'bool' | 'list'
  ? Base<F>
  : F extends { readonly default: string | number }
    ? Base<F>
    : Base<F> | undefined;

export type FlagValues<T extends Flags> = { [K in keyof T]: ValueOf<T[K]> };

export interface Input<T extends Flags> {
  readonly flags: FlagValues<T>;
  readonly args: string[];
  /** Long names of the flags that were given. */
  readonly given: ReadonlySet<string>;
}

export interface CommandDefinition<T extends Flags> {
  /** As typed after `nsbox`: `run`, `image ls`. */
  readonly name: string;
  /** Other full spellings: `container run`. */
  readonly aliases?: readonly string[];
  /** What follows the name: `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  readonly usage: string;
  readonly summary: string;
  /** More text for `--help`, after the summary. */
  readonly details?: string;
  readonly options: T;
  /** Bounds of the number of arguments. Default: none at all. */
  readonly args?: { readonly min?: number; readonly max?: number };
  /** Flags end at the first argument: what follows belongs to the container's program (run, create, exec). */
  readonly flagsFirst?: boolean;
  /** Works without root. Default false. */
  readonly rootless?: boolean;
  /** Exit code of a failure that isn't the program's own. Default 1, as Docker's; `run` has 125. */
  readonly failure?: number;
  run(input: Input<T>, io: Io, ctx: Context): Promise<number>;
}

/** A command whose flag types are erased: what the registry hands out. */
export type Command = Omit<CommandDefinition<Flags>, 'run'> & {
  run(input: Input<Flags>, io: Io, ctx: Context): Promise<number>;
};

/** Gives `run` the types that follow from the option table. */
export function defineCommand<const T extends Flags>(definition: CommandDefinition<T>): Command {
  return definition as unknown as Command;
}

/** Options that many commands share, word for word Docker's. */
export const listFlags = {
  filter: { type: 'list', short: 'f', value: 'filter', help: 'Filter output based on conditions provided' },
  format: {
    type: 'string',
    help: "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template",
  },
  'no-trunc': { type: 'bool', help: "Don't truncate output" },
  quiet: { type: 'bool', short: 'q', help: 'Only display IDs' },
} as const satisfies Flags;

export const formatFlag = {
  type: 'string',
  short: 'f',
  help: "Format output using a custom template: 'json' or a Go template",
} as const satisfies Flag;

export const forceFlag = {
  type: 'bool',
  short: 'f',
  help: 'Do not prompt for confirmation',
} as const satisfies Flag;
