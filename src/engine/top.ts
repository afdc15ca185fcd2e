import { readFileSync } from 'node:fs';
import { ConflictError, type Context, InvalidError, UnsupportedError } from '../base/index.js';
import { directoriesOf, findGroups, pidsIn } from '../cgroup/index.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';

/** Processes of a container as a table: the head and one row each. */
export interface ProcessTable {
  titles: string[];
  rows: string[][];
}

/**
 * Lists the processes of a container, as the host sees them.
 * @param psArguments as for ps(1); without any, `ps -ef`'s columns are read from /proc and ps isn't needed
 * @throws ConflictError where it doesn't run
 */
export async function topOf(
  ctx: Context,
  record: ContainerRecord,
  psArguments: string[],
): Promise<ProcessTable> {
  const { status } = stateOf(ctx, record);
  if (status !== 'running' && status !== 'paused') {
    throw new ConflictError(`container ${record.name} is not running`, {
      hint: `start it: nsbox start ${record.name}`,
    });
  }
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  const pids = [...new Set(directoriesOf(groups).flatMap(pidsIn))].sort((a, b) => a - b);
  return psArguments.length === 0 ? fullFormat(pids) : await byPs(pids, psArguments);
}

/** Clock ticks per second of /proc/PID/stat: a constant of Linux's interface to programs. */
const TICKS = 100;

function fullFormat(pids: number[]): ProcessTable {
  const boot = Number(/^btime (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? 0);
  const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
  const names = userNames();
  const rows: string[][] = [];
  for (const pid of pids) {
    try {
      rows.push(rowOf(pid, boot, uptime, names));
    } catch {
      // It ended while we looked.
    }
  }
  return { titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'], rows };
}

function rowOf(pid: number, boot: number, uptime: number, names: Map<string, string>): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name is in parentheses and may hold anything; fields are counted from behind it.
  const close = stat.lastIndexOf(')');
  const f = stat.slice(close + 2).split(' ');
  const uid = /^Uid:\s*\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '?';
  const ticks = Number(f[11]) + Number(f[12]);
  const started = boot + Number(f[19]) / TICKS;
  const age = uptime - Number(f[19]) / TICKS;
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  return [
    names.get(uid) ?? uid,
    String(pid),
    f[1] ?? '',
    String(age > 0 ? Math.min(99, Math.floor((ticks / TICKS / age) * 100)) : 0),
    startTime(started),
    terminal(Number(f[4])),
    duration(Math.floor(ticks / TICKS)),
    command || `[${stat.slice(stat.indexOf('(') + 1, close)}]`,
  ];
}

function userNames(): Map<string, string> {
  try {
    const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
    return new Map(lines.map((l) => l.split(':')).map((p) => [p[2] ?? '', p[0] ?? '']));
  } catch {
    return new Map();
  }
}

/** As ps: the time today, the date before. */
function startTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const pad = (n: number): string => String(n).padStart(2, '0');
  if (date.toDateString() === new Date().toDateString())
    return `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  return date.toLocaleDateString('en-US', { month: 'short', day: '2-digit' }).replace(' ', '');
}

/** Number of a terminal in /proc/PID/stat. */
function terminal(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (device === 0) return '?';
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`;
  return major === 4 ? `tty${minor}` : `${major}:${minor}`;
}

function duration(seconds: number): string {
  const pad = (n: number): string => String(n).padStart(2, '0');
  return `${pad(Math.floor(seconds / 3600))}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
}

/** Runs the host's ps with the caller's arguments and keeps the lines of our processes. */
async function byPs(pids: number[], args: string[]): Promise<ProcessTable> {
  const { spawnSync } = await import('node:child_process');
  const result = spawnSync('ps', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.error) {
    throw new UnsupportedError(
      'cannot run ps with these arguments: the program ps was not found on this machine',
      {
        hint: 'install procps, or leave the arguments out',
        cause: result.error,
      },
    );
  }
  if (result.status !== 0) {
    throw new InvalidError(
      `ps ${args.join(' ')}: ${result.stderr.trim().split('\n')[0] || `exit code ${result.status}`}`,
    );
  }
  const [head = '', ...lines] = result.stdout.split('\n').filter((l) => l.trim() !== '');
  const titles = head.trim().split(/\s+/);
  const at = titles.indexOf('PID');
  if (at < 0)
    throw new InvalidError("Couldn't find PID field in ps output", {
      hint: 'include pid in the columns asked for',
    });
  const wanted = new Set(pids.map(String));
  const rows = lines
    .map((line) => {
      const fields = line.trim().split(/\s+/);
      return [...fields.slice(0, titles.length - 1), fields.slice(titles.length - 1).join(' ')];
    })
    .filter((fields) => wanted.has(fields[at] ?? ''));
  return { titles, rows };
}
