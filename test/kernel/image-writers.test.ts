import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { openImageStore } from '../../src/image/index.js';
import {
  AT_FDCWD,
  lchownat,
  linkat,
  lsetxattrat,
  mknodat,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkat,
  utimensat,
} from '../../src/kernel/index.js';
import { TestStore, treeFacts, treeLines } from '../support/images.js';
import { soakMs } from '../support/soak.js';

/** What a writer can't say. */
interface Lacks {
  nsec?: boolean;
  xattrs?: boolean;
  /** Hard links between symlinks. */
  linkedSymlinks?: boolean;
  bigIds?: boolean;
  before1970?: boolean;
  longNames?: boolean;
}

interface Node {
  kind: 'file' | 'sparse' | 'directory' | 'symlink' | 'fifo' | 'char' | 'block' | 'hardlink';
  depth: number;
  name: Buffer;
  mode: number;
  uid: number;
  gid: number;
  sec: number;
  nsec: number;
  size: number;
  /** Not empty: Go's writer drops those. */
  xattrs: [string, Uint8Array][];
  /** Which of those made before it is for: its parent, its target. */
  pick: number;
}

const BASE = Buffer.alloc(1 << 17, 'nsbox writes and reads archives\n');

/** Trees as a list of nodes, each made below or linked to one of those before it. */
function nodes(lacks: Lacks): fc.Arbitrary<Node[]> {
  const byte = fc.integer({ min: 1, max: 255 }).map((b) => (b === 0x2f ? 0x2e : b));
  const name = fc
    .oneof(
      { weight: 4, arbitrary: fc.stringMatching(/^[a-zA-Z0-9 ._-]{1,12}$/).map((s) => Buffer.from(s)) },
      { weight: 2, arbitrary: fc.array(byte, { minLength: 1, maxLength: 20 }).map((a) => Buffer.from(a)) },
      {
        weight: 1,
        arbitrary: fc.constantFrom('ü'.repeat(60), 'long'.repeat(lacks.longNames ? 20 : 60)).map(Buffer.from),
      },
    )
    .filter((b) => !/^\.{1,2}$|^\.wh\./.test(b.toString('latin1')));
  const id = lacks.bigIds
    ? fc.integer({ min: 0, max: 2_000_000 })
    : fc.oneof(fc.integer({ min: 0, max: 65_536 }), fc.integer({ min: 0, max: 4_000_000_000 }));
  return fc.array(
    fc.record({
      kind: fc.constantFrom<Node['kind'][]>(
        'file',
        'file',
        'file',
        'sparse',
        'directory',
        'directory',
        'symlink',
        'fifo',
        'char',
        'block',
        'hardlink',
      ),
      depth: fc.nat(3),
      name,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: id,
      gid: id,
      sec: fc.integer({ min: lacks.before1970 ? 0 : -(2 ** 31), max: 2 ** 32 }),
      nsec: lacks.nsec ? fc.constant(0) : fc.integer({ min: 0, max: 999_999_999 }),
      size: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.constantFrom(0, 511, 512, 513, 100_000)),
      xattrs: lacks.xattrs
        ? fc.constant([])
        : fc.array(
            fc.tuple(
              fc.constantFrom('user.a', 'user.ü b', 'user.c d'),
              fc.uint8Array({ minLength: 1, maxLength: 40 }),
            ),
            { maxLength: 2 },
          ),
      pick: fc.nat(),
    }),
    { minLength: 1, maxLength: 25 },
  ) as fc.Arbitrary<Node[]>;
}

/** Makes a tree; what can't be made (a name that is taken, a link to nothing) is left out. */
function build(root: string, list: readonly Node[], lacks: Lacks): void {
  const base = Buffer.from(`${root}/`);
  const directories: Buffer[] = [Buffer.from(root)];
  // No writer keeps hard links between devices or fifos.
  const files: { at: Buffer; regular: boolean }[] = [];
  const made: { at: Buffer; node: Node }[] = [];
  for (const node of list) {
    const parent = directories[node.pick % directories.length]!;
    const at = Buffer.concat([parent, Buffer.from('/'), node.name]);
    if (at.length - base.length > (lacks.longNames ? 90 : 900)) continue;
    if (made.some((m) => m.at.equals(at))) continue;
    const special = { fifo: S_IFIFO, char: S_IFCHR, block: S_IFBLK }[node.kind as 'fifo'];
    if (node.kind === 'directory') {
      mkdirSync(at);
      directories.push(at);
    } else if (node.kind === 'symlink') {
      symlinkat(node.name, AT_FDCWD, at);
    } else if (node.kind === 'hardlink') {
      const targets = lacks.linkedSymlinks ? files.filter((f) => f.regular) : files;
      const target = targets[node.pick % targets.length]?.at;
      if (!target) continue;
      linkat(AT_FDCWD, target, AT_FDCWD, at);
      made.push({ at, node });
      continue;
    } else if (special !== undefined) {
      mknodat(
        AT_FDCWD,
        at,
        special | 0o600,
        node.kind === 'fifo' ? 0 : 1 + (node.pick % 200),
        node.pick % 1000,
      );
    } else {
      const fd = openSync(at, 'wx');
      writeSync(fd, BASE, node.pick % 32, node.size);
      if (node.kind === 'sparse') {
        ftruncateSync(fd, 1 << 20);
        writeSync(fd, BASE, 0, node.size, 400_000);
      }
      closeSync(fd);
    }
    const regular = node.kind === 'file' || node.kind === 'sparse';
    if (regular || node.kind === 'symlink') files.push({ at, regular });
    made.push({ at, node });
  }
  // Deepest first: what is made inside changes a directory's time. Owner before mode: chown clears setuid bits.
  for (const { at, node } of made.reverse()) {
    if (node.kind === 'hardlink') continue;
    lchownat(AT_FDCWD, at, node.uid, node.gid);
    if (node.kind !== 'symlink') chmodSync(at, node.mode);
    if (node.kind === 'file' || node.kind === 'directory') {
      for (const [key, value] of node.xattrs) lsetxattrat(AT_FDCWD, at, key, Buffer.from(value));
    }
    const time = { sec: node.sec, nsec: node.nsec };
    utimensat(AT_FDCWD, at, time, time);
  }
}

const PYTHON = `
import os, sys, tarfile
os.chdir(sys.argv[2])
t = tarfile.open(sys.argv[1], 'w', format=getattr(tarfile, sys.argv[3]))
t.add('.')
t.close()`;

/** Go's archive/tar, as umoci uses it. */
function byUmoci(store: TestStore, tree: string, out: string): void {
  const layout = store.file('layout');
  rmSync(layout, { recursive: true, force: true });
  const umoci = (...args: string[]) => execFileSync('umoci', args, { stdio: 'pipe' });
  umoci('init', '--layout', layout);
  umoci('new', '--image', `${layout}:t`);
  umoci('insert', '--image', `${layout}:t`, tree, '/');
  const blobs = path.join(layout, 'blobs/sha256');
  const layer = readdirSync(blobs).find((b) => readFileSync(path.join(blobs, b)).readUInt16BE(0) === 0x1f8b)!;
  execFileSync('cp', [path.join(blobs, layer), out]);
}

interface Writer {
  name: string;
  program: string;
  lacks: Lacks;
  write(store: TestStore, tree: string, out: string): void;
}

const run = (argv: string[], env = {}) => {
  const r = spawnSync(argv[0]!, argv.slice(1), {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...env },
  });
  assert.equal(r.status, 0, `${argv[0]}: ${r.stderr}`);
};
const gnu =
  (...args: string[]) =>
  (_: TestStore, tree: string, out: string) =>
    run(['tar', '--create', ...args, '--file', out, '-C', tree, '.']);
const bsd =
  (...args: string[]) =>
  (_: TestStore, tree: string, out: string) =>
    run(['bsdtar', '--create', ...args, '--file', out, '-C', tree, '.']);
const python = (format: string) => (_: TestStore, tree: string, out: string) =>
  run(['python3', '-c', PYTHON, out, tree, format]);
const XATTRS = ['--xattrs', '--xattrs-include=*'];
const USTAR: Lacks = { nsec: true, xattrs: true, bigIds: true, before1970: true, longNames: true };

const WRITERS: Writer[] = [
  { name: 'GNU tar, PAX', program: 'tar', lacks: {}, write: gnu('--format=pax', ...XATTRS) },
  {
    name: 'GNU tar, PAX, sparse',
    program: 'tar',
    lacks: {},
    write: gnu('--format=pax', '--sparse', ...XATTRS),
  },
  {
    name: 'GNU tar, its own format',
    program: 'tar',
    lacks: { nsec: true, xattrs: true },
    write: gnu('--format=gnu', '--sparse'),
  },
  { name: 'GNU tar, ustar', program: 'tar', lacks: USTAR, write: gnu('--format=ustar') },
  // It cuts the names of sparse files that aren't UTF-8, and writes fractions before 1970 with the wrong sign.
  {
    name: 'bsdtar, PAX',
    program: 'bsdtar',
    lacks: { before1970: true, longNames: true },
    write: bsd('--format=pax'),
  },
  {
    name: 'bsdtar, GNU',
    program: 'bsdtar',
    lacks: { nsec: true, xattrs: true, before1970: true },
    write: bsd('--format=gnutar'),
  },
  {
    name: 'Python, PAX',
    program: 'python3',
    lacks: { nsec: true, xattrs: true, linkedSymlinks: true },
    write: python('PAX_FORMAT'),
  },
  {
    name: 'Python, GNU',
    program: 'python3',
    lacks: { nsec: true, xattrs: true, linkedSymlinks: true },
    write: python('GNU_FORMAT'),
  },
  { name: 'Go (umoci)', program: 'umoci', lacks: { nsec: true }, write: byUmoci },
];

const installed = (program: string) => ['/usr/bin', '/bin'].some((d) => existsSync(path.join(d, program)));

for (const { name, program, lacks, write } of WRITERS) {
  const skip = !installed(program) && `${program} is not installed`;
  test(`any tree, packed by ${name}, unpacks to the same tree`, { skip }, async () => {
    using store = new TestStore();
    const images = openImageStore(store.ctx);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(nodes(lacks), async (list) => {
        const tree = store.file(`tree-${count}`);
        const out = store.file(`tree-${count++}.tar`);
        mkdirSync(tree);
        try {
          build(tree, list, lacks);
          write(store, tree, out);
          const image = await images.import({ path: out });
          const { nsec = false } = lacks;
          const own = treeLines(treeFacts(images.layerPaths(image)[0]!, { nsec: !nsec }));
          assert.deepEqual(own, treeLines(treeFacts(tree, { nsec: !nsec })));
        } finally {
          rmSync(tree, { recursive: true, force: true });
          rmSync(out, { force: true });
        }
        if (count % 20 === 0) await images.prune({ all: true, inUse: () => undefined });
      }),
      soakMs === undefined
        ? { numRuns: 8, interruptAfterTimeLimit: 60_000, includeErrorInReport: true }
        : {
            numRuns: 1_000_000,
            interruptAfterTimeLimit: soakMs / WRITERS.length,
            includeErrorInReport: true,
          },
    );
  });
}
