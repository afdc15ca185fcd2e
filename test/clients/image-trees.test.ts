import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { debianTar } from '../../rootfs-tools/debian.js';
import { openImageStore } from '../../src/image/index.js';
import { AT_FDCWD, mknodat, openOverlay, S_IFBLK, S_IFCHR, S_IFIFO } from '../../src/kernel/index.js';
import {
  type Facts,
  type Member,
  makeTar,
  TestStore,
  treeFacts,
  treeLines,
  writeLayout,
} from '../support/images.js';

type Tree = Map<string, Facts>;

/** Only the lines that differ are told of. */
function same(own: string[], others: string[]): void {
  const [a, b] = [new Set(own), new Set(others)];
  const difference = { nsbox: own.filter((l) => !b.has(l)), other: others.filter((l) => !a.has(l)) };
  assert.deepEqual(difference, { nsbox: [], other: [] });
}

function tar(directory: string, args: string[], parts = ['.']): Buffer {
  return execFileSync('tar', ['--create', ...args, '-C', directory, ...parts], { maxBuffer: 1 << 30 });
}

/** A file with two pieces of data and two holes. */
function writeSparse(file: string): void {
  const fd = openSync(file, 'w');
  writeSync(fd, 'begin', 0);
  writeSync(fd, 'middle', 8 << 20);
  ftruncateSync(fd, 16 << 20);
  closeSync(fd);
}

/** Layers that hold all that a layer can: written by three programs, in three formats, one above the other. */
function hardLayers(store: TestStore): Buffer[] {
  const base = store.file('base');
  const at = (...parts: string[]) => path.join(base, ...parts);
  mkdirSync(at('dir/deep/er'), { recursive: true });
  for (const name of ['keep', 'gone', 'become-dir', 'become-link', 'linked']) {
    writeFileSync(at('dir', name), `${name}\n`);
  }
  linkSync(at('dir/linked'), at('dir/deep/linked too'));
  for (const d of ['whited', 'opaque', 'become-file', 'again']) {
    mkdirSync(at(d, 'sub'), { recursive: true });
    writeFileSync(at(d, 'old'), d);
    writeFileSync(at(d, 'sub/old'), d);
  }
  writeFileSync(at('setuid'), '#!');
  chownSync(at('setuid'), 12, 34);
  chmodSync(at('setuid'), 0o6755);
  mkdirSync(at('sticky'));
  chmodSync(at('sticky'), 0o1777);
  symlinkSync('../dir/keep', at('dir/relative'));
  symlinkSync('/dir/../../../etc', at('dir/absolute'));
  mknodat(AT_FDCWD, at('char'), S_IFCHR | 0o620, 1, 3);
  mknodat(AT_FDCWD, at('block'), S_IFBLK | 0o660, 7, 300);
  mknodat(AT_FDCWD, at('fifo'), S_IFIFO | 0o644);
  writeFileSync(at('n'.repeat(255)), 'a long name');
  mkdirSync(at('p'.repeat(150), 'q'.repeat(150)), { recursive: true });
  writeFileSync(at('p'.repeat(150), 'q'.repeat(150), 'r'.repeat(150)), 'a long path');
  symlinkSync('t'.repeat(400), at('long target'));
  writeFileSync(Buffer.concat([Buffer.from(`${base}/latin-`), Buffer.from([0xe9, 0xff])]), 'no UTF-8');
  utimesSync(at('dir/keep'), 1, 86_400);
  utimesSync(at('dir/gone'), 1, 0);

  const pax = store.file('pax');
  mkdirSync(path.join(pax, 'second'), { recursive: true });
  const second = path.join(pax, 'second');
  writeFileSync(path.join(second, 'fine time'), 'x');
  writeSparse(path.join(second, 'sparse'));
  utimesSync(path.join(second, 'fine time'), 1, 1_600_000_000.123456);
  writeFileSync(path.join(second, 'ünïcode \t\n"'), 'names');
  writeFileSync(path.join(second, 'capable'), 'x');
  execFileSync('setcap', ['cap_net_raw+ep', path.join(second, 'capable')]);
  execFileSync('setfattr', ['-n', 'user.binary', '-v', '0x00ff0a3d0080', path.join(second, 'capable')]);
  execFileSync('setfattr', ['-n', 'user.note', '-v', '0xfffe', second]);

  const dir = (name: string, more: Partial<Member> = {}): Member => ({
    path: `${name}/`,
    type: 'directory',
    mtime: { sec: 1_650_000_000, nsec: 0 },
    ...more,
  });
  // podman gives a file the times of its last link's entry, others those of the file's own: all write the same in both.
  const kept = { sec: 86_400, nsec: 0 };
  const third: Member[] = [
    dir('dir', { mode: 0o750, uid: 5 }),
    { path: 'dir/.wh.gone' },
    dir('dir/become-dir'),
    { path: 'dir/become-dir/inside', content: 'now a directory' },
    { path: 'dir/become-link', type: 'symlink', linkPath: 'keep' },
    dir('dir/deep'),
    { path: 'dir/deep/linked here', type: 'hardlink', linkPath: 'dir/keep', mtime: kept },
    { path: '.wh.whited' },
    dir('opaque', { mode: 0o700 }),
    { path: 'opaque/.wh..wh..opq' },
    { path: 'opaque/new', content: 'only this' },
    { path: 'become-file', content: 'now a file' },
    { path: '.wh.again' },
    { path: '.wh.no-such-file' },
    { path: 'big ids', uid: 4_000_000_000, gid: 3_000_000, content: 'x' },
    { path: 'old', mtime: { sec: -1000, nsec: 0 }, content: 'before 1970' },
    { path: 'one', content: 'linked within the layer' },
    dir('links'),
    { path: 'links/two', type: 'hardlink', linkPath: 'one' },
  ];
  const fourth: Member[] = [
    dir('again'),
    { path: 'again/new', content: 'made again' },
    dir('whited'),
    dir('opaque', { mode: 0o755 }),
    { path: 'opaque/more', content: 'beside new' },
    dir('dir'),
    { path: 'dir/gone', content: 'back again', mode: 0o600 },
    { path: 'setuid', content: 'not any more', mode: 0o755 },
    { path: '.wh.become-file' },
  ];
  return [
    tar(base, ['--format=gnu']),
    tar(pax, ['--format=pax', '--sparse', '--xattrs', '--xattrs-include=*']),
    makeTar(third),
    makeTar(fourth),
  ];
}

/** Some folders of a real Debian: thousands of files, as debootstrap and dpkg leave them, and a layer of changes. */
async function debianLayers(store: TestStore): Promise<Buffer[]> {
  const archive = await debianTar({
    include: ['redis-server', 'redis-tools', 'nginx-light', 'postgresql'],
  });
  const root = store.file('debian');
  mkdirSync(root);
  const parts = ['./etc', './usr/bin', './var/lib/dpkg', './var/log', './bin'];
  execFileSync('tar', ['-xpf', archive, '--xattrs', '--xattrs-include=*', '-C', root, ...parts]);
  const first = tar(root, ['--format=pax', '--xattrs', '--xattrs-include=*', '--exclude=./var']);
  const second = tar(root, ['--format=gnu'], ['./var']);
  const changes = makeTar([
    { path: 'etc/', type: 'directory' },
    { path: 'etc/.wh.passwd' },
    { path: 'etc/hostname', content: 'changed\n' },
    { path: 'var/', type: 'directory' },
    { path: 'var/lib/', type: 'directory' },
    { path: 'var/lib/dpkg/', type: 'directory' },
    { path: 'var/lib/dpkg/triggers/', type: 'directory' },
    { path: 'var/lib/dpkg/triggers/.wh..wh..opq' },
  ]);
  rmSync(root, { recursive: true });
  return [first, second, changes];
}

async function byNsbox(store: TestStore, layout: string): Promise<Tree> {
  const images = openImageStore(store.ctx);
  const [loaded] = await images.load({ path: layout });
  assert.deepEqual((await images.verify()).damages, []);
  const fd = openOverlay({ lowers: images.layerPaths(loaded!.image) });
  try {
    return treeFacts(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

function byUmoci(store: TestStore, layout: string): Tree {
  const r = spawnSync('umoci', ['unpack', '--image', `${layout}:test`, store.file('bundle')], {
    encoding: 'utf8',
  });
  assert.equal(r.status, 0, r.stderr);
  return treeFacts(store.file('bundle/rootfs'));
}

/** podman with storage of its own, as plain directories: its layers are applied one onto the other. */
function byPodman(store: TestStore, layout: string): Tree {
  const podman = (...args: string[]) => {
    const own = [
      '--root',
      store.file('podman'),
      '--runroot',
      store.file('podman-run'),
      '--storage-driver',
      'vfs',
    ];
    // A relative path: podman makes a name of it, which must be lower case.
    const r = spawnSync('podman', [...own, ...args], { encoding: 'utf8', cwd: store.directory });
    assert.equal(r.status, 0, `podman ${args.join(' ')}: ${r.stderr}`);
    return r.stdout.trim();
  };
  const id = podman('pull', '-q', `oci:${path.basename(layout)}:test`);
  const root = podman('image', 'mount', id);
  try {
    return treeFacts(root);
  } finally {
    podman('image', 'umount', id);
    podman('rmi', '-f', id);
  }
}

const absent = ['umoci', 'podman', 'setcap', 'setfattr'].filter(
  (p) => !['/usr/bin', '/usr/sbin', '/sbin'].some((d) => existsSync(path.join(d, p))),
);
const skip = absent.length > 0 && `not installed: ${absent.join(', ')}`;

test('layers with everything in them give the same tree as in umoci and podman', { skip }, async () => {
  using store = new TestStore();
  const layout = store.file('layout');
  writeLayout(layout, hardLayers(store));
  const own = treeLines(await byNsbox(store, layout));
  assert.ok(own.length > 30, `${own.length} files`);
  same(own, treeLines(byUmoci(store, layout)));
  // podman has no times before 1970.
  const since1970 = own.map((l) => l.replace('"mtime":"-1000.0"', '"mtime":"0.0"'));
  same(since1970, treeLines(byPodman(store, layout)));
});

test('a real Debian in three layers gives the same tree as in umoci and podman', { skip }, async () => {
  using store = new TestStore();
  const layout = store.file('layout');
  writeLayout(layout, await debianLayers(store));
  const own = treeLines(await byNsbox(store, layout));
  assert.ok(own.length > 1500, `${own.length} files`);
  same(own, treeLines(byUmoci(store, layout)));
  same(own, treeLines(byPodman(store, layout)));
});
