import { makeContext, NsboxError, sourceStack } from '../base/index.js';
import { type Flag, parseArguments } from './arguments.js';
import { type Log, log, print } from './log.js';
import type { Command, Runtime } from './runtime.js';

/**
 * nsbox-oci: runc's command line over nsbox's plan and native code. A function of argv, environment and cwd; each
 * command is loaded when it is asked for.
 */

const GLOBAL: Flag[] = [
  { name: 'debug', kind: 'switch' },
  { name: 'log', kind: 'text' },
  { name: 'log-format', kind: 'text' },
  { name: 'root', kind: 'text' },
  { name: 'rootless', kind: 'text' },
  { name: 'systemd-cgroup', kind: 'switch' },
  { name: 'cgroup-manager', kind: 'text' },
  { name: 'criu', kind: 'text' },
  { name: 'help', short: 'h', kind: 'switch' },
  { name: 'version', short: 'v', kind: 'switch' },
];

const COMMANDS: Record<string, () => Promise<{ command: Command }>> = {
  create: () => import('./commands/create.js'),
  run: () => import('./commands/run.js'),
  start: () => import('./commands/start.js'),
  state: () => import('./commands/state.js'),
  kill: () => import('./commands/kill.js'),
  delete: () => import('./commands/delete.js'),
  list: () => import('./commands/list.js'),
  ps: () => import('./commands/ps.js'),
  pause: () => import('./commands/pause.js'),
  resume: () => import('./commands/resume.js'),
  exec: () => import('./commands/exec.js'),
  events: () => import('./commands/events.js'),
  update: () => import('./commands/update.js'),
  spec: () => import('./commands/spec.js'),
  features: () => import('./commands/features.js'),
  mounts: () => import('./commands/mounts.js'),
  checkpoint: () => import('./commands/checkpoint.js'),
  restore: () => import('./commands/restore.js'),
};

/**
 * Runs one command line.
 * @param argv the words after the program's name
 * @returns the exit status: 1 for a failure of the runtime (255 in exec), else the command's
 */
export async function oci(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  cwd = process.cwd(),
): Promise<number> {
  let logTarget: Log = { file: undefined, format: 'text', debug: false };
  let name = '';
  try {
    const global = parseArguments(argv, GLOBAL, { stopAfter: 1 });
    if (global.texts['log-format'] !== undefined && !/^(text|json)$/.test(global.texts['log-format'])) {
      throw new NsboxError('INVALID_ARGUMENT', `invalid log-format: ${global.texts['log-format']}`);
    }
    logTarget = {
      file: global.texts['log'] || undefined,
      format: global.texts['log-format'] === 'json' ? 'json' : 'text',
      debug: global.switches['debug'] ?? false,
    };
    if (global.switches['version']) {
      const { versionText } = await import('./version.js');
      print(1, versionText());
      return 0;
    }
    const [command, ...rest] = global.positional;
    name = command ?? '';
    const asked = rest[0] === '--help' || rest[0] === '-h';
    if (command === undefined || global.switches['help'] || command === 'help' || asked) {
      const { helpText } = await import('./help.js');
      const one = command === 'help' ? rest[0] : asked ? command : undefined;
      print(1, helpText(Object.keys(COMMANDS), one));
      return 0;
    }
    const load = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
    if (!load) {
      throw new NsboxError('INVALID_ARGUMENT', `no such command: ${command}`, {
        hint: `one of ${Object.keys(COMMANDS).join(', ')}`,
      });
    }
    const manager = global.texts['cgroup-manager'];
    if (manager !== undefined && !/^(cgroupfs|systemd|disabled)$/.test(manager)) {
      throw new NsboxError('INVALID_ARGUMENT', `unknown cgroup manager specified: ${manager}`, {
        hint: 'cgroupfs, systemd or disabled',
      });
    }
    const rootless = global.texts['rootless'];
    if (rootless !== undefined && !/^(auto|true|false|1|0|t|f)$/i.test(rootless)) {
      throw new NsboxError('INVALID_ARGUMENT', `invalid value "${rootless}" for flag --rootless`, {
        hint: 'true, false or auto',
      });
    }
    const ctx = makeContext({ env, cwd, warn: (message) => log(logTarget, 'warning', message) });
    const root = global.texts['root'];
    const runtime: Runtime = {
      ctx,
      root: root ? absolute(cwd, root) : `${ctx.state}/oci`,
      rootGiven: Boolean(root),
      cgroupManager: global.switches['systemd-cgroup']
        ? 'systemd'
        : ((manager as Runtime['cgroupManager'] | undefined) ?? 'cgroupfs'),
      criu: global.texts['criu'],
      rootless: rootlessOf(global.texts['rootless']),
      log: logTarget,
    };
    const { command: run } = await load();
    return await run(runtime, rest);
  } catch (error) {
    log(logTarget, 'error', messageOf(error));
    return name === 'exec' ? 255 : 1;
  }
}

/** `--rootless`: a boolean in Go's words, or `auto`: true for whoever isn't root. */
function rootlessOf(given: string | undefined): boolean {
  if (given === undefined || given === '' || given === 'auto') return process.geteuid!() !== 0;
  if (/^(1|t|T|true|TRUE|True)$/.test(given)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(given)) return false;
  throw new NsboxError('INVALID_ARGUMENT', `invalid value "${given}" for flag --rootless`, {
    hint: 'true, false or auto',
  });
}

function absolute(cwd: string, given: string): string {
  return given.startsWith('/') ? given : `${cwd}/${given}`;
}

/** One line: what failed and why; the hint in parentheses. A bug of ours keeps its stack. */
function messageOf(error: unknown): string {
  if (error instanceof NsboxError) return error.hint ? `${error.message} (${error.hint})` : error.message;
  return error instanceof Error ? `internal error: ${sourceStack(error)}` : String(error);
}
