import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { NSBOX } from './cli.js';

export interface Result {
  code: number | null;
  out: string;
  err: string;
}

/** nsbox, docker or podman behind the same words: `run`, `network create`, `inspect`, `rm`. */
export interface Engine {
  name: EngineName;
  /** Third number of the addresses that networks of this engine get. */
  number: number;
  call(...args: string[]): Result;
  /** Flags that `run` needs on this machine, whatever the case. */
  runFlags: string[];
  end(): Promise<void>;
}

export const ENGINES = ['nsbox', 'docker', 'podman'] as const;
export type EngineName = (typeof ENGINES)[number];

/** Why an engine can't be compared here; undefined where it can. */
export function missing(name: EngineName): string | undefined {
  const needs = {
    nsbox: [],
    docker: ['/usr/sbin/dockerd', '/usr/bin/docker', '/usr/sbin/docker-proxy'],
    podman: ['/usr/bin/podman', '/usr/lib/podman/netavark', '/usr/lib/podman/aardvark-dns'],
  };
  const absent = needs[name].find((file) => !existsSync(file));
  return absent && `${absent} is missing: apt-get install docker.io podman netavark aardvark-dns`;
}

function caller(program: string, before: string[], env: NodeJS.ProcessEnv = process.env) {
  return (...args: string[]): Result => {
    const r = spawnSync(program, [...before, ...args], { encoding: 'utf8', timeout: 40_000, env });
    return { code: r.status, out: r.stdout, err: r.stderr };
  };
}

/** Podman's own limits are above what a host without CAP_SYS_RESOURCE may set; these keep what there is. */
export function podmanLimits(): string[] {
  const text = readFileSync('/proc/self/limits', 'latin1');
  const hard = (name: string) => new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm').exec(text)?.[1];
  const files = hard('Max open files');
  const processes = Math.min(Number(hard('Max processes') ?? 32768), 32768);
  return [
    ...(files ? ['--ulimit', `nofile=${files}:${files}`] : []),
    '--ulimit',
    `nproc=${processes}:${processes}`,
  ];
}

/**
 * An engine on a root of its own below a directory, with the image `box` (a busybox that exposes port 80). Called in
 * a network, process and mount namespace of its own.
 */
export async function startEngine(name: EngineName, directory: string, rootfs: string): Promise<Engine> {
  const tar = path.join(directory, 'box.tar');
  spawnSync('tar', ['-C', rootfs, '-cf', tar, '.']);
  const number = ENGINES.indexOf(name) + 1;
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  let engine: Engine;
  if (name === 'nsbox') {
    const call = caller(NSBOX, [], {
      ...env,
      NSBOX_ROOT: `${directory}/root`,
      NSBOX_STATE: `${directory}/state`,
    });
    engine = { name, number, call, runFlags: [], end: async () => void removeAll(call) };
  } else if (name === 'docker') engine = await startDocker(directory, number);
  else engine = startPodman(directory, number, env);
  const imported = engine.call('import', '--change', 'EXPOSE 80', tar, 'box');
  if (imported.code !== 0) throw new Error(`${name} import: ${imported.err}`);
  return engine;
}

function removeAll(call: Engine['call']): void {
  const ids = call('ps', '-aq').out.split('\n').filter(Boolean);
  if (ids.length > 0) call('rm', '-f', ...ids);
}

async function startDocker(directory: string, number: number): Promise<Engine> {
  const socket = `unix://${directory}/d.sock`;
  // Nothing of the machine's own /etc/docker.
  writeFileSync(`${directory}/none.json`, '{}');
  const daemon: ChildProcess = spawn(
    'dockerd',
    [
      ...['--data-root', `${directory}/docker`, '--exec-root', `${directory}/exec`],
      ...['-H', socket, '-p', `${directory}/d.pid`, '--config-file', `${directory}/none.json`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  daemon.stderr!.on('data', (d) => {
    log += d;
  });
  const call = caller('/usr/bin/docker', ['-H', socket]);
  for (let tries = 0; call('version').code !== 0; tries++) {
    if (tries > 100 || daemon.exitCode !== null)
      throw new Error(`dockerd does not start: ${log.slice(-2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return {
    name: 'docker',
    number,
    call,
    runFlags: [],
    end: async () => {
      removeAll(call);
      const gone = new Promise((resolve) => daemon.on('exit', resolve));
      daemon.kill();
      await gone;
      const netns = `${directory}/exec/netns`;
      for (const n of existsSync(netns) ? readdirSync(netns) : []) spawnSync('umount', [path.join(netns, n)]);
    },
  };
}

function startPodman(directory: string, number: number, env: NodeJS.ProcessEnv): Engine {
  const conf = path.join(directory, 'containers.conf');
  mkdirSync(path.join(directory, 'networks'));
  writeFileSync(
    conf,
    `[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "${directory}/networks"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n`,
  );
  const at = (name: string) => path.join(directory, name);
  const call = caller(
    'podman',
    [
      ...['--root', at('podman'), '--runroot', at('runroot'), '--tmpdir', at('tmp')],
      ...['--storage-driver', 'overlay', '--runtime', 'runc'],
    ],
    { ...env, CONTAINERS_CONF: conf },
  );
  return {
    name: 'podman',
    number,
    call,
    runFlags: podmanLimits(),
    end: async () => void call('rm', '-fa', '-t', '0'),
  };
}
