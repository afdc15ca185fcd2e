/** The same static program on the same data, bare and in containers: processor, memory, system calls, files. */
import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import type { RunOptions } from '../../src/index.js';
import { bareNumber, debian, number } from '../debian.js';
import type { Rate, Row, Side } from '../harness.js';
import { runHere } from '../nsbox.js';
import type { Where } from '../peers.js';
import type { Setup } from '../setup.js';
import { C_SOURCE, output, program } from '../timer.js';

interface Work {
  id: string;
  title: string;
  mode: string;
  /** How much of it one sample does: about 20 to 60 ms on a machine of 2020. */
  amount: number;
  rate?: Rate;
}

const MiB = 2 ** 20;
const CPU: Work[] = [
  { id: 'integer', title: 'Integer arithmetic', mode: 'integer', amount: 2e7 },
  { id: 'float', title: 'Floating point', mode: 'float', amount: 1e7 },
];
const triad: Rate = { amount: 6 * 3 * 32 * MiB, unit: 'B/s' };
const MEMORY: Work[] = [
  { id: 'triad', title: 'Memory bandwidth (STREAM triad)', mode: 'triad', amount: 6, rate: triad },
  { id: 'random', title: 'Memory, random updates', mode: 'random', amount: 1e6 },
  { id: 'allocate', title: 'malloc and free', mode: 'allocate', amount: 8e5 },
  { id: 'faults', title: 'Page faults', mode: 'faults', amount: 3 },
];
const SYSCALLS: Work[] = [
  { id: 'getpid', title: 'getpid', mode: 'getpid', amount: 3e5 },
  { id: 'open', title: 'openat and close of /dev/null', mode: 'open', amount: 2e4 },
  { id: 'readwrite', title: 'read and write of a byte', mode: 'readwrite', amount: 1e5 },
  { id: 'futex', title: 'futex, to and fro between two threads', mode: 'futex', amount: 4000 },
  { id: 'forkexec', title: 'fork, exec and wait', mode: 'forkexec', amount: 60 },
];
/** Files that the program makes, where it is told to. */
const DISK: Work[] = [
  { id: 'write', title: 'Write 64 MiB and fdatasync', mode: 'write', amount: 64 },
  { id: 'read', title: 'Read 16 MiB in order, cached', mode: 'read', amount: 12 },
  { id: 'randomread', title: 'Random reads of 4 KiB, cached', mode: 'randomread', amount: 30000 },
  { id: 'fsync', title: 'Write 4 KiB and fsync', mode: 'fsync', amount: 100 },
  { id: 'metadata', title: 'Create, rename, stat, unlink', mode: 'metadata', amount: 1500 },
];
/** Files of the root filesystem, which are an overlay's lower layer. */
const LOWER: Work[] = [
  { id: 'lower-read', title: 'Read a file of the image', mode: 'lowerread', amount: 40 },
  { id: 'lower-open', title: 'Open files of the image', mode: 'loweropen', amount: 60 },
  { id: 'lower-stat', title: 'stat files of the image', mode: 'lowerstat', amount: 150 },
];

/** A way of running it in nsbox: its name, the library's options, and the directory for files where it has one. */
interface Way {
  name: string;
  options: Partial<RunOptions>;
  directory?: string;
}
const DEFAULT: Way = { name: 'nsbox', options: {} };
const SECCOMP_OFF: Way = {
  name: 'nsbox --security-opt seccomp=unconfined',
  options: { securityOpt: ['seccomp=unconfined'] },
};
const USERNS_HOST: Way = {
  name: 'nsbox --userns=host',
  options: { request: { namespaces: { user: 'host' } } },
};
const HOST_NETWORK: Way = { name: 'nsbox --network=host', options: { network: 'host' } };

interface RowSides {
  setup: Setup;
  suite: string;
  work: Work;
  ways: readonly Way[];
  /** Where a bare run finds or makes its files. */
  bareDirectory?: string;
  /** Where a container does, unless its way says. */
  directory?: string;
  /** A directory of the host that peers get as a volume, besides what they do by default. */
  volume?: string;
}

function row({ setup, suite, work, ways, bareDirectory, directory, volume }: RowSides): Row {
  const { place } = setup;
  const command = (at: string | undefined): string[] => [work.mode, String(work.amount), ...(at ? [at] : [])];
  const inside = ['/work', ...command(directory)];
  const others = setup.peers.peers.filter((p) => !p.name.includes('bridge'));
  const byPeers = (where: Where, argv: readonly string[], suffix: string): Side[] =>
    others.map((p) => ({
      name: p.name + suffix,
      run: async () => number(await p.timer.output(p.argv(argv, where))),
    }));
  return {
    suite,
    id: work.id,
    title: work.title,
    unit: 'ns',
    base: 'bare',
    rounds: setup.quick ? 11 : 31,
    ...(work.rate ? { rate: work.rate } : {}),
    sides: [
      { name: 'bare', run: async () => number(await output([program('work'), ...command(bareDirectory)])) },
      ...ways.map(
        (way): Side => ({
          name: way.name,
          run: async () =>
            number(
              (await runHere(place, ['/work', ...command(way.directory ?? directory)], way.options)).stdout,
            ),
        }),
      ),
      // Ways of starting differ more than ways of running: a quick run leaves the slow starters out.
      ...(setup.quick ? [] : byPeers({}, inside, '')),
      ...(setup.quick || !volume
        ? []
        : byPeers({ volumes: { '/data': volume } }, ['/work', ...command('/data')], ' --volume')),
    ],
  };
}

export async function cpuRows(setup: Setup): Promise<Row[]> {
  const ways = setup.quick ? [DEFAULT] : [DEFAULT, HOST_NETWORK, USERNS_HOST, SECCOMP_OFF];
  const rows = CPU.map((work) => row({ setup, suite: 'cpu', work, ways }));
  rows.push(await compileRow(setup, ways));
  return rows;
}

/** gcc of the Debian tree compiles bench/work.c: what a build does, with its hundreds of opens and its processes. */
async function compileRow(setup: Setup, ways: readonly Way[]): Promise<Row> {
  const { place } = setup;
  const tree = await debian(place);
  cpSync(C_SOURCE, path.join(tree, 'work.c'));
  const data = path.join(place.scratch, 'compile');
  mkdirSync(data, { recursive: true, mode: 0o777 });
  const command = (out: string) => ['/work', 'command', '1', 'gcc', '-O2', '-c', '-o', out, '/work.c'];
  const own = async (options: Partial<RunOptions>, out = '/tmp/work.o'): Promise<number> =>
    number((await runHere(place, command(out), { rootfs: tree, ...options })).stdout);
  return {
    suite: 'cpu',
    id: 'compile',
    title: 'gcc -O2 of a C file of 400 lines',
    unit: 'ns',
    base: 'bare',
    rounds: setup.quick ? 7 : 21,
    sides: [
      { name: 'bare', run: () => bareNumber(tree, data, command('/tmp/work.o')) },
      ...ways.map(({ name, options }): Side => ({ name, run: () => own(options) })),
      ...(setup.quick
        ? []
        : setup.peers.peers
            .filter((p) => !p.name.includes('bridge'))
            .map(
              (p): Side => ({
                name: p.name,
                run: async () =>
                  number(await p.timer.output(p.argv(command('/tmp/work.o'), { rootfs: tree }))),
              }),
            )),
    ],
  };
}

export function memoryRows(setup: Setup): Row[] {
  const ways = setup.quick ? [DEFAULT] : [DEFAULT, USERNS_HOST];
  return MEMORY.map((work) => row({ setup, suite: 'memory', work, ways }));
}

export function syscallRows(setup: Setup): Row[] {
  const ways = setup.quick ? [DEFAULT, SECCOMP_OFF] : [DEFAULT, SECCOMP_OFF, USERNS_HOST];
  return SYSCALLS.map((work) => row({ setup, suite: 'syscalls', work, ways }));
}

/**
 * Files in the container's own layer, on a volume, on tmpfs; files of the image (the overlay's lower layer), and
 * their first write, which copies them up.
 */
export function diskRows(setup: Setup): Row[] {
  const { place } = setup;
  const volume: Way = {
    name: 'nsbox --volume',
    options: { mounts: [{ source: place.scratch, target: '/data' }] },
    directory: '/data',
  };
  const tmpfs: Way = {
    name: 'nsbox --tmpfs',
    options: { mounts: [{ type: 'tmpfs', target: '/data' }] },
    directory: '/data',
  };
  const image: Way = {
    name: 'nsbox --volume',
    options: { mounts: [{ source: path.join(place.rootfs, 'lower'), target: '/data/lower' }] },
    directory: '/data',
  };
  const rows = DISK.map((work) =>
    row({
      setup,
      suite: 'disk',
      work,
      ways: setup.quick ? [DEFAULT, volume] : [DEFAULT, volume, tmpfs, USERNS_HOST],
      bareDirectory: place.scratch,
      directory: '/var/tmp',
      volume: place.scratch,
    }),
  );
  for (const work of LOWER) {
    rows.push(
      row({
        setup,
        suite: 'disk',
        work,
        ways: setup.quick ? [DEFAULT, image] : [DEFAULT, image, USERNS_HOST],
        bareDirectory: place.rootfs,
        directory: '/',
      }),
    );
  }
  rows.push(copyUpRow(setup));
  return rows;
}

/** The first write to a file of the image copies it whole; bare, the same program copies it itself. */
function copyUpRow(setup: Setup): Row {
  const { place } = setup;
  const inside = async (options: Partial<RunOptions>): Promise<number> =>
    number((await runHere(place, ['/work', 'copyup', '1', '/'], options)).stdout);
  return {
    suite: 'disk',
    id: 'copyup',
    title: 'First write to a file of 16 MiB of the image',
    unit: 'ns',
    base: 'a copy by hand',
    rounds: setup.quick ? 9 : 21,
    sides: [
      {
        name: 'a copy by hand',
        run: async () => number(await output([program('work'), 'copyhand', '1', place.rootfs])),
      },
      { name: 'nsbox', run: () => inside({}) },
      ...(setup.quick ? [] : [{ name: 'nsbox --userns=host', run: () => inside(USERNS_HOST.options) }]),
      ...(setup.quick
        ? []
        : setup.peers.peers
            .filter((p) => ['docker', 'podman', 'systemd-nspawn'].includes(p.name))
            .map(
              (p): Side => ({
                name: p.name,
                run: async () => number(await p.timer.output(p.argv(['/work', 'copyup', '1', '/']))),
              }),
            )),
    ],
  };
}
