/** nsbox as the bench uses it: its library in this process, and its command line. */
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type RunOptions, type RunResult, run } from '../src/index.js';
import { BUNDLED, output, program, REPOSITORY } from './timer.js';

/** Where everything of one bench run lies: the root filesystem that all sides share, and nsbox's own folders. */
export interface Place {
  directory: string;
  /** busybox, /work and /true. */
  rootfs: string;
  root: string;
  state: string;
  /** An empty directory on the same filesystem, for work on files. */
  scratch: string;
  remove(): Promise<void>;
}

/** @param parent - a directory on a real filesystem; /var/tmp unless told */
export async function makePlace(parent = '/var/tmp'): Promise<Place> {
  const directory = await mkdtemp(path.join(parent, 'nsbox-bench-'));
  await chmod(directory, 0o755); // runtimes walk to it with the container's ids
  const rootfs = path.join(directory, 'rootfs');
  const scratch = path.join(directory, 'scratch');
  await mkdir(rootfs, { mode: 0o755 });
  await mkdir(scratch, { mode: 0o777 });
  const { busybox } = await import('../rootfs-tools/small.js');
  busybox(rootfs);
  await writeFile(path.join(rootfs, 'etc/hostname'), 'bench\n');
  for (const name of ['work', 'true'] as const) await cp(program(name), path.join(rootfs, name));
  // Files of the image that the disk suite reads: there before any peer copies the tree.
  await output([program('work'), 'lowermake', '0', rootfs]);
  return {
    directory,
    rootfs,
    scratch,
    root: path.join(directory, 'root'),
    state: path.join(directory, 'state'),
    remove: () => removePlace(directory),
  };
}

/** Removes what the bench made, containers and networks that a failed suite left included. */
async function removePlace(directory: string): Promise<void> {
  const own = { root: path.join(directory, 'root'), state: path.join(directory, 'state') };
  if (existsSync(own.root)) {
    const nsbox = (...argv: string[]): Promise<string> => output(commandLine(own, ...argv));
    const left = (await nsbox('ps', '-aq').catch(() => '')).split('\n').filter(Boolean);
    for (let i = 0; i < left.length; i += 50)
      await nsbox('rm', '-f', ...left.slice(i, i + 50)).catch(() => '');
    await nsbox('network', 'prune', '-f').catch(() => '');
  }
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** The program of heap.ts: beside this one, as single files and as a bundle. */
export const HEAP = path.join(import.meta.dirname, BUNDLED ? 'heap.mjs' : 'heap.js');

/** Runs a command by the library in the shared root filesystem; another exit code than 0 is an error. */
export async function runHere(
  place: Place,
  command: readonly string[],
  options: Partial<RunOptions> = {},
): Promise<RunResult> {
  const result = await run({
    rootfs: place.rootfs,
    root: place.root,
    state: place.state,
    command,
    ...options,
  });
  if (result.exitCode !== 0) {
    throw new Error(
      `${command[0]} in nsbox ended with ${result.exitCode ?? result.signal}: ${result.stderr.trim()}`,
    );
  }
  return result;
}

/** The command line, told to use the bench's folders. */
export function commandLine(place: Pick<Place, 'root' | 'state'>, ...argv: string[]): string[] {
  const program = path.join(REPOSITORY, 'bin/nsbox');
  if (!existsSync(path.join(REPOSITORY, 'dist/nsbox.cjs')))
    throw new Error('nsbox is not built: npm run build');
  return [program, '--root', place.root, '--state', place.state, ...argv];
}

/** Makes an image of the shared root filesystem for the command line; its name is `bench`. */
export async function importImage(place: Place): Promise<void> {
  const tar = path.join(place.directory, 'rootfs.tar');
  await output(['tar', '-C', place.rootfs, '-cf', tar, '.']);
  await output(commandLine(place, 'import', tar, 'bench'));
}
