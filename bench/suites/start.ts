/** What a start costs, beside the floor and other runtimes. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { create } from '../../src/index.js';
import { profileProgram } from '../floor-profile.js';
import type { Row, Side } from '../harness.js';
import { commandLine, HEAP, importImage, runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { program, REPOSITORY, type Timer } from '../timer.js';

/** Asks a helper that does one start for each line, and answers its nanoseconds. */
class Helper {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  #said = '';
  #ended = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (c: Buffer) => {
      this.#said ||= c.toString().trim();
    });
    child.stdin?.on('error', () => {});
    createInterface({ input: child.stdout as NodeJS.ReadableStream })
      .on('line', (line) => this.#waiting.shift()?.(line))
      .on('close', () => {
        this.#ended = true;
        for (const w of this.#waiting.splice(0)) w(undefined);
      });
  }

  async run(): Promise<number> {
    const line = await new Promise<string | undefined>((resolve) => {
      if (this.#ended) return resolve(undefined);
      this.#waiting.push(resolve);
      this.#child.stdin?.write('\n');
    });
    if (line === undefined) throw new Error(this.#said || 'the helper ended');
    return Number(line);
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

const elapsed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start);
};

export async function startRows(setup: Setup): Promise<Row[]> {
  const { place, peers, timer } = setup;
  const scratch = path.join(place.directory, 'floor');
  await mkdir(scratch);
  const filter = path.join(place.directory, 'seccomp.bin');
  await writeFile(filter, profileProgram(place.state));
  const floor = new Helper(spawn(program('floor'), [place.rootfs, scratch, filter], { stdio: 'pipe' }));
  // What needs the image waits for it, and fails with its reason.
  const imported = importImage(place);
  imported.catch(() => {});
  const here = (options = {}) => elapsed(() => runHere(place, ['/true'], options));
  const timed = (argv: () => string[], by: Timer = timer): (() => Promise<number>) => {
    return async () => (await by.run(argv())).wall;
  };
  const byImage = (argv: string[]) => async (): Promise<number> => {
    await imported;
    return (await timer.run(commandLine(place, ...argv))).wall;
  };
  const others = peers.peers
    .filter((p) => !setup.quick || !p.name.includes('('))
    .map((p): Side => ({ name: p.name, run: timed(() => p.argv(['/true']), p.timer) }));

  const heap = fork(HEAP, [JSON.stringify(place)], {
    execArgv: ['--max-old-space-size=4096'],
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
  });
  const large = new Helper(heap);

  const sandbox = await create({
    rootfs: place.rootfs,
    root: place.root,
    state: place.state,
    command: ['sleep', '1000000'],
  });

  const starts: Row = {
    suite: 'start',
    id: 'start',
    title: 'A program that does nothing, in all namespaces',
    unit: 'ns',
    base: 'floor',
    rounds: setup.quick ? 15 : 60,
    sides: [
      { name: 'floor', run: () => floor.run() },
      { name: 'library run()', run: () => here() },
      { name: 'library run(), bridge', run: () => here({ network: 'bridge' }) },
      { name: 'library run(), heap of 1 GB', run: () => large.run() },
      {
        name: 'nsbox run --rm',
        run: byImage(['run', '--rm', '--network', 'none', 'bench', '/true']),
      },
      {
        name: 'nsbox run --rm, bridge',
        run: byImage(['run', '--rm', 'bench', '/true']),
      },
      { name: 'node -e 0', run: timed(() => [process.execPath, '-e', '0']) },
      { name: 'no container', run: timed(() => [program('true')]) },
      ...others,
    ],
    close: async () => {
      floor.close();
      large.close();
    },
  };
  const execs: Row = {
    suite: 'start',
    id: 'exec',
    title: 'A further program in a running container',
    unit: 'ns',
    base: 'library run()',
    rounds: setup.quick ? 15 : 60,
    sides: [
      { name: 'library run()', run: () => here() },
      {
        name: 'library exec()',
        run: () =>
          elapsed(async () => {
            const p = await sandbox.exec(['/true']);
            p.stdin.end();
            p.stdout.resume();
            p.stderr.resume();
            await p.wait();
          }),
      },
    ],
    close: async () => sandbox[Symbol.asyncDispose](),
  };
  const several = [1, 10, ...(setup.quick ? [] : [100])].map(
    (n): Row => ({
      suite: 'start',
      id: `at-once-${n}`,
      title: `${n} at once, time for each`,
      unit: 'ns',
      base: 'one after another',
      rounds: setup.quick ? 7 : 15,
      sides: [
        {
          name: 'one after another',
          run: async () => {
            const times: number[] = [];
            for (let i = 0; i < n; i++) times.push(await here());
            return times.reduce((a, b) => a + b, 0) / n;
          },
        },
        {
          name: 'at once',
          run: async () =>
            (await elapsed(() => Promise.all(Array.from({ length: n }, () => runHere(place, ['/true']))))) /
            n,
        },
      ],
    }),
  );
  return [starts, coldRow(setup, timed), execs, stopRow(setup), ...several];
}

/**
 * The same with the files of all sides out of the page cache. Files that running programs map stay (node itself is
 * one, the C library another), and so do directory entries; `--drop-caches` asks the kernel for those too.
 */
function coldRow(setup: Setup, timed: (argv: () => string[], by?: Timer) => () => Promise<number>): Row {
  const { place, peers, timer } = setup;
  const files = [
    place.rootfs,
    place.root,
    ...['dist', 'bin', 'build/Release', 'node_modules/node-addon-api'].map((d) => path.join(REPOSITORY, d)),
    ...['bwrap', 'crun', 'runc', 'podman', 'docker', 'conmon', 'netavark', 'systemd-nspawn'].flatMap((name) =>
      ['/usr/bin', '/usr/sbin', '/usr/libexec/podman', '/usr/lib/podman'].map((d) => path.join(d, name)),
    ),
  ];
  const cold = (work: () => Promise<number>) => async (): Promise<number> => {
    await timer.run([program('work'), 'evict', ...files]);
    if (setup.dropCaches) writeFileSync('/proc/sys/vm/drop_caches', '3');
    return work();
  };
  return {
    suite: 'start',
    id: 'start-cold',
    title: 'A program that does nothing, its files out of the page cache',
    unit: 'ns',
    base: 'no container',
    rounds: setup.quick ? 9 : 25,
    sides: [
      { name: 'no container', run: cold(timed(() => [path.join(place.rootfs, 'true')])) },
      { name: 'library run()', run: cold(() => elapsed(() => runHere(place, ['/true']))) },
      {
        name: 'nsbox run --rm',
        run: cold(timed(() => commandLine(place, 'run', '--rm', '--network', 'none', 'bench', '/true'))),
      },
      ...peers.peers
        .filter((p) => !setup.quick || ['bwrap', 'crun', 'runc'].includes(p.name))
        .map((p): Side => ({ name: p.name, run: cold(timed(() => p.argv(['/true']), p.timer)) })),
    ],
  };
}

/** A program that ends when it is told to: pid 1 of a container does so only where it says so itself. */
const WILLING = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];

/** Until the shell has set its trap: /proc says which signals it catches. */
async function trapped(pid: number): Promise<void> {
  const TERM = 1n << 14n;
  for (let i = 0; i < 1000; i++) {
    const caught = /^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    if (BigInt(`0x${caught ?? '0'}`) & TERM) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the program to be stopped sets no trap');
}

/** From asking a program to end until it is gone with all that held it. */
function stopRow(setup: Setup): Row {
  const { place, timer } = setup;
  return {
    suite: 'start',
    id: 'stop',
    title: 'Stop of a program that ends when it is told to',
    unit: 'ns',
    base: 'no container',
    rounds: setup.quick ? 9 : 31,
    sides: [
      {
        name: 'no container',
        run: async () => {
          const child = spawn('sleep', ['1000000'], { stdio: 'ignore' });
          const gone = new Promise((resolve) => child.once('exit', resolve));
          return elapsed(async () => {
            child.kill('SIGTERM');
            await gone;
          });
        },
      },
      {
        name: 'library kill() and wait()',
        run: async () => {
          const sandbox = await create({
            rootfs: place.rootfs,
            root: place.root,
            state: place.state,
            command: WILLING,
          });
          await trapped(sandbox.pid);
          const taken = await elapsed(async () => {
            sandbox.kill('SIGTERM');
            await sandbox.wait();
          });
          await sandbox[Symbol.asyncDispose]();
          return taken;
        },
      },
      {
        name: 'nsbox stop',
        run: async () => {
          const run = ['run', '-d', '--rm', '--network', 'none', 'bench', ...WILLING];
          const { last } = await timer.run(commandLine(place, ...run));
          const pid = await timer.output(commandLine(place, 'inspect', '--format', '{{.State.Pid}}', last));
          await trapped(Number(pid));
          return (await timer.run(commandLine(place, 'stop', last))).wall;
        },
      },
      ...(setup.quick ? [] : setup.peers.engines).map(
        (e): Side => ({
          name: `${e.name} stop`,
          run: async () => {
            const run = ['run', '-d', '--rm', '--network=none', ...e.options];
            const { last } = await e.timer.run([
              ...[...e.client, ...run, ...e.image(place.rootfs)],
              ...WILLING,
            ]);
            const pid = await e.timer.output([...e.client, 'inspect', '--format', '{{.State.Pid}}', last]);
            await trapped(Number(pid));
            return (await e.timer.run([...e.client, 'stop', last])).wall;
          },
        }),
      ),
    ],
  };
}
