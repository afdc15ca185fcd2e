/** What an idle container holds: memory and processes besides its own program. */
import { readFileSync } from 'node:fs';
import type { Row } from '../harness.js';
import { commandLine, importImage } from '../nsbox.js';
import { type Engine, removal } from '../peers.js';
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

/** Programs that serve all containers at once, and so are no container's own. */
const SHARED = /^(dockerd|containerd|systemd|init)$/;

/** Processes that a container brings: its program, and what stands above it for it alone. */
function ownProcesses(pid: number): number {
  let count = 1;
  for (let up = parent(pid); up > 1 && up !== process.pid; up = parent(up)) {
    if (SHARED.test(readFileSync(`/proc/${up}/comm`, 'utf8').trim())) break;
    count++;
  }
  return count;
}

/** Idle containers, and what to remove them with. */
interface Idle {
  pids: number[];
  remove(): Promise<void>;
}

/** How one kind of container is made, found and removed. */
interface Kind {
  /** Its id. */
  start(): Promise<string>;
  /** Process ids of the programs in them. */
  pids(ids: readonly string[]): Promise<number[]>;
  remove(ids: readonly string[]): Promise<unknown>;
}

async function idle(n: number, kind: Kind): Promise<Idle> {
  const made: string[] = [];
  const discard = async (): Promise<void> => {
    for (let i = 0; i < made.length; i += 50) await kind.remove(made.slice(i, i + 50));
    made.length = 0;
  };
  try {
    // Several at a time: the machine has more than one processor.
    const next = Array.from({ length: n }, (_, i) => i).values();
    const work = async (): Promise<void> => {
      for (const _ of next) made.push(await kind.start());
    };
    await Promise.all([work(), work(), work(), work()]);
    return { pids: await kind.pids(made), remove: discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** Containers of one kind, made when they are first asked for; each question is about the next of them. */
class Containers {
  readonly #make: () => Promise<Idle>;
  #made: Promise<Idle> | undefined;
  #at = 0;

  constructor(n: number, kind: Kind) {
    this.#make = () => idle(n, kind);
  }

  async next(): Promise<number> {
    this.#made ??= this.#make();
    const { pids } = await this.#made;
    return pids[this.#at++ % pids.length] as number;
  }

  async close(): Promise<void> {
    await (await this.#made?.catch(() => undefined))?.remove();
  }
}

function ofNsbox({ place }: Setup, n: number): Containers {
  const nsbox = (...argv: string[]): Promise<string> => output(commandLine(place, ...argv));
  return new Containers(n, {
    start: async () => (await nsbox('run', '-d', '--network', 'none', 'bench', 'sleep', '1000000')).trim(),
    pids: async (ids) =>
      (await nsbox('inspect', '--format', '{{.State.Pid}}', ...ids)).trim().split('\n').map(Number),
    remove: (ids) => nsbox('rm', '-f', ...ids),
  });
}

function ofEngine({ place }: Setup, e: Engine, n: number): Containers {
  return new Containers(n, {
    start: () => {
      const run = [...e.client, 'run', '-d', '--network=none', ...e.options];
      return e.timer.output([...run, ...e.image(place.rootfs), 'sleep', '1000000']);
    },
    pids: async (ids) => {
      const out: number[] = [];
      for (const id of ids)
        out.push(Number(await e.timer.output([...e.client, 'inspect', '--format', '{{.State.Pid}}', id])));
      return out;
    },
    remove: (ids) => e.timer.run([...e.client, ...removal(e), ...ids]),
  });
}

function memoryRow(setup: Setup, n: number): Row {
  const own = ofNsbox(setup, n);
  const theirs = n > 10 ? [] : setup.peers.engines.map((e) => ({ name: e.name, all: ofEngine(setup, e, n) }));
  return {
    suite: 'density',
    id: `idle-${n}`,
    title: n === 1 ? 'Memory of an idle container' : `Memory of one of ${n} idle containers`,
    unit: 'bytes',
    base: 'the program itself (sleep)',
    patience: 600_000,
    rounds: Math.max(7, Math.min(n - 1, 100)),
    sides: [
      { name: 'the program itself (sleep)', run: async () => pss(await own.next()) },
      { name: "nsbox's monitor", run: async () => pss(parent(await own.next())) },
      ...theirs.map((t) => ({
        name: t.name === 'podman' ? "podman's conmon" : "docker's shim",
        run: async () => pss(parent(await t.all.next())),
      })),
    ],
    close: async () => {
      for (const c of [own, ...theirs.map((t) => t.all)]) await c.close();
    },
  };
}

function processRow(setup: Setup): Row {
  const kinds = [
    { name: 'nsbox', all: ofNsbox(setup, 3) },
    ...setup.peers.engines.map((e) => ({ name: e.name as string, all: ofEngine(setup, e, 3) })),
  ];
  return {
    suite: 'density',
    id: 'processes',
    title: 'Processes of an idle container, its program included',
    unit: 'count',
    base: 'nsbox',
    rounds: 6,
    sides: kinds.map((k) => ({ name: k.name, run: async () => ownProcesses(await k.all.next()) })),
    close: async () => {
      for (const k of kinds) await k.all.close();
    },
  };
}

export async function densityRows(setup: Setup): Promise<Row[]> {
  await importImage(setup.place);
  const counts = setup.quick ? [1, 10] : [1, 10, 100, 500];
  return [...counts.map((n) => memoryRow(setup, n)), processRow(setup)];
}
