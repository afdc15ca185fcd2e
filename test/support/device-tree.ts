import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { FileStat, HostFiles } from '../../src/devices/index.js';

/** A file tree as data: made on disk for tests with root, looked at in memory by the others. */
export type Tree = Map<string, TreeEntry>;

export type TreeEntry =
  | { kind: 'file'; content: string | Uint8Array; mode?: number }
  | { kind: 'link'; target: string }
  | { kind: 'directory' }
  | { kind: 'fifo' }
  | { kind: 'socket' }
  | {
      kind: 'char' | 'block';
      major: number;
      minor: number;
      mode?: number;
      uid?: number;
      gid?: number;
    };

/** The tree in memory; sources of mounts are shown below `root`. */
export function memoryFiles(tree: Tree, root = ''): HostFiles {
  const children = new Map<string, Set<string>>([['/', new Set()]]);
  for (const file of tree.keys()) {
    for (let at = file; at !== '/'; at = path.dirname(at)) {
      const parent = path.dirname(at);
      if (!children.has(parent)) children.set(parent, new Set());
      children.get(parent)?.add(path.basename(at));
    }
  }
  /** What stands at a path, links of its directories followed as a kernel would. */
  const entry = (file: string, depth = 0): [string, TreeEntry | undefined] => {
    let at = '';
    const names = file.split('/').filter((n) => n !== '');
    for (const [i, name] of names.entries()) {
      at = `${at}/${name}`;
      const found = tree.get(at);
      if (found?.kind === 'link' && i < names.length - 1 && depth < 20) {
        const target = path.resolve(path.dirname(at), found.target);
        return entry(path.join(target, ...names.slice(i + 1)), depth + 1);
      }
    }
    return [at || '/', tree.get(at)];
  };
  const bytes = (file: string): Uint8Array | undefined => {
    let [, e] = entry(file);
    for (let i = 0; e?.kind === 'link' && i < 20; i++) {
      const [at] = entry(file);
      file = path.resolve(path.dirname(at), e.target);
      [, e] = entry(file);
    }
    if (e?.kind !== 'file') return undefined;
    return typeof e.content === 'string' ? Buffer.from(e.content) : e.content;
  };
  return {
    onHost: (file) => root + file,
    lstat(file): FileStat | undefined {
      const [at, e] = entry(file);
      if (!e) {
        return children.has(at)
          ? { kind: 'directory', mode: 0o755, uid: 0, gid: 0, major: 0, minor: 0 }
          : undefined;
      }
      const device = e.kind === 'char' || e.kind === 'block' ? e : undefined;
      return {
        kind: e.kind,
        mode: ('mode' in e ? e.mode : undefined) ?? (e.kind === 'directory' ? 0o755 : device ? 0o666 : 0o644),
        uid: device?.uid ?? 0,
        gid: device?.gid ?? 0,
        major: device?.major ?? 0,
        minor: device?.minor ?? 0,
      };
    },
    readText(file) {
      const b = bytes(file);
      return b === undefined ? undefined : Buffer.from(b).toString();
    },
    readBytes(file, offset, length) {
      return bytes(file)?.subarray(offset, offset + length);
    },
    readDirectory(file) {
      return [...(children.get(entry(file)[0]) ?? [])].sort();
    },
    readLink(file) {
      const [, e] = entry(file);
      return e?.kind === 'link' ? e.target : undefined;
    },
  };
}

/** Makes the tree below a directory; needs root for device nodes. */
export function writeTree(tree: Tree, root: string): void {
  for (const [file, e] of tree) {
    const at = root + file;
    mkdirSync(path.dirname(at), { recursive: true });
    switch (e.kind) {
      case 'file':
        writeFileSync(at, e.content);
        chmodSync(at, e.mode ?? 0o644);
        break;
      case 'link':
        symlinkSync(e.target, at);
        break;
      case 'directory':
        mkdirSync(at, { recursive: true });
        break;
      case 'fifo':
        execFileSync('mkfifo', [at]);
        break;
      case 'socket':
        // A stand-in: binding a socket leaves its file behind, which is what a daemon's is to us.
        execFileSync('python3', [
          '-c',
          'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])',
          at,
        ]);
        break;
      default:
        execFileSync('mknod', [at, e.kind === 'char' ? 'c' : 'b', `${e.major}`, `${e.minor}`]);
        chmodSync(at, e.mode ?? 0o666);
        chownSync(at, e.uid ?? 0, e.gid ?? 0);
    }
  }
}
