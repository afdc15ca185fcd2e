import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { cacheDirectory } from '../../rootfs-tools/debian.js';
import { OciWorld } from './oci-bundle.js';

/** An OCI runtime to compare with, and what it needs around it. */
export interface OciPeer {
  name: string;
  runtime: string;
  /** Command line in front of the peer's own. */
  around: string[];
  /** The same for nsbox-oci, so that both see the same cgroups. */
  aroundOurs: string[];
}

/** runc as Debian installs it, or why there is none. */
export function findRunc(): OciPeer | string {
  const runtime = ['/usr/sbin/runc', '/usr/bin/runc'].find((f) => existsSync(f));
  return runtime ? { name: 'runc', runtime, around: [], aroundOurs: [] } : 'runc is not installed';
}

/**
 * A mount namespace in which the host's cgroups look as crun wants them (it refuses hybrid hosts), with the libraries of
 * another Debian over this one's.
 */
function view(tree = ''): string[] {
  const script = [
    'tree=$1; shift',
    'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup',
    'for d in "$tree"/usr/lib/*-linux-gnu; do [ ! -e "$d" ] || mount -t overlay -o "lowerdir=$d:/usr/lib/$(basename "$d")" overlay "/usr/lib/$(basename "$d")"; done',
    'exec "$@"',
  ].join('; ');
  return [
    ...['unshare', '--mount', '--propagation', 'private', 'sh', '-ec'],
    ...[tree ? script : script.replace(/for .*; done; /, ''), 'sh', tree],
  ];
}

/**
 * crun, or why none runs here. bookworm's 1.8.1 wants a cgroup v2 host and CAP_SYS_RESOURCE; where it doesn't run,
 * trixie's is fetched once into the cache.
 */
export function findCrun(): OciPeer | string {
  const own: OciPeer = { name: 'crun', runtime: '/usr/bin/crun', around: view(), aroundOurs: view() };
  if (existsSync(own.runtime) && runs(own)) return own;
  let tree: string;
  try {
    tree = crunTree();
  } catch (error) {
    return `no crun that runs here, and trixie's could not be fetched: ${(error as Error).message.split('\n')[0]}`;
  }
  const newer: OciPeer = {
    ...own,
    runtime: path.join(tree, 'usr/bin/crun'),
    around: view(tree),
  };
  return runs(newer) ? newer : 'neither the crun of this machine nor that of trixie runs here';
}

function runs(peer: OciPeer): boolean {
  const world = new OciWorld(peer.runtime, peer.around);
  try {
    const bundle = world.bundle((s) => {
      s.process!.args = ['true'];
    });
    return world.call(['run', '--bundle', bundle, world.id()]).code === 0;
  } finally {
    world.close();
  }
}

/** trixie's crun and its libraries: the packages fetched by debootstrap, a few of them unpacked. */
function crunTree(): string {
  const tree = path.join(cacheDirectory(), 'crun-trixie');
  if (existsSync(tree)) return tree;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(path.join(cacheDirectory(), 'making-'));
  try {
    const root = path.join(work, 'root');
    const r = spawnSync('debootstrap', ['--foreign', '--variant=minbase', '--include=crun', 'trixie', root], {
      stdio: 'ignore',
      timeout: 300_000,
      env: { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    if (r.status !== 0) throw r.error ?? new Error(`debootstrap exited with ${r.status}`);
    const archives = path.join(root, 'var/cache/apt/archives');
    for (const file of readdirSync(archives)) {
      if (/^(crun|libc6|libcap2|libseccomp2|libsystemd0|libyajl2)_/.test(file)) {
        execFileSync('dpkg-deb', ['-x', path.join(archives, file), path.join(work, 'tree')]);
      }
    }
    renameSync(path.join(work, 'tree'), tree);
    return tree;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
