/** Debian root filesystems by debootstrap, cached as tars: the second call takes no time and no network. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { command, writeRootfsTar } from './oci.js';

export interface DebianOptions {
  /** Release name; bookworm by default. */
  suite?: string;
  /** Packages beyond the minimal base. */
  include?: readonly string[];
  /** Where packages come from; that of this machine's apt by default. */
  mirror?: string;
  /** Said while it works, which takes a minute or more. */
  progress?: (line: string) => void;
}

/** Folder of cached root filesystems: $XDG_CACHE_HOME/nsbox, ~/.cache/nsbox by default. */
export function cacheDirectory(): string {
  return path.join(process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'nsbox');
}

/**
 * Path of a tar with a Debian root filesystem, from the cache or made now. Needs root (debootstrap chroots).
 */
export async function debianTar(options: DebianOptions = {}): Promise<string> {
  const suite = options.suite ?? 'bookworm';
  const include = [...new Set(options.include ?? [])].sort();
  const key = createHash('sha256').update(include.join(',')).digest('hex').slice(0, 12);
  const cache = cacheDirectory();
  const tar = path.join(cache, `debian-${suite}${include.length > 0 ? `-${key}` : ''}.tar`);
  if (existsSync(tar)) return tar;
  if (!existsSync('/usr/sbin/debootstrap'))
    throw new Error('debootstrap is missing: apt-get install debootstrap');
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(path.join(cache, 'making-'));
  try {
    const root = path.join(work, 'root');
    const mirror = options.mirror ?? aptMirror();
    options.progress?.(
      `debootstrap ${suite} from ${mirror}${include.length > 0 ? ` with ${include.join(', ')}` : ''}`,
    );
    const args = ['--variant=minbase', '--merged-usr'];
    if (include.length > 0) args.push(`--include=${include.join(',')}`);
    const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
    if (existsSync(keyring)) args.push(`--keyring=${keyring}`);
    const env = {
      ...process.env,
      DEBIAN_FRONTEND: 'noninteractive',
      LC_ALL: 'C',
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    };
    // A mount namespace of its own: what debootstrap mounts (proc, sys) goes with it, also when it is killed.
    await command(
      'unshare',
      ['--mount', '--propagation', 'private', 'debootstrap', ...args, suite, root, mirror],
      env,
    );
    // What only takes room in an image: fetched packages, package lists, and logs of the installation.
    for (const waste of ['var/cache/apt', 'var/lib/apt/lists', 'var/log/bootstrap.log', 'debootstrap']) {
      await rm(path.join(root, waste), { recursive: true, force: true });
    }
    for (const needed of ['var/cache/apt/archives/partial', 'var/lib/apt/lists/partial']) {
      await mkdir(path.join(root, needed), { recursive: true });
    }
    // Services don't start by being installed: there is no init inside.
    await writeFile(path.join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    const partial = path.join(work, 'root.tar');
    await writeRootfsTar(root, partial);
    await rename(partial, tar);
    return tar;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The package mirror that this machine's apt uses for Debian's main archive. */
function aptMirror(): string {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, '');
    const found =
      /^URIs:\s*(\S+\/debian)\/?\s*$/m.exec(text) ??
      /^deb\s+(?:\[[^\]]*\]\s+)?(\S+\/debian)\/?\s/m.exec(text);
    if (found?.[1]) return found[1];
  }
  return 'http://deb.debian.org/debian';
}
