/** What an idle container holds: memory and processes besides its own program. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Row } from '../harness.js';
import { commandLine, importImage } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { output } from '../timer.js';

/** Proportional set size of a process: its own pages whole, shared ones by share. In bytes. */
function pss(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024;
}

function parent(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Processes of the machine. */
function processes(): number {
  return readdirSync('/proc').filter((n) => /^\d+$/.test(n)).length;
}

/** Idle containers, and what to remove them with. */
interface Idle {
  pids: number[];
  /** Processes on the machine that weren't there before, for each container. */
  added: number;
  remove(): Promise<void>;
}

type Start = (index: number) => Promise<{ id: string; pid: number }>;

async function idle(n: number, start: Start, remove: (ids: string[]) => Promise<unknown>): Promise<Idle> {
  const before = processes();
  const made: { id: string; pid: number }[] = [];
  const discard = async (): Promise<void> => {
    for (let i = 0; i < made.length; i += 50) await remove(made.slice(i, i + 50).map((m) => m.id));
    made.length = 0;
  };
  try {
    // Several at a time: the machine has more than one processor.
    const next = Array.from({ length: n }, (_, i) => i).values();
    const work = async (): Promise<void> => {
      for (const i of next) made.push(await start(i));
    };
    await Promise.all([work(), work(), work(), work()]);
  } catch (error) {
    await discard();
    throw error;
  }
  return { pids: made.map((m) => m.pid), added: (processes() - before) / n, remove: discard };
}

/** A row whose containers live while it is measured. */
function row(setup: Setup, n: number): Row {
  const { place } = setup;
  const nsbox = (...argv: string[]): Promise<string> => output(commandLine(place, ...argv));
  let own: Promise<Idle> | undefined;
  const ready = (): Promise<Idle> => {
    own ??= idle(
      n,
      async () => {
        const run = ['run', '-d', '--network', 'none', 'bench', 'sleep', '1000000'];
        const id = (await nsbox(...run)).trim();
        return { id, pid: Number((await nsbox('inspect', '--format', '{{.State.Pid}}', id)).trim()) };
      },
      (ids) => nsbox('rm', '-f', ...ids),
    );
    return own;
  };
  let at = 0;
  const next = async (): Promise<number> => (await ready()).pids[at++ % n] as number;
  const peers = n > 10 ? [] : setup.peers.engines;
  const others = peers.map((e) => {
    let theirs: Promise<Idle> | undefined;
    const get = (): Promise<Idle> => {
      theirs ??= idle(
        n,
        async () => {
          const run = [...e.client, 'run', '-d', '--network=none', ...e.options];
          const id = await e.timer.output([...run, ...e.image(place.rootfs), 'sleep', '1000000']);
          const pid = await e.timer.output([...e.client, 'inspect', '--format', '{{.State.Pid}}', id]);
          return { id, pid: Number(pid) };
        },
        (ids) => e.timer.run([...e.client, 'rm', '-f', ...ids]),
      );
      return theirs;
    };
    let which = 0;
    return {
      side: {
        name: e.name === 'podman' ? "podman's conmon" : "docker's shim",
        run: async () => pss(parent((await get()).pids[which++ % n] as number)),
      },
      remove: async () => (await theirs)?.remove(),
    };
  });
  return {
    suite: 'density',
    id: `idle-${n}`,
    title: n === 1 ? 'Memory of an idle container' : `Memory of one of ${n} idle containers`,
    unit: 'bytes',
    base: 'the program itself (sleep)',
    rounds: Math.max(7, Math.min(n - 1, 100)),
    sides: [
      { name: 'the program itself (sleep)', run: async () => pss(await next()) },
      { name: "nsbox's monitor", run: async () => pss(parent(await next())) },
      ...others.map((o) => o.side),
    ],
    close: async () => {
      await (await own?.catch(() => undefined))?.remove();
      for (const o of others) await o.remove().catch(() => {});
    },
  };
}

/** How many processes an idle container brings, its own program among them. Another's on a busy machine count too. */
function processRow(setup: Setup): Row {
  const { place } = setup;
  const nsbox = (...argv: string[]): Promise<string> => output(commandLine(place, ...argv));
  const n = 5;
  const count = async (start: Start, remove: (ids: string[]) => Promise<unknown>): Promise<number> => {
    const them = await idle(n, start, remove);
    await them.remove();
    return Math.max(0, them.added);
  };
  return {
    suite: 'density',
    id: 'processes',
    title: 'Processes of an idle container, its program included',
    unit: 'count',
    base: 'nsbox',
    rounds: setup.quick ? 6 : 9,
    sides: [
      {
        name: 'nsbox',
        run: () =>
          count(
            async () => {
              const run = ['run', '-d', '--network', 'none', 'bench', 'sleep', '1000000'];
              return { id: (await nsbox(...run)).trim(), pid: 0 };
            },
            (ids) => nsbox('rm', '-f', ...ids),
          ),
      },
      ...(setup.quick ? [] : setup.peers.engines).map((e) => ({
        name: e.name,
        run: () =>
          count(
            async () => {
              const run = [...e.client, 'run', '-d', '--network=none', ...e.options];
              return {
                id: await e.timer.output([...run, ...e.image(place.rootfs), 'sleep', '1000000']),
                pid: 0,
              };
            },
            (ids) => e.timer.run([...e.client, 'rm', '-f', ...ids]),
          ),
      })),
    ],
  };
}

export async function densityRows(setup: Setup): Promise<Row[]> {
  await importImage(setup.place);
  const counts = setup.quick ? [1, 20] : [1, 10, 100, 500];
  return [...counts.map((n) => row(setup, n)), processRow(setup)];
}
