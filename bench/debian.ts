/** A Debian with real servers and a compiler, which the suites share: the same files bare and in every container. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { debianTar } from '../rootfs-tools/debian.js';
import type { Place } from './nsbox.js';
import { output, program } from './timer.js';

const PACKAGES = [
  'gcc',
  'iperf3',
  'libc6-dev',
  'nginx-light',
  'nodejs',
  'postgresql',
  'redis-server',
  'redis-tools',
  'sqlite3',
  'wrk',
];

/** The tree as a tar, from the cache or made now, which takes minutes and a package mirror. */
export function debianArchive(): Promise<string> {
  return debianTar({
    include: PACKAGES,
    progress: (line) => process.stderr.write(`bench: ${line}\n`),
  });
}

/** The tree itself, unpacked once a run, with the bench's own programs in its root directory. */
export async function debian(place: Place): Promise<string> {
  const tree = path.join(place.directory, 'debian');
  if (existsSync(tree)) return tree;
  const partial = `${tree}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { mode: 0o755 });
  execFileSync('tar', ['-C', partial, '-xf', await debianArchive()]);
  for (const name of ['work', 'net', 'true'] as const) cpSync(program(name), path.join(partial, name));
  mkdirSync(path.join(partial, 'data'), { mode: 0o777 });
  renameSync(partial, tree);
  return tree;
}

/** A mount namespace with proc and a tmp of its own, as a container has: the files are the same. */
const BARE =
  'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount -t tmpfs none "$0/tmp"; ' +
  'mount --bind "$1" "$0/data"; r=$0; shift; exec chroot "$r" "$@"';

/**
 * The command line that runs a command in the tree without a container.
 * @param data - a directory of the host, seen as /data
 */
export function bare(tree: string, data: string, command: readonly string[]): string[] {
  const own = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
  return [...own, 'sh', '-ec', BARE, tree, data, ...command];
}

/** The number that a script prints as its last line. */
export function number(text: string): number {
  const value = Number(text.trim().split('\n').at(-1));
  if (!(value > 0)) throw new Error(`expected a number as the last line, received ${JSON.stringify(text)}`);
  return value;
}

/** Runs a script in the tree without a container. */
export async function bareNumber(tree: string, data: string, command: readonly string[]): Promise<number> {
  return number(await output(bare(tree, data, command)));
}
