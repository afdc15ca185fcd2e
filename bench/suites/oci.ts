/**
 * What OCI runtimes cost: a container's life verb by verb and as a whole, an exec, and `podman run` on each of them. Node's own
 * start, which is part of every command of nsbox-oci, is a row of its own.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Row, Side } from '../harness.js';
import type { Peer } from '../peers.js';
import type { Setup } from '../setup.js';
import { REPOSITORY, type Timer } from '../timer.js';

const QUIET = ['nosuid', 'noexec', 'nodev'];
const OURS = path.join(REPOSITORY, 'bin/nsbox-oci');

function writeBundle(directory: string, rootfs: string): string {
  const bundle = path.join(directory, 'oci-bundle');
  mkdirSync(bundle, { recursive: true });
  writeFileSync(
    path.join(bundle, 'config.json'),
    JSON.stringify({
      ociVersion: '1.0.2',
      process: { user: { uid: 0, gid: 0 }, args: ['sleep', '1000'], env: ['PATH=/bin:/usr/bin:/'], cwd: '/' },
      root: { path: rootfs },
      hostname: 'bench',
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
        {
          destination: '/dev/pts',
          type: 'devpts',
          source: 'devpts',
          options: ['nosuid', 'newinstance', 'gid=5'],
        },
        { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...QUIET, 'ro'] },
      ],
      linux: {
        resources: { devices: [{ allow: false, access: 'rwm' }] },
        namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      },
    }),
  );
  return bundle;
}

/** One runtime, driven through a container's life with some of its verbs measured. */
class Life {
  readonly name: string;
  readonly #timer: Timer;
  readonly #prefix: string[];
  readonly #bundle: string;
  #count = 0;

  constructor(name: string, timer: Timer, runtime: string, root: string, bundle: string) {
    this.name = name;
    this.#timer = timer;
    this.#prefix = [runtime, '--root', root];
    this.#bundle = bundle;
  }

  /** Nanoseconds of the verbs asked for, together; what must come before and after them is done and not counted. */
  async time(verbs: readonly string[]): Promise<number> {
    const id = `bench-${process.pid}-${this.#count++}`;
    const steps: [string, string[]][] = [
      ['create', ['create', '--bundle', this.#bundle, id]],
      ['state', ['state', id]],
      ['start', ['start', id]],
      ['exec', ['exec', id, '/true']],
      ['kill', ['kill', id, 'KILL']],
      ['delete', ['delete', '--force', id]],
    ];
    let taken = 0;
    try {
      for (const [name, args] of steps) {
        if (!['create', 'start', 'delete'].includes(name) && !verbs.includes(name)) continue;
        const { wall } = await this.#timer.run([...this.#prefix, ...args]);
        if (verbs.includes(name)) taken += wall;
      }
    } catch (error) {
      await this.#timer.run([...this.#prefix, 'delete', '--force', id]).catch(() => undefined);
      throw error;
    }
    return taken;
  }
}

/** `podman run` on a runtime: podman's own command line, with the runtime named in it. */
function podmanOn(podman: Peer, runtime: string): () => Promise<number> {
  return async () => {
    const [program, ...rest] = podman.argv(['/true']);
    return (await podman.timer.run([program as string, '--runtime', runtime, ...rest])).wall;
  };
}

const TITLES: [id: string, title: string, verbs: string[]][] = [
  ...['create', 'start', 'state', 'exec', 'kill', 'delete'].map((verb): [string, string, string[]] => [
    verb,
    `${verb}, by the OCI runtime`,
    [verb],
  ]),
  ['life', 'create, start and delete, by the OCI runtime', ['create', 'start', 'delete']],
];

export function ociRows(setup: Setup): Row[] {
  const { place, timer, peers } = setup;
  const bundle = writeBundle(place.directory, place.rootfs);
  const root = (name: string): string => path.join(place.directory, `oci-${name}`);
  const lives = [new Life('nsbox-oci', timer, OURS, root('nsbox-oci'), bundle)];
  for (const name of ['crun', 'runc']) {
    const peer = peers.peers.find((p) => p.name === name);
    if (peer) lives.push(new Life(name, peer.timer, name, root(name), bundle));
  }
  const rounds = setup.quick ? 7 : 25;
  const node: Side = {
    name: 'node -e 0',
    run: async () => (await timer.run([process.execPath, '-e', '0'])).wall,
  };
  // What a container's life is made of; its other verbs are a matter of the full run.
  const titles = setup.quick ? TITLES.filter(([id]) => ['create', 'exec', 'life'].includes(id)) : TITLES;
  const rows = titles.map(
    ([id, title, verbs]): Row => ({
      suite: 'oci',
      id: `oci-${id}`,
      title,
      unit: 'ns',
      base: 'nsbox-oci',
      rounds,
      sides: lives.map((life) => ({ name: life.name, run: () => life.time(verbs) })),
    }),
  );
  rows.unshift({
    suite: 'oci',
    id: 'oci-node',
    title: "Node's own start, part of every command of nsbox-oci",
    unit: 'ns',
    base: node.name,
    rounds,
    sides: [
      node,
      { name: 'nsbox-oci --version', run: async () => (await timer.run([OURS, '--version'])).wall },
    ],
  });
  const podman = peers.peers.find((p) => p.name === 'podman');
  if (podman && setup.quick) setup.skip('podman run on each runtime', '--quick');
  else if (podman) {
    rows.push({
      suite: 'oci',
      id: 'oci-podman',
      title: 'podman run --rm --network=none, on each runtime',
      unit: 'ns',
      base: 'nsbox-oci',
      rounds: 15,
      sides: lives.map((life) => ({
        name: life.name,
        run: podmanOn(podman, life.name === 'nsbox-oci' ? OURS : life.name),
      })),
    });
  }
  const last = rows.at(-1) as Row;
  last.close = async () => {
    for (const life of lives) rmSync(root(life.name), { recursive: true, force: true });
  };
  return rows;
}
