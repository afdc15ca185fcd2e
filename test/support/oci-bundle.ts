import { spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { Spec } from '../../src/spec/index.js';

const APPLETS =
  'sh ls cat true false sleep echo id ps mount hostname touch stat readlink env grep mkdir test wc head sort kill umask ip printf dd od find tr cut tty stty nproc setsid';

export const NSBOX_OCI = path.resolve(import.meta.dirname, '../../../../bin/nsbox-oci');

/** What a command of a runtime gave. */
export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A directory with a busybox root filesystem, bundles made of it, and a runtime that is driven on them. */
export class OciWorld {
  readonly directory: string;
  readonly rootfs: string;
  readonly root: string;
  readonly runtime: string;
  /** Command line in front of the runtime's. */
  readonly #around: readonly string[];
  readonly #ids = new Set<string>();
  #count = 0;

  constructor(runtime = NSBOX_OCI, around: readonly string[] = []) {
    this.runtime = runtime;
    this.#around = around;
    this.directory = mkdtempSync('/tmp/nsbox-test-oci-');
    this.rootfs = path.join(this.directory, 'rootfs');
    this.root = path.join(this.directory, 'run');
    for (const d of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'data']) {
      mkdirSync(path.join(this.rootfs, d), { recursive: true });
    }
    cpSync('/bin/busybox', path.join(this.rootfs, 'bin/busybox'));
    for (const a of APPLETS.split(' ')) symlinkSync('busybox', path.join(this.rootfs, 'bin', a));
    writeFileSync(path.join(this.rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    writeFileSync(path.join(this.rootfs, 'etc/group'), 'root:x:0:\n');
  }

  #argv(args: readonly string[]): string[] {
    return [...this.#around, this.runtime, '--root', this.root, ...args];
  }

  /** A new id, which close() removes. */
  id(): string {
    const id = `${path.basename(this.directory)}-${this.#count++}`;
    this.#ids.add(id);
    return id;
  }

  /** Writes a bundle and returns its directory. The change may alter the spec in place, or return another document. */
  bundle(change: (spec: Spec) => unknown = () => undefined): string {
    const directory = path.join(this.directory, `bundle-${this.#count++}`);
    mkdirSync(directory);
    const spec = baseSpec(this.rootfs);
    const other = change(spec);
    const text = typeof other === 'string' ? other : JSON.stringify(other ?? spec);
    writeFileSync(path.join(directory, 'config.json'), text);
    return directory;
  }

  /** Runs the runtime with all of its output read; for commands whose container doesn't outlive them. */
  call(args: readonly string[], options: { cwd?: string; input?: string; timeout?: number } = {}): Result {
    const [program, ...words] = this.#argv(args);
    const r = spawnSync(program!, words, {
      cwd: options.cwd ?? this.directory,
      input: options.input ?? '',
      encoding: 'utf8',
      timeout: options.timeout ?? 30_000,
      env: { ...process.env, NSBOX_STATE: path.join(this.directory, 'state') },
    });
    return { code: r.status, stdout: r.stdout, stderr: r.stderr };
  }

  /** Runs `create`, with the container's output (and the runtime's) in files that `output` reads. */
  create(id: string, bundle: string, ...args: string[]): Result {
    const out = openSync(this.#file(id, 'out'), 'w');
    const err = openSync(this.#file(id, 'err'), 'w');
    try {
      const [program, ...words] = this.#argv(['create', '--bundle', bundle, ...args, id]);
      const r = spawnSync(program!, words, {
        cwd: this.directory,
        stdio: ['ignore', out, err],
        timeout: 90_000,
        env: { ...process.env, NSBOX_STATE: path.join(this.directory, 'state') },
      });
      return { code: r.status, ...this.output(id) };
    } finally {
      closeSync(out);
      closeSync(err);
    }
  }

  #file(id: string, stream: string): string {
    return path.join(this.directory, `${encodeURIComponent(id)}.${stream}`);
  }

  /** What the container (and its create) has written so far. */
  output(id: string): { stdout: string; stderr: string } {
    return {
      stdout: readFileSync(this.#file(id, 'out'), 'utf8'),
      stderr: readFileSync(this.#file(id, 'err'), 'utf8'),
    };
  }

  state(id: string): Record<string, unknown> | undefined {
    const r = this.call(['state', id]);
    return r.code === 0 ? (JSON.parse(r.stdout) as Record<string, unknown>) : undefined;
  }

  /** create, start, wait for the end, delete: what the container wrote. */
  async runThrough(bundle: string, ...args: string[]): Promise<Result> {
    const id = this.id();
    const created = this.create(id, bundle, ...args);
    if (created.code !== 0) return created;
    const started = this.call(['start', id]);
    await this.until(() => this.state(id)?.['status'] === 'stopped');
    this.call(['delete', id]);
    return {
      code: started.code,
      stdout: this.output(id).stdout,
      stderr: started.stderr + this.output(id).stderr,
    };
  }

  /** Waits until something holds. @throws where it doesn't within forty seconds (two minutes in the test VM) */
  async until(done: () => boolean, what = 'the container'): Promise<void> {
    const seconds = process.env['NSBOX_TEST_IN_VM'] ? 120 : 40;
    const end = Date.now() + seconds * 1000;
    while (!done()) {
      if (Date.now() > end) throw new Error(`${what}: still waiting after ${seconds} seconds`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  close(): void {
    for (const id of this.#ids) {
      const [program, ...words] = this.#argv(['delete', '-f', id]);
      spawnSync(program!, words, {
        stdio: 'ignore',
        timeout: 90_000,
      });
    }
    if (this.runtime !== NSBOX_OCI) removeGroups(this.#ids);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Groups that other runtimes leave behind: on hybrid hosts runc forgets those of cgroup2. */
function removeGroups(ids: Iterable<string>): void {
  const hierarchies = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((d) => `/sys/fs/cgroup/${d}`)];
  for (const id of ids) {
    for (const hierarchy of hierarchies) {
      try {
        rmdirSync(`${hierarchy}/${id}`);
      } catch {
        // not in this one
      }
    }
  }
}

/** A spec that both runc and nsbox-oci run everywhere. */
function baseSpec(rootfs: string): Spec {
  const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];
  const quiet = ['nosuid', 'noexec', 'nodev'];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ['sleep', '1000'],
      env: ['PATH=/bin'],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: rootfs },
    hostname: 'box',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: [...quiet, 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, 'ro'] },
    ],
    linux: {
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      namespaces: [{ type: 'pid' }, { type: 'network' }, { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }],
      maskedPaths: ['/proc/kcore', '/proc/timer_list', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}
