import { createHash } from 'node:crypto';
import { closeSync as closeFd, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Context, makeContext } from '../../src/base/index.js';
import { type TarEntry, tarEnd, tarHeader, tarPadding } from '../../src/image/index.js';
import {
  AT_FDCWD,
  lgetxattrat,
  llistxattrat,
  lstatat,
  openat2,
  readdirFd,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../src/kernel/index.js';

/** A root and state of its own under /tmp, removed with its scope. */
export class TestStore implements Disposable {
  readonly directory = mkdtempSync('/tmp/nsbox-test-image-');
  readonly ctx: Context;
  constructor(env: Record<string, string> = {}) {
    this.ctx = makeContext({
      root: path.join(this.directory, 'root'),
      state: path.join(this.directory, 'state'),
      env: { HOME: this.directory, PATH: process.env['PATH'], ...env },
      cwd: this.directory,
    });
  }
  file(name: string): string {
    return path.join(this.directory, name);
  }
  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A member for `makeTar`: everything but the path has a default. */
export type Member = Partial<Omit<TarEntry, 'path' | 'linkPath'>> & {
  path: string | Buffer;
  linkPath?: string;
  content?: string | Buffer;
};

/** A tar of a few members, as tests need them: also with what no honest writer would write. */
export function makeTar(members: readonly Member[], end = true): Buffer {
  const out: Buffer[] = [];
  for (const m of members) {
    const content = Buffer.from(m.content ?? '');
    const type = m.type ?? 'file';
    out.push(
      tarHeader({
        type,
        path: Buffer.from(m.path),
        linkPath: Buffer.from(m.linkPath ?? ''),
        mode: m.mode ?? (type === 'directory' ? 0o755 : 0o644),
        uid: m.uid ?? 0,
        gid: m.gid ?? 0,
        size: m.size ?? content.length,
        mtime: m.mtime ?? { sec: 1_600_000_000, nsec: 0 },
        devMajor: m.devMajor ?? 0,
        devMinor: m.devMinor ?? 0,
        xattrs: m.xattrs,
      }),
      content,
      tarPadding(content.length),
    );
  }
  if (end) out.push(tarEnd());
  return Buffer.concat(out);
}

export function sha256(data: Buffer | string): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

/** What one file of a tree is, for comparing trees. */
export type Facts = Record<string, unknown>;

/**
 * Every file below a directory by its name (one character a byte): type, mode, owner, size, mtime, xattrs, links,
 * content.
 * @param options what to leave out: a tar writer that can't say nanoseconds, directories' times
 */
export function treeFacts(directory: string, options: { nsec?: boolean } = {}): Map<string, Facts> {
  const out = new Map<string, Facts>();
  const inodes = new Map<number, string>();
  const walk = (dir: string, key: string) => {
    const fd = openat2(AT_FDCWD, Buffer.from(dir, 'latin1'), 0o200000);
    try {
      for (const { name } of readdirFd(fd).sort((a, b) => Buffer.compare(a.name, b.name))) {
        const text = name.toString('latin1');
        const full = `${dir}/${text}`;
        const at = `${key}/${text}`;
        const stat = lstatat(fd, name)!;
        const kind = stat.mode & S_IFMT;
        const facts: Facts = {
          mode: stat.mode.toString(8),
          owner: `${stat.uid}:${stat.gid}`,
          mtime: options.nsec === false ? stat.mtime.sec : `${stat.mtime.sec}.${stat.mtime.nsec}`,
        };
        const xattrs = llistxattrat(fd, name)
          .map((n) => `${n.toString()}=${lgetxattrat(fd, name, n)?.toString('hex')}`)
          .sort();
        if (xattrs.length > 0) facts['xattrs'] = xattrs;
        if (kind === S_IFREG) {
          facts['size'] = stat.size;
          facts['content'] = sha256(readFileSync(Buffer.from(full, 'latin1')));
        } else if (kind === S_IFLNK) {
          facts['link'] = readlinkat(fd, name).toString('latin1');
        } else if (kind !== S_IFDIR) {
          facts['device'] = `${stat.rdevMajor}:${stat.rdevMinor}`;
        }
        if (kind !== S_IFDIR && stat.nlink > 1) {
          facts['nlink'] = stat.nlink;
          const first = inodes.get(stat.ino);
          if (first === undefined) inodes.set(stat.ino, at);
          else facts['same'] = first;
        }
        out.set(at, facts);
        if (kind === S_IFDIR) walk(full, at);
      }
    } finally {
      closeFd(fd);
    }
  };
  walk(directory, '');
  return out;
}

/** `treeFacts` as one line a file, so that a difference between trees is short to read. */
export function treeLines(facts: ReadonlyMap<string, Facts>): string[] {
  return [...facts].map(([name, f]) => `${JSON.stringify(name)} ${JSON.stringify(f)}`);
}

/** A folder that is an OCI layout of one image named `test`, its layers gzip of the given tars, written by hand. */
export function writeLayout(directory: string, layers: readonly Buffer[]): void {
  mkdirSync(path.join(directory, 'blobs/sha256'), { recursive: true });
  const blob = (mediaType: string, data: Buffer, more: object = {}) => {
    writeFileSync(path.join(directory, 'blobs', sha256(data).replace(':', '/')), data);
    return { mediaType, digest: sha256(data), size: data.length, ...more };
  };
  const oci = 'application/vnd.oci.image';
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/x'] },
    rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: `${oci}.manifest.v1+json`,
    config: blob(`${oci}.config.v1+json`, Buffer.from(JSON.stringify(config))),
    layers: layers.map((l) => blob(`${oci}.layer.v1.tar+gzip`, gzipSync(l, { level: 1 }))),
  };
  const name = { annotations: { 'org.opencontainers.image.ref.name': 'test' } };
  const top = blob(manifest.mediaType, Buffer.from(JSON.stringify(manifest)), name);
  writeFileSync(path.join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [top] }));
  writeFileSync(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
