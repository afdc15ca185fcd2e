import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { removeGroups } from '../../src/cgroup/index.js';
import { collect } from './cli.js';

/** Debian's systemd; it needs no boot of the machine to be pid 1 of a namespace. */
const SYSTEMD = '/lib/systemd/systemd';

/** Why tests with a systemd can't run here; undefined where they can. */
export function noSystemd(): string | undefined {
  if (!existsSync(SYSTEMD)) return `${SYSTEMD} is missing: apt-get install systemd`;
  if (!existsSync('/usr/bin/dbus-daemon')) return 'dbus-daemon is missing: apt-get install dbus';
  return existsSync('/proc/self/ns/cgroup') ? undefined : 'this kernel has no cgroup namespaces';
}

/**
 * A host with systemd: systemd as pid 1 of namespaces of its own, over a part of the machine's cgroup2 tree that looks
 * like all of it. It starts no services: its only target is empty.
 */
export class SystemdHost implements AsyncDisposable {
  readonly #group: string;
  readonly #outer: ChildProcess;
  readonly #pid: number;
  #log = '';

  private constructor(group: string, outer: ChildProcess, pid: number) {
    this.#group = group;
    this.#outer = outer;
    this.#pid = pid;
  }

  /** @param unified where cgroup2 is mounted; its controllers are handed down */
  static async boot(unified: string): Promise<SystemdHost> {
    const controllers = readFileSync(`${unified}/cgroup.controllers`, 'latin1').split(/\s+/).filter(Boolean);
    for (const c of controllers) writeFileSync(`${unified}/cgroup.subtree_control`, `+${c}`);
    const group = `${unified}/nsbox-test-systemd-${process.pid}`;
    mkdirSync(group);
    const inside = [
      'read -r _', // until its parent has left the group
      'umount -R -l /sys/fs/cgroup',
      'mount -t cgroup2 none /sys/fs/cgroup',
      'mount -t proc proc /proc',
      'mount -t tmpfs none /run',
      'mkdir -p /run/systemd/system',
      'ip link set lo up',
      'printf "[Unit]\\nDefaultDependencies=no\\n" > /run/systemd/system/nsbox-test.target',
      `exec env -i container=nsbox PATH="$PATH" ${SYSTEMD} --system --unit=nsbox-test.target --log-target=console`,
    ];
    const script = `echo $$ > ${group}/cgroup.procs; exec unshare -n -m -p -u -i -C -f --propagation private sh -ec '${inside.join('; ')}'`;
    const outer = spawn('setsid', ['sh', '-ec', script], { stdio: ['pipe', 'pipe', 'pipe'] });
    const pid = await until('the first process of the namespace', () => {
      const children = `/proc/${outer.pid}/task/${outer.pid}/children`;
      return existsSync(children) ? Number(readFileSync(children, 'latin1').trim()) : 0;
    });
    const host = new SystemdHost(group, outer, pid);
    for (const stream of [outer.stdout, outer.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        host.#log += chunk.toString();
      });
    }
    // A group that hands controllers down holds no process.
    writeFileSync(`${unified}/cgroup.procs`, String(outer.pid));
    outer.stdin?.write('go\n');
    try {
      await until('systemd', () => existsSync(`/proc/${pid}/root/run/systemd/private`));
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw new Error(`${(error as Error).message}\n${host.#log}`);
    }
    return host;
  }

  /** Runs a program there, to its end; what it wrote. */
  async run(command: string[], timeoutMs: number): Promise<string> {
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
    const child = spawn(
      'nsenter',
      ['-t', String(this.#pid), '-m', '-p', '-u', '-i', '-n', '-C', '--', ...command],
      {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const result = await collect(child, { timeoutMs });
    if (result.code !== 0) {
      throw new Error(`${command.join(' ')}: ${result.code}\n${result.stderr}${result.stdout}\n${this.#log}`);
    }
    return result.stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => {
      if (this.#outer.exitCode !== null || this.#outer.signalCode !== null) resolve(undefined);
      else this.#outer.on('exit', resolve);
    });
    try {
      process.kill(this.#pid, 'SIGKILL'); // and with it everything in its pid namespace
    } catch {
      // it has ended
    }
    await ended;
    await removeGroups({ unified: this.#group, v1: {} }, 20_000);
  }
}

async function until<T>(what: string, look: () => T, timeoutMs = 60_000): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = look();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
