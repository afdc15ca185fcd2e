/** The same static program on the same data, bare and in containers: processor, memory, system calls, files. */
import type { RunOptions } from '../../src/index.js';
import type { Row, Side } from '../harness.js';
import { runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { output, program } from '../timer.js';

interface Work {
  id: string;
  title: string;
  mode: string;
  /** How much of it one sample does: about 20 to 60 ms on a machine of 2020. */
  amount: number;
}

const CPU: Work[] = [
  { id: 'integer', title: 'Integer arithmetic', mode: 'integer', amount: 2e7 },
  { id: 'float', title: 'Floating point', mode: 'float', amount: 1e7 },
];
const MEMORY: Work[] = [
  { id: 'triad', title: 'Memory bandwidth (STREAM triad)', mode: 'triad', amount: 6 },
  { id: 'allocate', title: 'malloc and free', mode: 'allocate', amount: 8e5 },
  { id: 'faults', title: 'Page faults', mode: 'faults', amount: 3 },
];
const SYSCALLS: Work[] = [
  { id: 'getpid', title: 'getpid', mode: 'getpid', amount: 3e5 },
  { id: 'open', title: 'open and close', mode: 'open', amount: 2e4 },
  { id: 'readwrite', title: 'read and write of a byte', mode: 'readwrite', amount: 1e5 },
  { id: 'futex', title: 'futex, to and fro between two threads', mode: 'futex', amount: 4000 },
  { id: 'forkexec', title: 'fork, exec and wait', mode: 'forkexec', amount: 60 },
];
const DISK: Work[] = [
  { id: 'write', title: 'Write 64 MiB and fdatasync', mode: 'write', amount: 64 },
  { id: 'randomread', title: 'Random reads of 4 KiB, cached', mode: 'randomread', amount: 30000 },
  { id: 'fsync', title: 'Write 4 KiB and fsync', mode: 'fsync', amount: 100 },
  { id: 'metadata', title: 'Create, rename, stat, unlink', mode: 'metadata', amount: 1500 },
];

/** Ways of running it in nsbox: name and options. The first is the default. */
type Ways = readonly (readonly [name: string, options: Partial<RunOptions>])[];

const SECCOMP_OFF: Ways[number] = [
  'nsbox --security-opt seccomp=unconfined',
  { securityOpt: ['seccomp=unconfined'] },
];
const USERNS_HOST: Ways[number] = ['nsbox --userns=host', { request: { namespaces: { user: 'host' } } }];
const HOST_NETWORK: Ways[number] = ['nsbox --network=host', { network: 'host' }];

async function nanoseconds(text: string): Promise<number> {
  const value = Number(text.trim().split('\n').at(-1));
  if (!Number.isFinite(value))
    throw new Error(`expected nanoseconds from the work program, received ${JSON.stringify(text)}`);
  return value;
}

function rows(setup: Setup, suite: string, works: readonly Work[], ways: Ways): Row[] {
  const { place } = setup;
  return works.map((work) => {
    const command = (directory?: string): string[] => [
      work.mode,
      String(work.amount),
      ...(directory ? [directory] : []),
    ];
    const disk = suite === 'disk';
    const inside = disk ? '/var/tmp' : undefined;
    const own = ways.map(
      ([name, options]): Side => ({
        name,
        run: async () => {
          const where = options.mounts?.[0]?.target ?? inside;
          return nanoseconds((await runHere(place, ['/work', ...command(where)], options)).stdout);
        },
      }),
    );
    // Peers get it once each in a full run: their ways of starting are slow, not their way of running.
    const others = setup.quick ? [] : setup.peers.peers.filter((p) => !p.name.includes('bridge'));
    return {
      suite,
      id: work.id,
      title: work.title,
      unit: 'ns' as const,
      base: 'bare',
      rounds: setup.quick ? 11 : 31,
      sides: [
        {
          name: 'bare',
          run: async () =>
            nanoseconds(await output([program('work'), ...command(disk ? place.scratch : undefined)])),
        },
        ...own,
        ...others.map(
          (p): Side => ({
            name: p.name,
            run: async () => nanoseconds(await p.timer.output(p.argv(['/work', ...command(inside)]))),
          }),
        ),
      ],
    };
  });
}

export function cpuRows(setup: Setup): Row[] {
  return rows(
    setup,
    'cpu',
    CPU,
    setup.quick ? [['nsbox', {}]] : [['nsbox', {}], HOST_NETWORK, USERNS_HOST, SECCOMP_OFF],
  );
}

export function memoryRows(setup: Setup): Row[] {
  return rows(setup, 'memory', MEMORY, setup.quick ? [['nsbox', {}]] : [['nsbox', {}], USERNS_HOST]);
}

export function syscallRows(setup: Setup): Row[] {
  return rows(setup, 'syscalls', SYSCALLS, [
    ['nsbox', {}],
    SECCOMP_OFF,
    ...(setup.quick ? [] : [USERNS_HOST]),
  ]);
}

export function diskRows(setup: Setup): Row[] {
  return rows(setup, 'disk', DISK, [
    ['nsbox', {}],
    ['nsbox --volume', { mounts: [{ source: setup.place.scratch, target: '/data' }] }],
    ...(setup.quick ? [] : [['nsbox --tmpfs', { mounts: [{ type: 'tmpfs', target: '/data' }] }] as const]),
  ]);
}
