/** What each verb of the OCI runtime costs, beside runc's, and beside starting Node, which is part of it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Row, Side } from '../harness.js';
import type { Setup } from '../setup.js';
import { REPOSITORY, type Timer } from '../timer.js';

const QUIET = ['nosuid', 'noexec', 'nodev'];

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

/** One runtime, driven through a container's life with only one verb of it measured. */
class Life {
  readonly #timer: Timer;
  readonly #prefix: string[];
  readonly #bundle: string;
  #count = 0;

  constructor(timer: Timer, runtime: string, root: string, bundle: string) {
    this.#timer = timer;
    this.#prefix = [runtime, '--root', root];
    this.#bundle = bundle;
  }

  /** Nanoseconds of one verb; everything before and after it is done and not counted. */
  async time(verb: string): Promise<number> {
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
    for (const [name, args] of steps) {
      if (!['create', 'start', 'delete', verb].includes(name)) continue;
      const { wall } = await this.#timer.run([...this.#prefix, ...args]);
      if (name === verb) taken = wall;
    }
    return taken;
  }
}

export function ociRows(setup: Setup): Row[] {
  const { place, timer } = setup;
  const bundle = writeBundle(place.directory, place.rootfs);
  const roots: string[] = [];
  const life = (runtime: string): Life => {
    const root = path.join(place.directory, `oci-${path.basename(runtime)}`);
    roots.push(root);
    return new Life(timer, runtime, root, bundle);
  };
  const ours = life(path.join(REPOSITORY, 'bin/nsbox-oci'));
  const runc = setup.peers.peers.some((p) => p.name === 'runc') ? life('/usr/sbin/runc') : undefined;
  return ['create', 'start', 'state', 'exec', 'kill', 'delete'].map((verb): Row => {
    const sides: Side[] = [
      { name: 'node -e 0', run: async () => (await timer.run([process.execPath, '-e', '0'])).wall },
      { name: 'nsbox-oci', run: () => ours.time(verb) },
    ];
    if (runc) sides.push({ name: 'runc', run: () => runc.time(verb) });
    return {
      suite: 'oci',
      id: `oci-${verb}`,
      title: `${verb}, by the OCI runtime`,
      unit: 'ns',
      base: 'node -e 0',
      rounds: setup.quick ? 7 : 25,
      sides,
      close: async () => {
        if (verb === 'delete') for (const root of roots) rmSync(root, { recursive: true, force: true });
      },
    };
  });
}
