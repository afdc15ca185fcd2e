/** A Docker daemon of the bench's own: in its directory, its network namespace, gone when the bench ends. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The group under which the daemon makes those of its containers, in every hierarchy. */
const GROUP = 'nsbox-bench-docker';

export interface Dockerd {
  version: string;
  /** Set where the daemon could not make its packet rules: what it then lacks. */
  without?: string;
  /** `docker`, told which daemon to ask. */
  client: readonly string[];
  /** Makes an image of a directory's files; once for each, by the name that is given back. */
  image(directory: string, except?: readonly string[]): string;
  close(): Promise<void>;
}

/**
 * Starts it; the promise rejects with the daemon's own last words.
 * @param view - the command that brings a program to where peers run
 */
export async function startDockerd(view: readonly string[], work: string): Promise<Dockerd> {
  const home = path.join(work, 'docker');
  mkdirSync(home, { recursive: true });
  const socket = `unix://${home}/d.sock`;
  const client = ['docker', '-H', socket];
  const places = ['--data-root', `${home}/data`, '--exec-root', `${home}/exec`, '-p', `${home}/d.pid`];
  const said: string[] = [];
  for (const rules of [true, false]) {
    const argv = [...view, 'dockerd', ...places, '-H', socket, `--cgroup-parent=/${GROUP}`];
    if (!rules) argv.push('--iptables=false', '--ip-masq=false');
    const daemon = spawn(argv[0] as string, argv.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    said.length = 0;
    daemon.on('error', (e) => said.push(e.message));
    daemon.stderr?.on('data', (c: Buffer) => {
      said.push(...c.toString().trim().split('\n'));
      said.splice(0, said.length - 20);
    });
    const version = await answers([...view, ...client], daemon);
    if (version) {
      return {
        version,
        client,
        ...(rules ? {} : { without: 'packet rules' }),
        image: imageMaker(view, client),
        close: () => stop(view, client, daemon, home),
      };
    }
    await end(daemon);
  }
  const last = said.findLast((l) => /error|fail|fatal/i.test(l)) ?? said.at(-1) ?? 'it said nothing';
  throw new Error(`its daemon does not start: ${(/msg="?(.*)/.exec(last)?.[1] ?? last).slice(0, 200)}`);
}

async function answers(client: readonly string[], daemon: ChildProcess): Promise<string | undefined> {
  for (let i = 0; i < 150 && daemon.exitCode === null && daemon.pid !== undefined; i++) {
    const argv = [...client.slice(1), 'version', '--format', '{{.Server.Version}}'];
    const r = spawnSync(client[0] as string, argv, { encoding: 'utf8', timeout: 20_000 });
    if (r.status === 0) return r.stdout.trim();
    await sleep(200);
  }
  return undefined;
}

function imageMaker(view: readonly string[], client: readonly string[]): Dockerd['image'] {
  const made = new Map<string, string>();
  return (directory, except = []) => {
    let name = made.get(directory);
    if (name) return name;
    name = `nsbox-bench-${path.basename(directory)}`;
    const without = except.map((e) => `--exclude=${e}`).join(' ');
    const script = `tar -C "$1" ${without} -c . | ${client.join(' ')} import - "$2"`;
    const all = [...view, 'sh', '-c', script, 'sh', directory, name];
    execFileSync(all[0] as string, all.slice(1), { stdio: 'ignore' });
    made.set(directory, name);
    return name;
  };
}

async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null || daemon.pid === undefined) return;
  const gone = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  daemon.kill('SIGTERM');
  const hard = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
  await gone;
  clearTimeout(hard);
}

async function stop(
  view: readonly string[],
  client: readonly string[],
  daemon: ChildProcess,
  home: string,
): Promise<void> {
  const docker = (...argv: string[]) => {
    const all = [...view, ...client, ...argv];
    return spawnSync(all[0] as string, all.slice(1), { encoding: 'utf8', timeout: 60_000 });
  };
  const left = docker('ps', '-aq').stdout?.split('\n').filter(Boolean) ?? [];
  if (left.length > 0) docker('rm', '-f', ...left);
  await end(daemon);
  // The daemon leaves the mounts of its first network namespace, and its group in each hierarchy.
  const netns = path.join(home, 'exec/netns');
  for (const n of existsSync(netns) ? readdirSync(netns) : [])
    spawnSync('umount', [path.join(netns, n)], { stdio: 'ignore' });
  for (const mount of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, at = '', type = ''] = mount.split(' ');
    if (type.startsWith('cgroup')) spawnSync('rmdir', [path.join(at, GROUP)], { stdio: 'ignore' });
  }
}
