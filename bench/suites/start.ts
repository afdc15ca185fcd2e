/** What a start costs, beside the floor and other runtimes. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { create } from '../../src/index.js';
import { profileProgram } from '../floor-profile.js';
import type { Row, Side } from '../harness.js';
import { commandLine, importImage, runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { program, type Timer } from '../timer.js';

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
  const others = peers.peers.map(
    (p): Side => ({ name: p.name, run: timed(() => p.argv(['/true']), p.timer) }),
  );

  const heap = fork(path.join(import.meta.dirname, '../heap.js'), [JSON.stringify(place)], {
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
  const several = [10, ...(setup.quick ? [] : [100])].map(
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
  return [starts, execs, ...several];
}
