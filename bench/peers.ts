/** Other runtimes on this machine, brought to where they can run: what is compared with, and how it is started. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Dockerd, startDockerd } from './dockerd.js';
import { firstLine } from './harness.js';
import { program, Timer } from './timer.js';

/** Where a command runs; what isn't said is the root filesystem that the peers were made for, without a network. */
export interface Where {
  rootfs?: string;
  /** Directories of the host, by their path inside. */
  volumes?: Readonly<Record<string, string>>;
  network?: 'host';
}

/** A runtime that takes an OCI bundle or its own flags, ready to run one command in all namespaces. */
export interface Peer {
  name: string;
  version: string;
  /** The command line that runs `command`. */
  argv(command: readonly string[], where?: Where): string[];
  timer: Timer;
}

/** podman or docker: what keeps containers and has networks. */
export interface Engine {
  name: 'podman' | 'docker' | 'nsbox';
  /** The program with its global options. */
  client: readonly string[];
  /** Options of `run` that this machine needs. */
  options: readonly string[];
  /** The arguments of `run` that stand for a root filesystem. */
  image(rootfs: string): string[];
  timer: Timer;
  /** What it could not do here. */
  without?: string;
}

/** The arguments that remove running containers at once: podman waits ten seconds for those that don't hear TERM. */
export const removal = (engine: Engine): string[] => [
  'rm',
  '-f',
  ...(engine.name === 'podman' ? ['-t', '0'] : []),
];

export interface Peers {
  peers: Peer[];
  engines: Engine[];
  /** What isn't measured, and why. */
  skipped: { name: string; why: string }[];
  close(): Promise<void>;
}

/** The pure v2 view of a hybrid host: crun refuses hybrid ones, and others differ there. In a mount namespace. */
const V2_VIEW = [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  'sh',
  '-c',
  // systemd-nspawn removes its directory in /run only from a tmpfs, which /run isn't everywhere.
  'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && mkdir -p /run/systemd/nspawn && ' +
    'mount -t tmpfs none /run/systemd/nspawn && exec "$@"',
  'sh',
];

/** Another root with newer peers, with the host's kernel filesystems and the bench's directory in it. */
function chrootView(root: string, shared: string): string[] {
  const script = [
    'r=$1 s=$2; shift 2',
    'mount --bind "$r" "$r"',
    'for d in proc sys dev; do mount --rbind /$d "$r/$d"; done',
    'umount -R -l "$r/sys/fs/cgroup"; mount -t cgroup2 none "$r/sys/fs/cgroup"',
    'mount -t tmpfs none "$r/run"; mkdir -p "$r$s"; mount --bind "$s" "$r$s"',
    // Not chroot: whoever is in one may not make user namespaces (user_namespaces(7)).
    'cd "$r"; pivot_root . .; umount -l .; exec "$@"',
  ].join('; ');
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh', root, shared];
}

/** What `runc spec` gives is too little for a server that changes its user. */
const DOCKERS_CAPABILITIES = [
  ...[
    'AUDIT_WRITE',
    'CHOWN',
    'DAC_OVERRIDE',
    'FOWNER',
    'FSETID',
    'KILL',
    'MKNOD',
    'NET_BIND_SERVICE',
    'NET_RAW',
  ],
  ...['SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
];

/** A short, honest bundle: Docker's namespaces, mounts, capabilities and masks, as `runc spec` writes them. */
function bundle(
  directory: string,
  rootfs: string,
  command: readonly string[],
  runtime: string,
  where: Where,
): string {
  const at = path.join(directory, `bundle-${runtime}`);
  mkdirSync(at, { recursive: true });
  const config = JSON.parse(readFileSync(path.join(directory, 'spec', 'config.json'), 'utf8'));
  config.root = { path: where.rootfs ?? rootfs, readonly: false };
  config.process.terminal = false;
  config.process.args = [...command];
  config.process.rlimits = [];
  for (const set of ['bounding', 'effective', 'permitted'])
    config.process.capabilities[set] = DOCKERS_CAPABILITIES.map((name) => `CAP_${name}`);
  for (const [destination, source] of Object.entries(where.volumes ?? {}))
    config.mounts.push({ destination, source, type: 'bind', options: ['rbind', 'rw'] });
  if (where.network === 'host')
    config.linux.namespaces = config.linux.namespaces.filter((n: { type: string }) => n.type !== 'network');
  writeFileSync(path.join(at, 'config.json'), JSON.stringify(config));
  return at;
}

/** podman's own limits are above what a process without CAP_SYS_RESOURCE may have: those of this one instead. */
function podmanLimits(): string[] {
  const text = readFileSync('/proc/self/limits', 'latin1');
  const hard = (name: string): string | undefined =>
    new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm').exec(text)?.[1];
  const files = hard('Max open files');
  const processes = Math.min(Number(hard('Max processes') ?? 32768), 32768);
  return [
    ...(files ? [`--ulimit=nofile=${files}:${files}`] : []),
    `--ulimit=nproc=${processes}:${processes}`,
  ];
}

function version(wrapper: readonly string[], argv: readonly string[]): string | undefined {
  try {
    const all = [...wrapper, ...argv];
    const text = execFileSync(all[0] as string, all.slice(1), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /\d+\.\d+(\.\d+)?/.exec(text)?.[0];
  } catch {
    return undefined;
  }
}

/**
 * Finds the peers that can run here: each is asked to run a program that does nothing, and one that can't is skipped
 * with its reason.
 * @param work - directory for bundles and state, removed by the caller
 * @param rootfs - the root filesystem in which commands are run
 * @param options.root - a root filesystem with newer peers (rootfs-tools makes one); the host's own are used without it
 * @param options.engines - whether podman and docker are wanted: docker's daemon takes seconds to start
 */
export async function findPeers(
  work: string,
  rootfs: string,
  options: { root?: string | undefined; engines?: boolean } = {},
): Promise<Peers> {
  const skipped: Peers['skipped'] = [];
  const peers: Peer[] = [];
  const engines: Engine[] = [];
  const hybrid = existsSync('/sys/fs/cgroup/unified') || !existsSync('/sys/fs/cgroup/cgroup.controllers');
  const view = options.root ? chrootView(path.resolve(options.root), work) : hybrid ? V2_VIEW : [];
  const timerFile = path.join(work, 'timer');
  let opened: Timer | undefined;
  const shared = (): Timer => {
    if (!opened) {
      cpSync(program('timer'), timerFile);
      opened = new Timer(view, timerFile);
    }
    return opened;
  };
  const where = options.root ? ` in ${options.root}` : '';
  let dockerd: Dockerd | undefined;

  /** Adds a peer that runs. */
  const add = async (name: string, found: string | undefined, make: () => Peer['argv']): Promise<boolean> => {
    if (!found) {
      skipped.push({ name, why: `not installed${where}` });
      return false;
    }
    try {
      const argv = make();
      await shared().run(argv(['/true']));
      peers.push({ name, version: found, timer: shared(), argv });
      return true;
    } catch (error) {
      skipped.push({ name, why: firstLine(error) });
      return false;
    }
  };

  await add('bwrap', version(view, ['bwrap', '--version']), () => (c, w = {}) => [
    'bwrap',
    '--unshare-all',
    ...(w.network === 'host' ? ['--share-net'] : []),
    ...['--bind', w.rootfs ?? rootfs, '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
    ...Object.entries(w.volumes ?? {}).flatMap(([inside, source]) => ['--bind', source, inside]),
    ...c,
  ]);

  mkdirSync(path.join(work, 'spec'), { recursive: true });
  for (const runtime of ['crun', 'runc']) {
    await add(runtime, version(view, [runtime, '--version']), () => {
      if (!existsSync(path.join(work, 'spec/config.json'))) {
        const all = [...view, runtime, 'spec', '--bundle', path.join(work, 'spec')];
        execFileSync(all[0] as string, all.slice(1), { stdio: 'ignore' });
      }
      let count = 0;
      return (c, w = {}) => [
        runtime,
        '--root',
        path.join(work, `state-${runtime}`),
        'run',
        '--bundle',
        bundle(work, rootfs, c, runtime, w),
        `bench-${process.pid}-${count++}`,
      ];
    });
  }

  await add('systemd-nspawn', version(view, ['systemd-nspawn', '--version']), () => (c, w = {}) => [
    'systemd-nspawn',
    ...['--quiet', '--register=no', '--keep-unit', '--pipe', '--as-pid2', '--volatile=overlay'],
    ...(w.network === 'host' ? [] : ['--private-network']),
    ...Object.entries(w.volumes ?? {}).map(([inside, source]) => `--bind=${source}:${inside}`),
    '-D',
    w.rootfs ?? rootfs,
    ...c,
  ]);

  const volumes = (w: Where): string[] =>
    Object.entries(w.volumes ?? {}).flatMap(([inside, source]) => ['-v', `${source}:${inside}`]);
  const byEngine =
    (engine: Engine, network: string) =>
    (c: readonly string[], w: Where = {}) => [
      ...engine.client,
      ...['run', '--rm', `--network=${w.network ?? network}`, ...engine.options, ...volumes(w)],
      ...engine.image(w.rootfs ?? rootfs),
      ...c,
    ];

  const podmanFound = version(view, ['podman', '--version']);
  if (podmanFound && options.engines !== false) {
    const at = (name: string): string => path.join(work, `podman-${name}`);
    const engineBy = (runtime: readonly string[]): Engine => ({
      name: 'podman',
      client: [
        'podman',
        ...['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp')],
        ...['--network-config-dir', at('networks'), '--cgroup-manager=cgroupfs', ...runtime],
      ],
      options: ['--pids-limit=0', ...podmanLimits()],
      image: (directory) => ['--rootfs', `${directory}:O`],
      timer: shared(),
    });
    // Its own runtime first; Debian 12's crun fails where it may not raise a limit, and runc doesn't.
    for (const runtime of [[], ['--runtime', 'runc']]) {
      const engine = engineBy(runtime);
      if (!(await add('podman', podmanFound, () => byEngine(engine, 'none')))) continue;
      skipped.splice(0, skipped.length, ...skipped.filter((s) => s.name !== 'podman'));
      engines.push(engine);
      await add('podman (bridge)', podmanFound, () => byEngine(engine, 'bridge'));
      break;
    }
  } else if (!podmanFound) skipped.push({ name: 'podman', why: `not installed${where}` });

  const dockerFound = version(view, ['dockerd', '--version']);
  if (!dockerFound) skipped.push({ name: 'docker', why: `no dockerd is installed${where}` });
  else if (options.engines !== false) {
    try {
      const daemon = await startDockerd(options.root ? view : [], work);
      dockerd = daemon;
      const engine: Engine = {
        name: 'docker',
        client: daemon.client,
        options: [],
        // /usr of a large tree is mounted instead of copied into an image.
        image: (directory) =>
          directory === rootfs
            ? [daemon.image(directory)]
            : ['-v', `${directory}/usr:/usr:ro`, daemon.image(directory, ['./usr/*'])],
        timer: shared(),
        ...(daemon.without ? { without: daemon.without } : {}),
      };
      if (await add('docker', daemon.version, () => byEngine(engine, 'none'))) {
        engines.push(engine);
        await add('docker (bridge)', daemon.version, () => byEngine(engine, 'bridge'));
      }
    } catch (error) {
      skipped.push({ name: 'docker', why: firstLine(error) });
    }
  }

  return {
    peers,
    engines,
    skipped,
    close: async () => {
      for (const engine of engines.filter((e) => e.name === 'podman')) {
        await engine.timer.run([...engine.client, 'rm', '-a', '-f', '-t', '0']).catch(() => {});
      }
      await dockerd?.close();
      opened?.close();
    },
  };
}
