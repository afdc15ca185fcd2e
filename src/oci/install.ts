import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError, isErrno } from '../base/index.js';
import { writeFileAtomic } from '../state/index.js';

export const ENGINES = ['containerd', 'crio', 'podman', 'docker'] as const;
export type Engine = (typeof ENGINES)[number];

/** A file that makes an engine know nsbox-oci. */
export interface RuntimeFile {
  engine: Engine;
  path: string;
  /** The lines that are new, for printing. */
  lines: string;
  /** The whole file afterwards; absent where it says so already. */
  content: string | undefined;
  /** What takes the change into use, and how nsbox is then asked for. */
  next: string;
}

export interface InstallOptions {
  /** Absolute path of bin/nsbox-oci. */
  binary: string;
  /** Engines to set up; empty: those whose program is on this machine. */
  engines: readonly string[];
  /** Directory that stands for `/`. */
  prefix?: string | undefined;
}

const PROGRAMS: Record<Engine, string[]> = {
  containerd: ['usr/bin/containerd', 'usr/local/bin/containerd'],
  crio: ['usr/bin/crio', 'usr/local/bin/crio'],
  podman: ['usr/bin/podman', 'usr/local/bin/podman'],
  docker: ['usr/bin/dockerd', 'usr/sbin/dockerd', 'usr/local/bin/dockerd'],
};

/**
 * What would be written for which engine. Nothing is changed.
 * @throws InvalidError for an engine that nsbox doesn't know, or a daemon.json that isn't JSON
 */
export function planInstall(options: InstallOptions): RuntimeFile[] {
  const prefix = options.prefix ?? '/';
  for (const name of options.engines) {
    if (!(ENGINES as readonly string[]).includes(name)) {
      throw new InvalidError(`unknown engine: ${name}`, { hint: `one of ${ENGINES.join(', ')}` });
    }
  }
  const wanted = ENGINES.filter((e) =>
    options.engines.length > 0
      ? options.engines.includes(e)
      : PROGRAMS[e].some((p) => existsSync(path.join(prefix, p))),
  );
  return wanted.map((engine) => FILES[engine](options.binary, prefix));
}

/** Writes what planInstall said; a file is replaced whole, or stays as it was. @throws NsboxError */
export function install(files: readonly RuntimeFile[]): void {
  for (const file of files) {
    if (file.content === undefined) continue;
    try {
      mkdirSync(path.dirname(file.path), { recursive: true, mode: 0o755 });
    } catch (error) {
      throw fromErrno(`create ${path.dirname(file.path)}`, error);
    }
    writeFileAtomic(file.path, file.content, { mode: 0o644 });
  }
}

const FILES: Record<Engine, (binary: string, prefix: string) => RuntimeFile> = {
  containerd: (binary, prefix) => {
    const file = path.join(prefix, 'etc/containerd/config.toml');
    const old = read(file);
    // Version 3 (containerd 2) calls the plugin by another name.
    const plugin = /^\s*version\s*=\s*3/m.test(old ?? '')
      ? `"io.containerd.cri.v1.runtime"`
      : `"io.containerd.grpc.v1.cri"`;
    const table = `[plugins.${plugin}.containerd.runtimes.nsbox]`;
    const lines = [
      table,
      '  runtime_type = "io.containerd.runc.v2"',
      `  [plugins.${plugin}.containerd.runtimes.nsbox.options]`,
      `    BinaryName = ${JSON.stringify(binary)}`,
      '    SystemdCgroup = false',
      // Naming one runtime takes the built-in default away, and without it containerd's CRI doesn't load.
      ...(/\.runtimes\.runc\]/.test(old ?? '')
        ? []
        : [`[plugins.${plugin}.containerd.runtimes.runc]`, '  runtime_type = "io.containerd.runc.v2"']),
      '',
    ].join('\n');
    return {
      engine: 'containerd',
      path: file,
      lines,
      content: old?.includes(table)
        ? undefined
        : `${old === undefined ? 'version = 2\n\n' : ended(old)}${lines}`,
      next: 'systemctl restart containerd; then RuntimeClass handler "nsbox", or `ctr run --runc-binary`',
    };
  },
  crio: (binary, prefix) => {
    const lines = `[crio.runtime.runtimes.nsbox]\nruntime_path = ${JSON.stringify(binary)}\nruntime_type = "oci"\nruntime_root = "/run/nsbox/oci"\n`;
    return whole(
      'crio',
      path.join(prefix, 'etc/crio/crio.conf.d/10-nsbox.conf'),
      lines,
      'systemctl restart crio; then RuntimeClass handler "nsbox"',
    );
  },
  podman: (binary, prefix) => {
    const lines = `[engine.runtimes]\nnsbox-oci = [${JSON.stringify(binary)}]\n`;
    return whole(
      'podman',
      path.join(prefix, 'etc/containers/containers.conf.d/10-nsbox.conf'),
      lines,
      'podman --runtime nsbox-oci run …',
    );
  },
  docker: (binary, prefix) => {
    const file = path.join(prefix, 'etc/docker/daemon.json');
    const old = read(file);
    let config: { runtimes?: Record<string, { path?: string }> } = {};
    try {
      if (old?.trim()) config = JSON.parse(old) as typeof config;
    } catch (cause) {
      throw new InvalidError(`${file} is not valid JSON: ${(cause as Error).message}`, { cause, path: file });
    }
    const same = config.runtimes?.['nsbox']?.path === binary;
    const changed = { ...config, runtimes: { ...config.runtimes, nsbox: { path: binary } } };
    return {
      engine: 'docker',
      path: file,
      lines: `${JSON.stringify({ runtimes: { nsbox: { path: binary } } }, undefined, 2)}\n`,
      content: same ? undefined : `${JSON.stringify(changed, undefined, 2)}\n`,
      next: 'systemctl reload docker; then docker run --runtime nsbox …',
    };
  },
};

/** A file of our own in a directory that the engine reads. */
function whole(engine: Engine, file: string, lines: string, next: string): RuntimeFile {
  return { engine, path: file, lines, content: read(file) === lines ? undefined : lines, next };
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? `${text}\n` : `${text}\n\n`;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw fromErrno(`read ${file}`, error, { path: file });
  }
}
