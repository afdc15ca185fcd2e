/** Other runtimes on this machine, brought to where they can run: what is compared with, and how it is started. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { program, Timer } from './timer.js';

/** A runtime that takes an OCI bundle or its own flags, ready to run one command in all namespaces. */
export interface Peer {
  name: string;
  version: string;
  /** The command line that runs `command` in the root filesystem that the peers were made for. */
  argv(command: readonly string[]): string[];
  timer: Timer;
}

export interface Peers {
  peers: Peer[];
  /** What isn't measured, and why. */
  skipped: { name: string; why: string }[];
  close(): void;
}

/** The pure v2 view of a hybrid host: crun refuses hybrid ones, and others differ there. In a mount namespace. */
const V2_VIEW = [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  'sh',
  '-c',
  'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"',
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

/** A short, honest bundle: Docker's namespaces, mounts, capabilities and masks, as `runc spec` writes them. */
function bundle(directory: string, rootfs: string, command: readonly string[], runtime: string): string {
  const where = path.join(directory, `bundle-${runtime}-${path.basename(command[0] ?? '')}`);
  mkdirSync(where, { recursive: true });
  const config = JSON.parse(readFileSync(path.join(directory, 'spec', 'config.json'), 'utf8'));
  config.root = { path: rootfs, readonly: false };
  config.process.terminal = false;
  config.process.args = [...command];
  config.process.rlimits = [];
  writeFileSync(path.join(where, 'config.json'), JSON.stringify(config));
  return where;
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
 * Finds the peers that can run here.
 * @param work - directory for bundles and state, removed by the caller
 * @param rootfs - the root filesystem in which commands are run
 * @param peersRoot - a root filesystem with newer peers (rootfs-tools makes one); the host's own are used without it
 */
export function findPeers(work: string, rootfs: string, peersRoot?: string): Peers {
  const skipped: Peers['skipped'] = [];
  const peers: Peer[] = [];
  const hybrid = existsSync('/sys/fs/cgroup/unified') || !existsSync('/sys/fs/cgroup/cgroup.controllers');
  const view = peersRoot ? chrootView(path.resolve(peersRoot), work) : hybrid ? V2_VIEW : [];
  const timerFile = path.join(work, 'timer');
  let timer: Timer | undefined;
  const shared = (): Timer => {
    if (!timer) {
      cpSync(program('timer'), timerFile);
      timer = new Timer(view, timerFile);
    }
    return timer;
  };
  const where = peersRoot ? ` in ${peersRoot}` : '';

  const bwrap = version(view, ['bwrap', '--version']);
  if (bwrap) {
    const kernel = ['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'];
    peers.push({
      name: 'bwrap',
      version: bwrap,
      timer: shared(),
      argv: (c) => ['bwrap', '--unshare-all', '--bind', rootfs, '/', ...kernel, ...c],
    });
  } else skipped.push({ name: 'bwrap', why: `not installed${where}` });

  mkdirSync(path.join(work, 'spec'), { recursive: true });
  for (const runtime of ['crun', 'runc']) {
    const found = version(view, [runtime, '--version']);
    if (!found) {
      skipped.push({ name: runtime, why: `not installed${where}` });
      continue;
    }
    if (!existsSync(path.join(work, 'spec/config.json'))) {
      const all = [...view, runtime, 'spec', '--bundle', path.join(work, 'spec')];
      execFileSync(all[0] as string, all.slice(1), { stdio: 'ignore' });
    }
    let count = 0;
    peers.push({
      name: runtime,
      version: found,
      timer: shared(),
      argv: (c) => [
        runtime,
        '--root',
        path.join(work, `state-${runtime}`),
        'run',
        '--bundle',
        bundle(work, rootfs, c, runtime),
        `bench-${process.pid}-${count++}`,
      ],
    });
  }

  const podman = version(view, ['podman', '--version']);
  if (podman) {
    const place = ['--root', path.join(work, 'podman'), '--runroot', path.join(work, 'podman-run')];
    for (const [name, network] of [
      ['podman', 'none'],
      ['podman (bridge)', 'bridge'],
    ] as const) {
      peers.push({
        name,
        version: podman,
        timer: shared(),
        argv: (c) => [
          'podman',
          ...place,
          '--cgroup-manager=cgroupfs',
          ...['run', '--rm', `--network=${network}`, '--pids-limit=0', '--rootfs', `${rootfs}:O`],
          ...c,
        ],
      });
    }
  } else skipped.push({ name: 'podman', why: `not installed${where}` });

  const docker = version(view, ['docker', 'version', '--format', '{{.Server.Version}}']);
  if (docker) {
    try {
      const all = [...view, 'sh', '-c', `tar -C "${rootfs}" -c . | docker import - nsbox-bench`];
      execFileSync(all[0] as string, all.slice(1), { stdio: 'ignore' });
      peers.push({
        name: 'docker',
        version: docker,
        timer: shared(),
        argv: (c) => ['docker', 'run', '--rm', '--network=none', 'nsbox-bench', ...c],
      });
    } catch {
      skipped.push({ name: 'docker', why: 'its daemon could not import the bench image' });
    }
  } else skipped.push({ name: 'docker', why: `no daemon answers${where}` });

  return { peers, skipped, close: () => timer?.close() };
}
