/** Image archives from a directory: what `nsbox load` takes, made with GNU tar and nothing of nsbox itself. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

/** The execution part of an image config (image-spec, config.md), as far as our images need it. */
export interface ImageSettings {
  Cmd?: string[];
  Entrypoint?: string[];
  Env?: string[];
  WorkingDir?: string;
  User?: string;
  ExposedPorts?: Record<string, object>;
  Volumes?: Record<string, object>;
  StopSignal?: string;
  Labels?: Record<string, string>;
}

/** Names of GOARCH, which images use, by Node's. */
const ARCHITECTURES: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  riscv64: 'riscv64',
  s390x: 's390x',
};

/**
 * Writes a directory as a tar: owners by number, xattrs, hard links, device nodes kept.
 * @param epoch - seconds since 1970 that every file gets, for archives that come out the same each time
 */
export async function writeRootfsTar(root: string, out: string, epoch?: number): Promise<void> {
  const args = ['--create', '--file', out, '--directory', root, '--format=posix', '--numeric-owner'];
  args.push('--xattrs', '--xattrs-include=*', '--sort=name');
  args.push('--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime');
  if (epoch !== undefined) args.push(`--mtime=@${epoch}`);
  await command('tar', [...args, '.']);
}

/** Runs a program and waits; its messages become the error's text. */
export function command(file: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: env ?? process.env });
    let tail = '';
    const keep = (chunk: Buffer): void => {
      tail = (tail + chunk.toString()).slice(-4000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(new Error(`can't start ${file}: ${error.message}`)));
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${file} failed (exit status ${code}):\n${tail.trim()}`)),
    );
  });
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return `sha256:${hash.digest('hex')}`;
}

/**
 * Makes an OCI image archive with one layer from a rootfs tar.
 * @param out - the archive; it appears whole, by rename
 */
export async function writeOciArchive(options: {
  rootfsTar: string;
  out: string;
  reference: string;
  settings: ImageSettings;
  /** RFC 3339; the present by default. */
  created?: string;
}): Promise<void> {
  const layout = await mkdtemp(path.join(os.tmpdir(), 'nsbox-layout-'));
  try {
    const blobs = path.join(layout, 'blobs/sha256');
    await mkdir(blobs, { recursive: true });
    const diffId = await sha256(options.rootfsTar);
    const zipped = path.join(blobs, 'layer');
    await pipeline(
      createReadStream(options.rootfsTar, { highWaterMark: 1 << 20 }),
      createGzip({ level: 6 }),
      createWriteStream(zipped),
    );
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: await sha256(zipped),
      size: (await stat(zipped)).size,
    };
    await rename(zipped, path.join(blobs, layer.digest.slice(7)));
    const blob = async (mediaType: string, value: unknown): Promise<typeof layer> => {
      const text = JSON.stringify(value);
      const digest = createHash('sha256').update(text).digest('hex');
      await writeFile(path.join(blobs, digest), text);
      return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
    };
    const created = options.created ?? new Date().toISOString();
    const config = await blob('application/vnd.oci.image.config.v1+json', {
      created,
      architecture: ARCHITECTURES[process.arch] ?? process.arch,
      os: 'linux',
      config: options.settings,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created, created_by: 'nsbox rootfs-tools' }],
    });
    const manifest = await blob('application/vnd.oci.image.manifest.v1+json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config,
      layers: [layer],
    });
    const colon = options.reference.lastIndexOf(':');
    const tag = colon > options.reference.lastIndexOf('/') ? options.reference.slice(colon + 1) : 'latest';
    const name =
      colon > options.reference.lastIndexOf('/') ? options.reference.slice(0, colon) : options.reference;
    await writeFile(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const annotations = {
      // The tag alone is the standard's; the full name is what Docker, containerd and nsbox load by.
      'org.opencontainers.image.ref.name': tag,
      'io.containerd.image.name': `${canonical(name)}:${tag}`,
    };
    await writeFile(
      path.join(layout, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [{ ...manifest, annotations }],
      }),
    );
    await mkdir(path.dirname(path.resolve(options.out)), { recursive: true });
    const partial = `${options.out}.${process.pid}.partial`;
    await writeRootfsTar(layout, partial, 0);
    await rename(partial, options.out);
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
}

/** `busybox` → `docker.io/library/busybox`, as every client of the standard spells it. */
function canonical(name: string): string {
  const first = name.split('/')[0] ?? '';
  if (/[.:]/.test(first) || first === 'localhost') return name;
  return name.includes('/') ? `docker.io/${name}` : `docker.io/library/${name}`;
}

/** Absolute path of a program, searched as the shell would. */
export function findProgram(name: string): string {
  if (name.includes('/')) return path.resolve(name);
  try {
    return execFileSync('sh', ['-c', 'command -v -- "$1"', 'sh', name], { encoding: 'utf8' }).trim();
  } catch {
    throw new Error(`${name} is not on this machine (searched PATH=${process.env['PATH'] ?? ''})`);
  }
}
