import { ConflictError, InvalidError } from '../../base/index.js';
import { readUsage, type Usage, waitForFile } from '../../cgroup/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { load, type OciRecord, statusOf } from '../containers.js';
import { print } from '../log.js';
import type { Runtime } from '../runtime.js';

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `events`: figures of a container, once (`--stats`) or at an interval until it ends; one JSON object a line. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, [
    { name: 'stats', kind: 'switch' },
    { name: 'interval', kind: 'text' },
  ]);
  checkCount('events', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  if (statusOf(runtime.root, record) === 'stopped') {
    throw new ConflictError(`container with id ${record.id} is not running`);
  }
  const interval = duration(args.texts['interval'] ?? '5s');
  if (args.switches['stats']) {
    show(record);
    return 0;
  }
  let ooms = readUsage(record.groups).events.oomKill;
  while (statusOf(runtime.root, record) !== 'stopped') {
    show(record);
    const { unified } = record.groups;
    // The end of the last process shows in cgroup.events at once.
    if (unified)
      await waitForFile(
        `${unified}/cgroup.events`,
        () => statusOf(runtime.root, record) === 'stopped',
        interval,
      );
    else await new Promise((resolve) => setTimeout(resolve, interval));
    const { oomKill } = readUsage(record.groups).events;
    if (oomKill > ooms) print(1, `${JSON.stringify({ type: 'oom', id: record.id })}\n`);
    ooms = oomKill;
  }
  return 0;
}

function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  const value = match ? Number(match[1]) * UNITS[match[2]!]! : 0;
  if (value <= 0) throw new InvalidError(`duration interval must be greater than 0: ${JSON.stringify(text)}`);
  return value;
}

function show(record: OciRecord): void {
  print(1, `${JSON.stringify({ type: 'stats', id: record.id, data: figures(readUsage(record.groups)) })}\n`);
}

/** The figures in the names and units of runc (nanoseconds, bytes). */
function figures(u: Usage): object {
  const sum = (key: 'readBytes' | 'writeBytes' | 'reads' | 'writes', op: string) =>
    u.io.map((d) => {
      const [major, minor] = d.device.split(':').map(Number);
      return { major, minor, op, value: d[key] };
    });
  return {
    cpu: {
      usage: { total: u.cpu.usageUsec * 1000, kernel: u.cpu.systemUsec * 1000, user: u.cpu.userUsec * 1000 },
      throttling: {
        periods: u.cpu.periods,
        throttledPeriods: u.cpu.throttledPeriods,
        throttledTime: u.cpu.throttledUsec * 1000,
      },
    },
    memory: {
      cache: u.memory.cache,
      usage: {
        limit: u.memory.limit ?? 18446744073709552000,
        usage: u.memory.total,
        max: u.memory.peak ?? 0,
        failcnt: u.events.memoryMax,
      },
      swap: { limit: u.memory.swapLimit ?? 18446744073709552000, usage: u.memory.swap, failcnt: 0 },
    },
    pids: { current: u.pids.current, ...(u.pids.limit === null ? {} : { limit: u.pids.limit }) },
    blkio: {
      ioServiceBytesRecursive: [...sum('readBytes', 'Read'), ...sum('writeBytes', 'Write')],
      ioServicedRecursive: [...sum('reads', 'Read'), ...sum('writes', 'Write')],
    },
  };
}
