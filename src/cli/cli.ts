import { makeContext, NsboxError, packageRoot, sourceStack } from '../base/index.js';
import type { Command, FlagValues } from './command.js';
import { HelpRequest, parseFlags, UsageError } from './flags.js';
import type { Io } from './io.js';
import { COMMANDS, findCommand, GROUPS } from './registry.js';

const GLOBAL = {
  root: { type: 'string', help: '' },
  state: { type: 'string', help: '' },
  debug: { type: 'bool', short: 'D', help: '' },
  'log-level': { type: 'string', short: 'l', help: '' },
  version: { type: 'bool', short: 'v', help: '' },
} as const;
const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'];

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/**
 * Runs one nsbox command line.
 * @param argv what follows `nsbox`
 * @returns the exit code; failures are rendered, never thrown
 */
export async function runCli(argv: readonly string[], io: Io, around: Surroundings): Promise<number> {
  let debug = false;
  let name = '';
  let command: Command | undefined;
  try {
    const global = parseFlags(GLOBAL, argv, { flagsFirst: true });
    const flags = global.flags as unknown as FlagValues<typeof GLOBAL>;
    debug = flags.debug;
    const level = flags['log-level'] ?? 'info';
    if (!LEVELS.includes(level)) {
      throw new UsageError(`unable to parse logging level: ${level} (expected ${LEVELS.join(', ')})`);
    }
    if (flags.version) return await version(io);
    if (global.args.length === 0) {
      const { mainHelp } = await import('./help.js');
      io.out(mainHelp());
      return 0;
    }

    const found = await lookUp(global.args, io);
    if (typeof found === 'number') return found;
    name = found.name;
    command = found.command;
    const input = parseFlags(command.options, found.rest, { flagsFirst: command.flagsFirst });
    await checkArguments(command, name, input.args);
    if (!command.rootless && io.euid !== 0) throw needsRoot(name);

    const quiet = LEVELS.indexOf(level) > LEVELS.indexOf('warn');
    const ctx = makeContext({
      root: flags.root,
      state: flags.state,
      env: around.env,
      cwd: around.cwd,
      warn: (message) => {
        if (!quiet) io.err(`WARNING: ${message}\n`);
      },
    });
    return await command.run(input, io, ctx);
  } catch (error) {
    if (error instanceof HelpRequest) {
      const help = await import('./help.js');
      io.out(command ? help.commandHelp(command) : help.mainHelp());
      return 0;
    }
    if (error instanceof CommandLineEnd) {
      io.err(error.message);
      return error.exitCode;
    }
    return renderFailure(error, io, { name, debug, failure: command?.failure ?? 1 });
  }
}

/** Ends a command line with a text of its own (usage after a wrong number of arguments). */
class CommandLineEnd extends Error {
  constructor(
    text: string,
    readonly exitCode: number,
  ) {
    super(text);
  }
}

async function version(io: Io): Promise<number> {
  const { readFileSync } = await import('node:fs');
  const { version } = JSON.parse(readFileSync(`${packageRoot()}/package.json`, 'utf8')) as {
    version: string;
  };
  io.out(`nsbox version ${version}\n`);
  return 0;
}

/** Finds the command that the first one or two words name, or answers what isn't a command. */
async function lookUp(
  words: readonly string[],
  io: Io,
): Promise<{ command: Command; name: string; rest: readonly string[] } | number> {
  const [first, second] = words as [string, string | undefined];
  if (first === 'help') {
    const help = await import('./help.js');
    if (second === undefined) io.out(help.mainHelp());
    else {
      const found = await lookUp([...words.slice(1), '--help'], io);
      if (typeof found === 'number') return found;
      io.out(help.commandHelp(found.command));
    }
    return 0;
  }
  if (GROUPS[first] !== undefined) {
    if (second === undefined || second === '--help' || second === '-h') {
      const { groupHelp } = await import('./help.js');
      io.out(groupHelp(first));
      return 0;
    }
    const name = `${first} ${second}`;
    const entry = findCommand(name);
    if (!entry) {
      throw new CommandLineEnd(
        `nsbox: '${name}' is not a nsbox command${guess(name)}\nSee 'nsbox ${first} --help'.\n`,
        1,
      );
    }
    return { command: (await entry.load()).command, name, rest: words.slice(2) };
  }
  const entry = findCommand(first);
  if (!entry) {
    throw new CommandLineEnd(
      `nsbox: '${first}' is not a nsbox command${guess(first)}\nSee 'nsbox --help'.\n`,
      1,
    );
  }
  return { command: (await entry.load()).command, name: first, rest: words.slice(1) };
}

/** `; did you mean 'images'?` for a near miss. */
function guess(word: string): string {
  let best: string | undefined;
  let least = 3;
  for (const path of COMMANDS.flatMap((entry) => entry.paths)) {
    const d = distance(word, path);
    if (d < least && d < path.length) {
      least = d;
      best = path;
    }
  }
  return best === undefined ? '.' : `; did you mean '${best}'?`;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

async function checkArguments(command: Command, name: string, args: readonly string[]): Promise<void> {
  const { min = 0, max = command.args?.min === undefined ? 0 : Number.POSITIVE_INFINITY } =
    command.args ?? {};
  if (args.length >= min && args.length <= max) return;
  const plural = (n: number) => `${n} argument${n === 1 ? '' : 's'}`;
  const wanted =
    max === 0
      ? 'accepts no arguments'
      : min === max
        ? `requires exactly ${plural(min)}`
        : args.length < min
          ? `requires at least ${plural(min)}`
          : `requires at most ${plural(max)}`;
  const { usageLine } = await import('./help.js');
  throw new CommandLineEnd(
    `nsbox: "nsbox ${name}" ${wanted}.\nSee 'nsbox ${name} --help'.\n\n${usageLine(command)}\n\n${command.summary}\n`,
    command.failure ?? 1,
  );
}

function needsRoot(name: string): NsboxError {
  return new NsboxError('PERMISSION', `nsbox ${name} needs root`, {
    hint: 'namespaces, mounts and networks are made with its rights: run it with sudo',
  });
}

/** Prints a failure as one line and says the exit code. With --debug also step, syscall, cause and stack. */
export function renderFailure(
  error: unknown,
  io: Io,
  options: { name: string; debug: boolean; failure: number },
): number {
  if (error instanceof UsageError) {
    io.err(`nsbox: ${error.message}\nSee 'nsbox${options.name ? ` ${options.name}` : ''} --help'.\n`);
    return error.exitCode;
  }
  if (error instanceof NsboxError) {
    io.err(`nsbox: ${failureLine(error)}\n`);
    if (options.debug) io.err(debugText(error));
    return error.exitCode === 125 ? options.failure : error.exitCode;
  }
  const text = error instanceof Error ? error.message : String(error);
  io.err(`nsbox: internal error: ${text} (a bug of nsbox; with --debug it prints where)\n`);
  if (options.debug && error instanceof Error) io.err(`${sourceStack(error)}\n`);
  return options.failure;
}

/** One line: what failed and, in parentheses, what to do. */
export function failureLine(error: NsboxError): string {
  const message = error.message.replace(/\s*\n\s*/g, '; ');
  return error.hint ? `${message} (${error.hint})` : message;
}

function debugText(error: NsboxError): string {
  const fields = (['code', 'step', 'syscall', 'errno', 'path'] as const)
    .filter((key) => error[key] !== undefined)
    .map((key) => `${key}=${error[key]}`);
  let text = `  ${fields.join(' ')}\n${sourceStack(error)}\n`;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    text += `caused by ${sourceStack(cause)}\n`;
  return text;
}
