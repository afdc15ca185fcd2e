import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync as closeFd,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openImageStore, packTree } from '../../src/image/index.js';
import { AT_FDCWD, lsetxattrat, mknodat, openOverlay, S_IFCHR, S_IFIFO } from '../../src/kernel/index.js';
import { type Member, makeTar, sha256, TestStore, treeFacts } from '../support/images.js';

/** A docker-archive of layers given as tars. */
function dockerArchive(
  layers: readonly Buffer[],
  name = 'test:1',
  edit: (config: Record<string, unknown>) => void = () => {},
) {
  const config: Record<string, unknown> = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/x'] },
    rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
  };
  edit(config);
  const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: layers.map((_, i) => `${i}.tar`) }];
  return makeTar([
    ...layers.map((content, i): Member => ({ path: `${i}.tar`, content })),
    { path: 'config.json', content: JSON.stringify(config) },
    { path: 'manifest.json', content: JSON.stringify(manifest) },
  ]);
}

async function load(store: TestStore, archive: Buffer) {
  writeFileSync(store.file('archive.tar'), archive);
  const images = openImageStore(store.ctx);
  const [loaded] = await images.load({ path: store.file('archive.tar') });
  return { images, image: loaded!.image, paths: images.layerPaths(loaded!.image) };
}

/** What a container would see of an image. */
function merged<T>(paths: string[], use: (root: string) => T): T {
  const fd = openOverlay({ lowers: paths });
  try {
    return use(`/proc/self/fd/${fd}`);
  } finally {
    closeFd(fd);
  }
}

/** A tree with everything that a layer can hold. */
function everything(root: string): void {
  mkdirSync(path.join(root, 'dir/deep'), { recursive: true });
  writeFileSync(path.join(root, 'dir/plain'), 'plain');
  writeFileSync(path.join(root, 'dir/setuid'), 'x');
  execFileSync('chown', ['7:8', path.join(root, 'dir/setuid')]);
  chmodSync(path.join(root, 'dir/setuid'), 0o4755);
  linkSync(path.join(root, 'dir/plain'), path.join(root, 'dir/deep/hard'));
  symlinkSync('../dir/plain', path.join(root, 'dir/soft'));
  symlinkSync('/nowhere/at/all', path.join(root, 'dangling'));
  linkSync(path.join(root, 'dangling'), path.join(root, 'dangling2'));
  writeFileSync(path.join(root, 'n'.repeat(200)), 'long');
  mkdirSync(path.join(root, 'p'.repeat(120), 'q'.repeat(120)), { recursive: true });
  writeFileSync(path.join(root, 'p'.repeat(120), 'q'.repeat(120), 'file'), 'deep');
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe, 0x80, 0x0a])]), 'no utf-8');
  writeFileSync(path.join(root, 'ünïcode'), 'names');
  mknodat(AT_FDCWD, path.join(root, 'device'), S_IFCHR | 0o600, 1, 3);
  mknodat(AT_FDCWD, path.join(root, 'fifo'), S_IFIFO | 0o644);
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  lsetxattrat(AT_FDCWD, path.join(root, 'dir/plain'), 'security.capability', capability);
  lsetxattrat(AT_FDCWD, path.join(root, 'dir'), 'user.binary', Buffer.from([0, 255, 10, 61, 0]));
  writeFileSync(path.join(root, 'sparse'), 'start');
  truncateSync(path.join(root, 'sparse'), 40 * 1024 * 1024);
  execFileSync('dd', [
    'if=/dev/zero',
    `of=${root}/sparse`,
    'bs=4096',
    'seek=5000',
    'count=1',
    'conv=notrunc',
    'status=none',
  ]);
  writeFileSync(path.join(root, 'empty'), '');
  utimesSync(path.join(root, 'empty'), 1, -86_400.5);
  utimesSync(path.join(root, 'dir'), 1, 1_234_567_890);
}

const WRITERS: [string, string[], { nsec?: boolean; xattrs?: boolean }][] = [
  ['GNU tar, PAX', ['--format=pax', '--xattrs', '--xattrs-include=*'], {}],
  ['GNU tar, PAX, sparse 1.0', ['--format=pax', '--xattrs', '--xattrs-include=*', '-S'], {}],
  [
    'GNU tar, PAX, sparse 0.1',
    ['--format=pax', '--xattrs', '--xattrs-include=*', '-S', '--sparse-version=0.1'],
    {},
  ],
  [
    'GNU tar, PAX, sparse 0.0',
    ['--format=pax', '--xattrs', '--xattrs-include=*', '-S', '--sparse-version=0.0'],
    {},
  ],
  ['GNU tar, old GNU, sparse', ['--format=gnu', '-S'], { nsec: false, xattrs: false }],
];

for (const [name, args, lacks] of WRITERS) {
  test(`a tree packed by ${name} unpacks to the same tree`, async () => {
    using store = new TestStore();
    const tree = store.file('tree');
    mkdirSync(tree);
    everything(tree);
    execFileSync('tar', ['--create', ...args, '--file', store.file('tree.tar'), '-C', tree, '.'], {
      stdio: 'pipe',
    });
    const images = openImageStore(store.ctx);
    const image = await images.import({ path: store.file('tree.tar') });
    const [layer] = images.layerPaths(image);
    const expected = treeFacts(tree, lacks);
    if (lacks.xattrs === false) for (const facts of expected.values()) delete facts['xattrs'];
    assert.deepEqual(treeFacts(layer!, lacks), expected);
    if (name.includes('sparse')) {
      assert.ok(lstatSync(path.join(layer!, 'sparse')).blocks * 512 < 1 << 20, 'holes stay holes');
    }
  });
}

test("Python's tarfile and our own writer give the same tree", async () => {
  using store = new TestStore();
  const tree = store.file('tree');
  mkdirSync(tree);
  everything(tree);
  const images = openImageStore(store.ctx);
  const own = images.layerPaths(await images.import({ path: tree }))[0]!;
  assert.deepEqual(treeFacts(own), treeFacts(tree));
  const script =
    'import tarfile,sys,os\nt=tarfile.open(sys.argv[1],"w",format=tarfile.PAX_FORMAT)\nos.chdir(sys.argv[2])\nt.add(".")\nt.close()';
  execFileSync('python3', ['-c', script, store.file('py.tar'), tree]);
  const python = images.layerPaths(await images.import({ path: store.file('py.tar') }))[0]!;
  // tarfile knows no xattrs and no hard links between symlinks, and rounds times through a float.
  const without = (facts: ReturnType<typeof treeFacts>) => {
    for (const f of facts.values()) {
      delete f['xattrs'];
      delete f['mtime'];
      if (f['link'] !== undefined) {
        delete f['nlink'];
        delete f['same'];
      }
    }
    return facts;
  };
  assert.deepEqual(without(treeFacts(python)), without(treeFacts(tree)));
});

test('whiteouts, opaque directories and what they hide', async () => {
  using store = new TestStore();
  const base = makeTar([
    { path: 'gone', content: '1' },
    { path: 'dir/', type: 'directory', mode: 0o750, uid: 5, gid: 6, mtime: { sec: 42, nsec: 7 } },
    { path: 'dir/old', content: '1' },
    { path: 'dir/kept', content: '1' },
    { path: 'opaque/', type: 'directory' },
    { path: 'opaque/hidden', content: '1' },
    { path: 'again/', type: 'directory' },
    { path: 'again/hidden', content: '1' },
    { path: 'file', content: 'first' },
  ]);
  const top = makeTar([
    { path: '.wh.gone' },
    { path: '.wh.never-was' },
    { path: 'dir/.wh.old' },
    { path: 'dir/new', content: '2' },
    { path: 'opaque/.wh..wh..opq' },
    { path: 'opaque/shown', content: '2' },
    { path: '.wh.again' },
    { path: 'again/', type: 'directory' },
    { path: 'again/shown', content: '2' },
    { path: 'file', content: 'second' },
    { path: 'lone/.wh.nothing' },
    { path: '.wh..wh.plnk/1.2', content: 'aufs' },
  ]);
  const { paths } = await load(store, dockerArchive([base, top]));
  const seen = merged(paths, (root) => [...treeFacts(root).keys()].sort());
  assert.deepEqual(seen, [
    '/again',
    '/again/shown',
    '/dir',
    '/dir/kept',
    '/dir/new',
    '/file',
    '/lone',
    '/opaque',
    '/opaque/shown',
  ]);
  // A directory that the upper layer only implied has the attributes that the lower one gave it.
  const dir = treeFacts(paths[1]!).get('/dir')!;
  assert.deepEqual([dir['mode'], dir['owner'], dir['mtime']], ['40750', '5:6', '42.7']);
  assert.deepEqual(
    [...treeFacts(paths[1]!)].filter(([, f]) => f['device'] === '0:0').map(([key]) => key),
    ['/dir/old', '/gone'],
    'whiteouts that hide nothing are dropped',
  );
});

test('a root that is opaque hides every layer below', async () => {
  using store = new TestStore();
  const base = makeTar([
    { path: 'a/x', content: '1' },
    { path: 'b', content: '1' },
  ]);
  const top = makeTar([{ path: '.wh..wh..opq' }, { path: 'a/y', content: '2' }]);
  const { paths } = await load(store, dockerArchive([base, top]));
  assert.deepEqual(
    merged(paths, (root) => [...treeFacts(root).keys()]),
    ['/a', '/a/y'],
  );
});

test('hard links across directories and layers', async () => {
  using store = new TestStore();
  const base = makeTar([{ path: 'usr/bin/tool', content: 'tool', mode: 0o4755, uid: 3 }]);
  const top = makeTar([
    { path: 'bin/', type: 'directory' },
    { path: 'bin/one', content: 'x' },
    { path: 'lib/two', type: 'hardlink', linkPath: './bin/one' },
    { path: 'bin/tool', type: 'hardlink', linkPath: 'usr/bin/tool' },
  ]);
  const { paths } = await load(store, dockerArchive([base, top]));
  const facts = treeFacts(paths[1]!);
  assert.equal(facts.get('/lib/two')!['same'], '/bin/one');
  assert.deepEqual([facts.get('/bin/tool')!['mode'], facts.get('/bin/tool')!['owner']], ['104755', '3:0']);
  const nowhere = dockerArchive([makeTar([{ path: 'l', type: 'hardlink', linkPath: 'missing' }])]);
  await assert.rejects(load(store, nowhere), /\/l is a hard link to \/missing, which the image doesn't have/);
});

test('nothing in a layer reaches what lies outside of it', async () => {
  const evil: [string, Member[], RegExp | undefined][] = [
    ['..', [{ path: '../escaped', content: 'x' }], /leads out of it/],
    ['.. within', [{ path: 'a/../../escaped', content: 'x' }], /leads out of it/],
    [
      'a hard link by ..',
      [{ path: 'l', type: 'hardlink', linkPath: '../../../etc/passwd' }],
      /leads out of it/,
    ],
    [
      'a symlink by ..',
      [
        { path: 's', type: 'symlink', linkPath: '../../../..' },
        { path: 's/escaped', content: 'x' },
      ],
      undefined,
    ],
    [
      'an absolute symlink',
      [
        { path: 's', type: 'symlink', linkPath: '/tmp' },
        { path: 's/escaped', content: 'x' },
      ],
      /symlink \/s, which leads to no directory/,
    ],
    ['an absolute name', [{ path: '/escaped', content: 'x' }], undefined],
    [
      'a symlink as parent of a hard link',
      [
        { path: 's', type: 'symlink', linkPath: '/etc' },
        { path: 'l', type: 'hardlink', linkPath: 's/passwd' },
      ],
      /doesn't have/,
    ],
    [
      'a symlink replaced by a file',
      [
        { path: 's', type: 'symlink', linkPath: '/tmp/escaped' },
        { path: 's', content: 'x' },
      ],
      undefined,
    ],
    ['a whiteout of ..', [{ path: 'd/.wh...', content: '' }], /whiteout/],
    [
      'a magic link',
      [
        { path: 's', type: 'symlink', linkPath: '/proc/self/root' },
        { path: 's/escaped', content: 'x' },
      ],
      /no directory/,
    ],
    [
      'overlay attributes',
      [
        {
          path: 'd/',
          type: 'directory',
          xattrs: new Map([['trusted.overlay.redirect', Buffer.from('/etc')]]),
        },
      ],
      undefined,
    ],
  ];
  for (const [name, members, why] of evil) {
    using store = new TestStore();
    const attempt = load(store, dockerArchive([makeTar(members)]));
    if (why) await assert.rejects(attempt, { code: 'IMAGE_CORRUPT', message: why }, name);
    else {
      const { paths } = await attempt;
      for (const facts of treeFacts(paths[0]!).values()) assert.equal(facts['xattrs'], undefined, name);
    }
    assert.ok(!existsSync('/tmp/escaped') && !existsSync('/escaped'), name);
    assert.ok(!existsSync(path.join(store.ctx.root, 'layers/escaped')), name);
    if (why) assert.deepEqual(execFileSync('ls', [path.join(store.ctx.root, 'layers')]).toString(), '', name);
  }
});

test('a hard link that takes the place of the directory its target is in is refused', async () => {
  using store = new TestStore();
  const layer = makeTar([
    { path: 'a/', type: 'directory' },
    { path: 'a/file', content: 'x' },
    { path: 'a', type: 'hardlink', linkPath: 'a/file' },
  ]);
  await assert.rejects(load(store, dockerArchive([layer])), {
    code: 'IMAGE_CORRUPT',
    message: '/a is a hard link to a file below itself',
  });
});

test('archives that lie are refused in one line and leave nothing', async () => {
  const good = makeTar([{ path: 'f', content: 'x'.repeat(3000) }]);
  const other = makeTar([{ path: 'g', content: 'y' }]);
  const wrongDigest = dockerArchive([good], 'a:1', (c) => {
    c['rootfs'] = { type: 'layers', diff_ids: [sha256(other)] };
  });
  const cases: [string, Buffer, RegExp][] = [
    ['a digest that does not match', wrongDigest, /digest mismatch: expected sha256:/],
    [
      'a config of the wrong type',
      dockerArchive([good], 'a:1', (c) => (c['os'] = 7)),
      /os: expected a string, received 7/,
    ],
    [
      'too few layers',
      dockerArchive([good], 'a:1', (c) => (c['rootfs'] = { type: 'layers', diff_ids: [] })),
      /0 layers where its manifest has 1/,
    ],
    ['a cut archive', dockerArchive([good]).subarray(0, 2000), /cut off|ends in the middle/],
    ['text', Buffer.from('not a tar\n'.repeat(100)), /no tar archive/],
    ['a tar without an image', good, /holds no image/],
    ['a layer that is no tar', dockerArchive([Buffer.from('x'.repeat(2000))]), /no tar archive/],
    ['a layer that ends early', dockerArchive([good.subarray(0, 1024)]), /ends in the middle/],
    ['a bad name', dockerArchive([good], 'Bad Name'), /invalid reference/],
  ];
  for (const [name, archive, why] of cases) {
    using store = new TestStore();
    await assert.rejects(load(store, archive), (error: Error & { code?: string }) => {
      assert.match(error.message, why, name);
      assert.ok(!error.message.includes('\n'), name);
      return true;
    });
    assert.deepEqual(await left(store), { ingest: [], layers: [], images: [], leases: [] }, name);
  }
});

async function left(store: TestStore): Promise<Record<string, string[]>> {
  const { readdirSync } = await import('node:fs');
  const list = (name: string) => {
    const directory = path.join(store.ctx.root, name);
    return existsSync(directory) ? readdirSync(directory) : [];
  };
  return { ingest: list('ingest'), layers: list('layers'), images: list('images'), leases: list('leases') };
}

test('two hundred layers work, and are the same tree when packed again', async () => {
  using store = new TestStore();
  const layers = Array.from({ length: 200 }, (_, i) =>
    makeTar([
      { path: `d/f${i}`, content: String(i) },
      { path: 'top', content: String(i) },
    ]),
  );
  const { paths } = await load(store, dockerArchive(layers));
  merged(paths, (root) => {
    assert.equal(readFileSync(path.join(root, 'top'), 'utf8'), '199');
    assert.equal(treeFacts(root).size, 202);
  });
});

test('commit writes an upper directory as a layer: whiteouts, opaque marks, ids mapped back', async () => {
  using store = new TestStore();
  const { images, image, paths } = await load(
    store,
    dockerArchive([
      makeTar([
        { path: 'a', content: '1' },
        { path: 'd/x', content: '1' },
      ]),
    ]),
  );
  const upper = store.file('upper');
  mkdirSync(path.join(upper, 'd'), { recursive: true });
  execFileSync('chown', ['-R', '100000:100000', upper]);
  mknodat(AT_FDCWD, path.join(upper, 'a'), S_IFCHR, 0, 0);
  lsetxattrat(AT_FDCWD, path.join(upper, 'd'), 'trusted.overlay.opaque', Buffer.from('y'));
  writeFileSync(path.join(upper, 'd/new'), 'new');
  execFileSync('chown', ['100007:100000', path.join(upper, 'd/new')]);
  const committed = await images.commit({
    upper,
    idShift: 100_000,
    base: image.id,
    reference: 'done:1',
    changes: ['CMD ["/new"]'],
    message: 'why',
  });
  assert.deepEqual(committed.config.config?.Cmd, ['/new']);
  assert.equal(committed.layers.length, 2);
  assert.equal(images.layerPaths(committed)[0], paths[0]);
  merged(images.layerPaths(committed), (root) => {
    const facts = treeFacts(root);
    assert.deepEqual([...facts.keys()], ['/d', '/d/new']);
    assert.equal(facts.get('/d/new')!['owner'], '7:0');
  });
  assert.equal((await images.resolve('done:1')).id, committed.id);
});

test('damage on disk is found and repaired', async () => {
  using store = new TestStore();
  const { images, paths } = await load(store, dockerArchive([makeTar([{ path: 'f', content: 'hello' }])]));
  assert.equal((await images.verify()).damages.length, 0);
  writeFileSync(path.join(paths[0]!, 'f'), 'hellO');
  assert.match((await images.verify()).damages[0]!.why, /\/f differs/);
  assert.equal((await images.verify([], { repair: true })).damages[0]!.repaired, true);
  assert.equal(readFileSync(path.join(paths[0]!, 'f'), 'utf8'), 'hello');
});

test('whatever is changed behind our back in an unpacked layer is named and mended', async () => {
  using store = new TestStore();
  const archive = dockerArchive([
    makeTar([
      { path: 'etc/', type: 'directory' },
      { path: 'etc/passwd', content: 'root', mode: 0o644, uid: 3, gid: 4 },
      { path: 'etc/twice', content: 'first' },
      { path: 'bin/', type: 'directory', mode: 0o755 },
      { path: 'bin/su', content: 'su', mode: 0o4755, xattrs: new Map([['user.a', Buffer.from('1')]]) },
      { path: 'bin/same', type: 'hardlink', linkPath: 'bin/su' },
      { path: 'bin/link', type: 'symlink', linkPath: 'su' },
      { path: 'null', type: 'char', devMajor: 1, devMinor: 3 },
      // The later entry of a name counts.
      { path: 'etc/twice', content: 'second' },
    ]),
    makeTar([
      { path: 'bin/.wh.link' },
      // Its directory has no entry of its own here: it is as in the layer below.
      { path: 'etc/more', content: 'more' },
    ]),
  ]);
  const { images, paths } = await load(store, archive);
  const [low, high] = paths as [string, string];
  assert.deepEqual((await images.verify()).damages, []);
  const trees = () =>
    paths.map((p) => {
      const facts = treeFacts(p);
      // A whiteout has no time of its own.
      for (const fact of facts.values()) if (fact['device'] === '0:0') delete fact['mtime'];
      return [...facts];
    });
  const right = trees();
  const cases: [string, () => void, RegExp][] = [
    ['content', () => writeFileSync(path.join(low, 'etc/passwd'), 'toor'), /^\/etc\/passwd differs/],
    ['size', () => writeFileSync(path.join(low, 'etc/passwd'), 'r'), /^\/etc\/passwd has 1 bytes, not 4/],
    ['a removed file', () => unlinkSync(path.join(low, 'etc/passwd')), /^\/etc\/passwd is missing/],
    ['a removed symlink', () => unlinkSync(path.join(low, 'bin/link')), /^\/bin\/link is missing/],
    ['a mode', () => chmodSync(path.join(low, 'bin/su'), 0o755), /^\/bin\/(su|same) has mode 755, not 4755/],
    ['a mode of a directory', () => chmodSync(path.join(low, 'bin'), 0o777), /^\/bin has mode 777, not 755/],
    [
      'an owner',
      () => chownSync(path.join(low, 'etc/passwd'), 0, 0),
      /^\/etc\/passwd belongs to 0:0, not 3:4/,
    ],
    [
      'a time',
      () => utimesSync(path.join(low, 'etc/passwd'), 1, 1),
      /^\/etc\/passwd was changed at another time/,
    ],
    [
      'a file too many',
      () => writeFileSync(path.join(low, 'etc/evil'), 'x'),
      /^\/etc\/evil is not in its archive/,
    ],
    [
      'an attribute',
      () => execFileSync('setfattr', ['-x', 'user.a', path.join(low, 'bin/su')]),
      /^\/bin\/(su|same) has another user\.a/,
    ],
    [
      'a link that is none any more',
      () => {
        unlinkSync(path.join(low, 'bin/same'));
        execFileSync('cp', ['-p', path.join(low, 'bin/su'), path.join(low, 'bin/same')]);
      },
      /^\/bin\/(su|same) is not the hard link/,
    ],
    [
      'a symlink that leads elsewhere',
      () => {
        unlinkSync(path.join(low, 'bin/link'));
        symlinkSync('/etc/passwd', path.join(low, 'bin/link'));
      },
      /^\/bin\/link leads elsewhere/,
    ],
    [
      'a type',
      () => {
        unlinkSync(path.join(low, 'null'));
        mkdirSync(path.join(low, 'null'));
      },
      /^\/null is of another type/,
    ],
    ['a removed whiteout', () => unlinkSync(path.join(high, 'bin/link')), /^\/bin\/link is missing/],
    ['all of it', () => rmSync(low, { recursive: true }), /its files are missing/],
  ];
  for (const [name, damage, why] of cases) {
    damage();
    const first = (await images.verify()).damages[0];
    assert.match(first?.why ?? 'nothing was found', why, name);
    const { damages } = await images.verify([], { repair: true });
    assert.ok(damages.length > 0 && damages.every((d) => d.repaired), name);
    assert.deepEqual((await images.verify()).damages, [], name);
    assert.deepEqual(trees(), right, name);
  }
  await images.prune({ inUse: () => 'all' });
  assert.deepEqual(
    readdirSync(path.join(store.ctx.root, 'layers')).filter((n) => n.endsWith('.tmp')),
    [],
    'what was replaced is gone',
  );
});

test('packTree and TarReader agree on a directory that changes', async () => {
  using store = new TestStore();
  const tree = store.file('tree');
  mkdirSync(tree);
  writeFileSync(path.join(tree, 'f'), 'x'.repeat(3 << 20));
  const { openSync } = await import('node:fs');
  const fd = openSync(tree, 'r');
  let size = 0;
  for await (const piece of packTree(fd)) {
    if (size === 0) truncateSync(path.join(tree, 'f'), 10);
    size += piece.length;
  }
  closeFd(fd);
  assert.equal(size % 512, 0);
  assert.ok(size > 3 << 20);
});
