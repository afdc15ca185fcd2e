/**
 * What it costs to bring an image onto disk, from an archive and from a registry, beside other engines and `tar -xzf` on
 * the same layers. Time, processor time and peak memory are of the same runs.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { debianTar } from '../../rootfs-tools/debian.js';
import type { Row, Side } from '../harness.js';
import { type ImageSample, makeImage, makeLayer, splitRoot, usageOf } from '../image-sample.js';
import { commandLine } from '../nsbox.js';
import type { Setup } from '../setup.js';
import type { Timed } from '../timer.js';

interface Measured {
  wall: number;
  cpu: number;
  peak: number;
}

/** A way to bring an image to `out`, an empty directory; the last of its commands is unpacked when it ends. */
interface Way {
  name: string;
  command(sample: ImageSample, out: string): string[];
  /** A process that does a part of the work. */
  daemon?: number;
}

const installed = (program: string) =>
  ['/usr/bin', '/usr/sbin', '/bin'].some((d) => existsSync(path.join(d, program)));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
  const { port } = server.address() as AddressInfo;
  await new Promise((r) => server.close(r));
  return port;
}

async function until(what: string, ready: () => boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (ready()) return;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error(`${what} does not start`);
}

const succeeds = (argv: string[]): boolean => {
  try {
    execFileSync(argv[0]!, argv.slice(1), { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

export async function imageRows(setup: Setup): Promise<Row[]> {
  const directory = path.join(setup.place.directory, 'image');
  mkdirSync(directory, { recursive: true });
  const daemons: ChildProcess[] = [];
  const rows: Row[] = [];
  const at = (name: string) => path.join(directory, name);
  const own = (out: string, ...argv: string[]) =>
    commandLine({ root: path.join(out, 'root'), state: path.join(out, 'state') }, ...argv);
  const podman = (out: string, ...argv: string[]) => [
    'podman',
    '--root',
    path.join(out, 'podman'),
    '--runroot',
    path.join(out, 'run'),
    ...argv,
  ];

  const ways: Way[] = [
    {
      name: 'tar -xzf',
      command: (s, out) => [
        'sh',
        '-ec',
        'd=$1; shift; for l in "$@"; do tar -xzf "$l" -C "$d"; done',
        'sh',
        out,
        ...s.layers,
      ],
    },
    { name: 'nsbox load', command: (s, out) => own(out, 'load', '-q', '-i', s.archive) },
  ];
  if (installed('podman')) {
    ways.push({ name: 'podman load', command: (s, out) => podman(out, 'load', '-q', '-i', s.archive) });
  } else setup.skip('podman load', 'podman is not installed');
  if (setup.quick) setup.skip('skopeo copy + umoci unpack', '--quick');
  else if (installed('skopeo') && installed('umoci')) {
    const script =
      'skopeo copy -q "oci-archive:$1" "oci:$2/layout:b"; umoci unpack --image "$2/layout:b" "$2/bundle"';
    ways.push({
      name: 'skopeo copy + umoci unpack',
      command: (s, out) => ['sh', '-ec', script, 'sh', s.archive, out],
    });
  } else setup.skip('skopeo copy + umoci unpack', 'skopeo or umoci is not installed');
  if (setup.quick) setup.skip('ctr image import', '--quick');
  else if (installed('containerd') && installed('ctr')) {
    const socket = at('containerd.sock');
    writeFileSync(at('containerd.toml'), 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    const options = ['--config', at('containerd.toml'), '--root', at('ctr'), '--state', at('ctr-state')];
    const child = spawn('containerd', [...options, '--address', socket], { stdio: 'ignore' });
    daemons.push(child);
    await until('containerd', () => succeeds(['ctr', '-a', socket, 'version']));
    // A namespace a run: what one has brought, another doesn't find.
    const script = 'n=$(basename "$2"); ctr -a "$3" -n "$n" image import "$1"';
    ways.push({
      name: 'ctr image import',
      command: (s, out) => ['sh', '-ec', script, 'sh', s.archive, out, socket],
      daemon: child.pid!,
    });
  } else setup.skip('ctr image import', 'containerd is not installed');
  let registry: string | undefined;
  if (installed('docker-registry') && installed('skopeo')) {
    registry = `127.0.0.1:${await freePort()}`;
    const config = `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${at('registry')}}}\nhttp: {addr: "${registry}"}\n`;
    writeFileSync(at('registry.yml'), config);
    daemons.push(spawn('docker-registry', ['serve', at('registry.yml')], { stdio: 'ignore' }));
    const url = `http://${registry}/v2/`;
    await until('docker-registry', () =>
      succeeds([
        process.execPath,
        '-e',
        `fetch(${JSON.stringify(url)}).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))`,
      ]),
    );
  } else setup.skip('pull', 'docker-registry or skopeo is not installed');

  let number = 0;
  const add = (
    id: string,
    title: string,
    sample: ImageSample,
    list: Way[],
    keep: boolean,
    rounds: number,
  ) => {
    const measured = new Map<string, Measured[]>(list.map((w) => [w.name, []]));
    const run = async (way: Way): Promise<number> => {
      // What an earlier round left would be found and skipped. And nothing of many files is removed between rounds:
      // ext4 passes over inodes that were freed just now, one by one, which makes the next thousands of files slow.
      const out = at(`out-${number++}`);
      mkdirSync(out);
      const before = way.daemon === undefined ? undefined : usageOf(way.daemon);
      const t: Timed = await setup.timer.run(way.command(sample, out));
      const after = way.daemon === undefined ? undefined : usageOf(way.daemon);
      measured.get(way.name)!.push({
        wall: t.wall,
        cpu: (t.user + t.system) * 1000 + (after ? after.cpu - before!.cpu : 0),
        peak: Math.max(t.peak, after?.peak ?? 0),
      });
      if (!keep) rmSync(out, { recursive: true, force: true });
      return t.wall;
    };
    const row = (what: keyof Measured, suffix: string, unit: Row['unit'], sides: Side[]): Row => ({
      suite: 'image',
      id: `image-${id}${suffix}`,
      title: `${title}: ${{ wall: 'time', cpu: 'processor time', peak: 'peak memory' }[what]}`,
      unit,
      base: list[0]!.name,
      rounds,
      sides,
    });
    // The later two rows are read from what the first one measured, in the order of its runs.
    const recorded = (what: keyof Measured): Side[] =>
      list.map((way) => {
        let next = 0;
        return {
          name: way.name,
          run: async () => {
            const values = measured.get(way.name)!;
            if (values.length === 0) throw new Error('it failed');
            return values[next++ % values.length]![what];
          },
        };
      });
    rows.push(
      row(
        'wall',
        '',
        'ns',
        list.map((way) => ({ name: way.name, run: () => run(way) })),
      ),
    );
    rows.push(row('cpu', '-cpu', 'ns', recorded('cpu')));
    rows.push(row('peak', '-memory', 'bytes', recorded('peak')));
  };

  const small = setup.quick ? 2000 : 20_000;
  const samples: [string, string, ImageSample, boolean][] = [
    [
      'small',
      `One layer of ${small} small files`,
      makeImage(directory, 'small', [makeLayer(at('small.tar.gz'), small, 2048)]),
      true,
    ],
  ];
  if (setup.quick) setup.skip('One layer of 500 MB; Debian in 8 layers', '--quick');
  else {
    samples.push([
      'large',
      'One layer of 50 files of 10 MiB',
      makeImage(directory, 'large', [makeLayer(at('large.tar.gz'), 50, 10 << 20)]),
      false,
    ]);
    try {
      // The one that the suite of applications uses: it is made once.
      const tar = await debianTar({ include: ['redis-server', 'redis-tools', 'nginx-light', 'postgresql'] });
      const sample = makeImage(directory, 'debian', splitRoot(tar, directory));
      samples.push(['debian', 'Debian in 8 layers', sample, true]);
    } catch (error) {
      setup.skip('Debian in 8 layers', error instanceof Error ? error.message : String(error));
    }
  }
  for (const [id, title, sample, keep] of samples) {
    // Three in a full run, too: it is to end within some minutes (reckoned from single runs, not measured as a whole).
    const rounds = 3;
    add(id, `${title} from an archive`, sample, ways, keep, rounds);
    if (registry === undefined) continue;
    const name = `${registry}/bench/${id}:1`;
    execFileSync('skopeo', [
      'copy',
      '-q',
      '--dest-tls-verify=false',
      `oci:${sample.layout}:bench`,
      `docker://${name}`,
    ]);
    const list: Way[] = [{ name: 'nsbox pull', command: (_, out) => own(out, 'pull', '-q', name) }];
    if (installed('podman')) {
      list.push({
        name: 'podman pull',
        command: (_, out) => podman(out, 'pull', '-q', '--tls-verify=false', name),
      });
    }
    add(`${id}-pull`, `${title} from a registry`, sample, list, keep, rounds);
  }
  const last = rows.at(-1)!;
  last.close = async () => {
    for (const child of daemons) child.kill('SIGKILL');
    // podman leaves its storage mounted on itself.
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      const point = line.split(' ')[4];
      if (point?.startsWith(`${directory}/`)) execFileSync('umount', ['--lazy', point]);
    }
    // Hundreds of thousands of files: rm is quicker at it than Node.
    execFileSync('rm', ['-rf', directory]);
  };
  return rows;
}
