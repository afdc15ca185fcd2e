import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError } from '../../base/index.js';
import { parseProcess, type SpecProcess } from '../../spec/index.js';
import { checkCount, type Parsed, parseArguments } from '../arguments.js';
import { load } from '../containers.js';
import { execInContainer } from '../exec.js';
import { catchSignals, waitInForeground } from '../foreground.js';
import type { Runtime } from '../runtime.js';
import { loadSpec } from '../spec-file.js';

/** `exec`: another process in a running container. Exit status: the process's; 255 where it could not be started. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(
    argv,
    [
      { name: 'process', short: 'p', kind: 'text' },
      { name: 'console-socket', kind: 'text' },
      { name: 'pidfd-socket', kind: 'text' },
      { name: 'cwd', kind: 'text' },
      { name: 'env', short: 'e', kind: 'list' },
      { name: 'tty', short: 't', kind: 'switch' },
      { name: 'user', short: 'u', kind: 'text' },
      { name: 'additional-gids', short: 'g', kind: 'list' },
      { name: 'detach', short: 'd', kind: 'switch' },
      { name: 'pid-file', kind: 'text' },
      { name: 'process-label', kind: 'text' },
      { name: 'apparmor', kind: 'text' },
      { name: 'no-new-privs', kind: 'switch' },
      { name: 'cap', short: 'c', kind: 'list' },
      { name: 'preserve-fds', kind: 'number' },
      { name: 'cgroup', kind: 'list' },
      { name: 'ignore-paused', kind: 'switch' },
    ],
    { stopAfter: 1 },
  );
  checkCount('exec', args.positional, 1, Number.POSITIVE_INFINITY);
  const record = load(runtime.root, args.positional[0]!);
  const spec = loadSpec(runtime.root, record.id);
  const process = await processOf(runtime, args, spec.process);
  const detach = args.switches['detach'] ?? false;
  if (process.terminal && detach && args.texts['console-socket'] === undefined) {
    throw new InvalidError('cannot allocate tty if runc will detach without setting console socket');
  }
  if (args.texts['console-socket'] !== undefined && !(process.terminal && detach)) {
    const { uselessConsoleSocket } = await import('../create.js');
    throw uselessConsoleSocket();
  }
  const options = {
    process,
    spec,
    detach,
    consoleSocket: args.texts['console-socket'],
    pidfdSocket: args.texts['pidfd-socket'],
    pidFile: args.texts['pid-file'],
    preserveFds: args.numbers['preserve-fds'] ?? 0,
    ignorePaused: args.switches['ignore-paused'] ?? false,
    subCgroups: subCgroups(args.lists['cgroup'] ?? []),
  };
  if (detach) {
    await execInContainer(runtime, record, options);
    return 0;
  }
  const signals = catchSignals();
  try {
    return await waitInForeground(await execInContainer(runtime, record, options), signals);
  } finally {
    signals.stop();
  }
}

/** process.json, or the container's process with what the flags change. */
async function processOf(runtime: Runtime, args: Parsed, own: SpecProcess | undefined): Promise<SpecProcess> {
  const given = args.texts['process'];
  if (given !== undefined) {
    const file = path.resolve(runtime.ctx.cwd, given);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw fromErrno(`open ${file}`, error, { path: file });
    }
    const { value } = await parseProcess(text, file);
    if (!value.args?.length) throw new InvalidError('args must not be empty');
    return value;
  }
  const command = args.positional.slice(1);
  if (command.length === 0) throw new InvalidError('exec args cannot be empty');
  const process: SpecProcess = { ...(own ?? { cwd: '/', user: { uid: 0, gid: 0 } }) };
  process.args = command;
  process.terminal = args.switches['tty'] ?? false;
  process.env = [...(process.env ?? []), ...(args.lists['env'] ?? [])];
  if (args.texts['cwd']) process.cwd = args.texts['cwd'];
  if (args.texts['apparmor']) process.apparmorProfile = args.texts['apparmor'];
  if (args.texts['process-label']) process.selinuxLabel = args.texts['process-label'];
  if (args.switches['no-new-privs'] !== undefined) process.noNewPrivileges = args.switches['no-new-privs'];
  process.user = userOf(process.user, args);
  const extra = args.lists['cap'] ?? [];
  if (extra.length > 0) {
    const sets = process.capabilities ?? {};
    const add = (set: string[] | undefined) => [...(set ?? []), ...extra];
    process.capabilities = {
      ...sets,
      bounding: add(sets.bounding),
      effective: add(sets.effective),
      permitted: add(sets.permitted),
      // The kernel gives no ambient capability that isn't inheritable.
      ...(sets.inheritable?.length ? { inheritable: add(sets.inheritable), ambient: add(sets.ambient) } : {}),
    };
  }
  return process;
}

function userOf(user: SpecProcess['user'], args: Parsed): SpecProcess['user'] {
  const out = { ...user };
  const given = args.texts['user'];
  if (given) {
    const [uid = '', gid] = given.split(':');
    if (!/^\d+$/.test(uid)) throw new InvalidError(`bad uid: ${JSON.stringify(uid)}`);
    if (gid !== undefined && !/^\d+$/.test(gid)) throw new InvalidError(`bad gid: ${JSON.stringify(gid)}`);
    out.uid = Number(uid);
    if (gid !== undefined) out.gid = Number(gid);
  }
  const groups = (args.lists['additional-gids'] ?? []).flatMap((g) => g.split(','));
  for (const g of groups) {
    if (!/^\d+$/.test(g)) throw new InvalidError(`additional-gids must be a positive number ${g}`);
  }
  if (groups.length > 0) out.additionalGids = [...(out.additionalGids ?? []), ...groups.map(Number)];
  return out;
}

/** `--cgroup [controller[,controller]:]path`: below the container's own groups. */
function subCgroups(values: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (const value of values) {
    const colon = value.indexOf(':');
    const sub = value.slice(colon + 1);
    if (sub.split('/').includes('..')) throw new InvalidError(`bad sub cgroup path: ${value}`);
    const controllers = colon < 0 ? [''] : value.slice(0, colon).split(',');
    if (colon < 0 && values.length > 1) {
      throw new InvalidError(`invalid --cgroup argument: ${value} (missing <controller>: prefix)`);
    }
    for (const c of controllers) {
      if (colon >= 0 && c === '') {
        throw new InvalidError(`invalid --cgroup argument: ${value} (empty <controller> prefix)`);
      }
      if (out[c] !== undefined) {
        throw new InvalidError(`invalid --cgroup argument(s): controller ${c} specified multiple times`);
      }
      out[c] = sub;
    }
  }
  return out;
}
