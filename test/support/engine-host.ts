import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';
import type { Result } from './oci-bundle.js';

/**
 * Where an engine's programs run: this machine, or a Debian tree that is the root of a mount namespace (not a chroot:
 * who joins a container's mount namespace gets the root of that namespace). Its daemons live in the namespaces of
 * ownNetwork(), which end with the test and take mounts and processes along.
 */
export class EngineHost {
  readonly #prefix: readonly string[];
  readonly #tree: string | undefined;
  readonly #daemons: ChildProcess[] = [];

  private constructor(keeper?: ChildProcess, tree?: string) {
    this.#prefix = keeper ? ['nsenter', '-t', String(keeper.pid), '-m', '--'] : [];
    this.#tree = tree;
    if (keeper) this.#daemons.push(keeper);
    assert.equal(spawnSync('ip', ['link', 'set', 'lo', 'up']).status, 0);
  }

  /** This machine, with a /run of its own. */
  static here(): EngineHost {
    ownRun();
    return new EngineHost();
  }

  /** A Debian root unpacked from a tar, with this machine's kernel file systems, /tmp, node and checkout in it. */
  static async debian(tar: string, directory: string): Promise<EngineHost> {
    const tree = path.join(directory, 'tree');
    mkdirSync(tree);
    assert.equal(spawnSync('tar', ['-C', tree, '-xf', tar]).status, 0, `unpacking ${tar}`);
    ownRun();
    mount('--bind', tree, tree);
    for (const d of ['proc', 'sys', 'dev', 'tmp', 'run']) mount('--rbind', `/${d}`, path.join(tree, d));
    const node = path.join(tree, process.execPath);
    mkdirSync(path.dirname(node), { recursive: true });
    writeFileSync(node, '');
    mount('--bind', process.execPath, node);
    if (!packageRoot().startsWith('/tmp/')) {
      mkdirSync(path.join(tree, packageRoot()), { recursive: true });
      mount('--bind', packageRoot(), path.join(tree, packageRoot()));
    }
    const pivot =
      'cd "$0" && mkdir .old && pivot_root . .old && cd / && umount -l /.old && exec sleep infinity';
    const unshare = ['--mount', '--propagation', 'private', 'sh', '-c', pivot, tree];
    const keeper = spawn('unshare', unshare, { stdio: 'ignore' });
    const host = new EngineHost(keeper, tree);
    await eventually(
      () => readFileSync(`/proc/${keeper.pid}/comm`, 'utf8') === 'sleep\n',
      () => `${tree} does not become a root`,
    );
    const version = host.call([process.execPath, '--version']);
    assert.equal(version.code, 0, `node does not run in the tree: ${version.stderr}`);
    return host;
  }

  /** The words of a command there. */
  command(command: readonly string[]): string[] {
    return [...this.#prefix, ...command];
  }

  call(command: readonly string[], options: { input?: string } = {}): Result {
    const [program, ...args] = this.command(command);
    const r = spawnSync(program!, args, {
      encoding: 'utf8',
      timeout: 60_000,
      ...(options.input === undefined ? {} : { input: options.input }),
    });
    return { code: r.status, stdout: r.stdout, stderr: r.stderr };
  }

  /** Starts a daemon and waits until it answers. @throws what it wrote where it doesn't within a minute */
  async daemon(command: readonly string[], log: string, answers: () => boolean): Promise<void> {
    const out = openSync(log, 'w');
    const [program, ...args] = this.command(command);
    const child = spawn(program!, args, { stdio: ['ignore', out, out] });
    closeSync(out);
    this.#daemons.push(child);
    await eventually(
      answers,
      () => `${command[0]} does not answer:\n${readFileSync(log, 'utf8').slice(-2000)}`,
    );
  }

  /** Ends the daemons, the last one first. */
  async close(): Promise<void> {
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null) continue;
      const gone = new Promise((resolve) => daemon.on('exit', resolve));
      daemon.kill();
      await gone;
    }
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    const inside = mounts
      .map((l) => l.split(' ')[1] ?? '')
      .filter((m) => this.#tree !== undefined && `${m}/`.startsWith(`${this.#tree}/`));
    for (const m of inside.reverse()) spawnSync('umount', ['-l', m]);
  }
}

/** Makes the host of a suite, whose files are in a directory of its own. */
export type Place = (directory: string) => EngineHost | Promise<EngineHost>;

/** Repeats a question until the answer is yes. @throws with the explanation after a minute */
export async function eventually(done: () => boolean, why: () => string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!done()) {
    if (Date.now() > end) throw new Error(why());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Why a program's tests can't run here; false where they can. */
export const lacks = (name: string, ...programs: string[]): string | false =>
  programs.every((p) => existsSync(p)) ? false : `${name} is not installed`;

/** Sockets, shims' states and network namespaces of the machine's own engines stay out of sight. */
const ownRun = (): void => mount('-t', 'tmpfs', 'tmpfs', '/run');

function mount(...args: string[]): void {
  const r = spawnSync('mount', args, { encoding: 'utf8' });
  assert.equal(r.status, 0, `mount ${args.join(' ')}: ${r.stderr}`);
}
