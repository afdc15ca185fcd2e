import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { openImageStore } from '../../src/image/index.js';
import { CliRig } from '../support/cli.js';
import { makeTar, sha256, TestStore } from '../support/images.js';
import { RealRegistry } from '../support/registry.js';

const NO_USER = { inUse: () => undefined };
const plain = makeTar([
  { path: 'bin/', type: 'directory' },
  { path: 'bin/tool', content: 'a tool', mode: 0o755 },
  { path: 'text', content: 'words '.repeat(20_000) },
]);

let registry: RealRegistry;
before(async () => {
  registry = await RealRegistry.start();
});
after(() => registry?.[Symbol.dispose]());

function skopeo(...args: string[]): string {
  const options = ['copy', 'inspect'].includes(args[0]!) ? tlsOptions(args[0]!) : [];
  return execFileSync('skopeo', [args[0]!, ...options, ...args.slice(1)], { encoding: 'utf8' });
}

function tlsOptions(verb: string): string[] {
  return verb === 'copy'
    ? ['-q', '--src-tls-verify=false', '--dest-tls-verify=false']
    : ['--tls-verify=false'];
}

const digestIn = (place: string) => (JSON.parse(skopeo('inspect', place)) as { Digest: string }).Digest;

/** A store with one image, uncompressed, named one:1. */
async function storeWithOne(): Promise<TestStore> {
  const store = new TestStore();
  writeFileSync(store.file('one.tar'), plain);
  await openImageStore(store.ctx).import(
    { path: store.file('one.tar') },
    { reference: 'one:1', changes: ['CMD ["/bin/tool"]'] },
  );
  return store;
}

test('every transport to every other: the same image, digests as skopeo reads them', async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  const { id } = await images.resolve('one:1');
  const places = [
    `docker://${registry.host}/copy/one:1`,
    `oci:${store.file('layout')}:v1`,
    `oci-archive:${store.file('layout.tar')}:v1`,
    `docker-archive:${store.file('docker.tar')}:copy/one:1`,
    `dir:${store.file('dir')}`,
  ];
  let before = 'one:1';
  // A ring through all of them, twice: the second time every place is there already.
  for (const place of places) {
    const digest = await images.copy(before, place);
    if (!place.startsWith('docker-archive')) assert.equal(digestIn(place), digest, place);
    else
      assert.equal(
        (JSON.parse(skopeo('inspect', '--raw', place)) as { config: { digest: string } }).config.digest,
        id,
      );
    assert.equal(sha256(skopeo('inspect', '--config', '--raw', place)), id, place);
    before = place;
  }
  for (const from of places) {
    for (const to of places.filter((p) => p !== from && !p.startsWith('docker-archive'))) {
      assert.equal(await images.copy(from, to), digestIn(to), `${from} to ${to}`);
    }
    await images.copy(from, 'back:1');
    assert.equal((await images.resolve('back:1')).id, id, from);
    await images.remove('back:1', NO_USER);
  }
  assert.deepEqual(
    readdirSync(store.ctx.root).includes('ingest') ? readdirSync(`${store.ctx.root}/ingest`) : [],
    [],
    'nothing is left of what was compressed on the way',
  );
});

test("what compressed places have is copied as it is: skopeo's copies of it have our digests", async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  const { digest } = await images.push('one:1', {}, `${registry.host}/same/one:1`);
  for (const place of [
    `oci:${store.file('o')}:x`,
    `dir:${store.file('d')}`,
    `docker://${registry.host}/same/two:1`,
  ]) {
    assert.equal(await images.copy(`docker://${registry.host}/same/one:1`, place), digest, place);
  }
  skopeo('copy', `oci:${store.file('o')}:x`, `dir:${store.file('d2')}`);
  assert.equal(sha256(readFileSync(store.file('d2/manifest.json'))), digest);
  assert.deepEqual(readdirSync(store.file('d')).sort(), readdirSync(store.file('d2')).sort());
  assert.equal(readFileSync(store.file('d/version'), 'utf8'), readFileSync(store.file('d2/version'), 'utf8'));
});

test('a push compresses what lies plain in the store, once; the image takes the form that went out', async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  assert.equal((await images.resolve('one:1')).layers[0]!.digest, sha256(plain));
  const name = `${registry.host}/squeeze/one:1`;
  await images.tag('one:1', name);
  const statuses: string[] = [];
  const onProgress = (p: { status: string }) => void statuses.push(p.status);
  const { digest } = await images.push(name, { onProgress });
  assert.ok(statuses.includes('Compressing'));
  const now = await images.resolve(name);
  assert.equal(now.manifest.digest, digest);
  assert.deepEqual(now.repoDigests, [`${registry.host}/squeeze/one@${digest}`]);
  assert.match(now.layers[0]!.mediaType, /\+gzip$/);
  assert.ok(now.layers[0]!.blobSize < plain.length / 10);
  statuses.length = 0;
  assert.equal((await images.push(name, { onProgress })).digest, digest);
  assert.ok(statuses.includes('Layer already exists') && !statuses.includes('Compressing'), statuses.join());
  assert.deepEqual((await images.verify()).damages, []);

  // The same content, loaded again as it was: what is compressed already is found by its content.
  writeFileSync(store.file('two.tar'), plain);
  await images.import({ path: store.file('two.tar') }, { reference: 'two:1' });
  statuses.length = 0;
  await images.push('two:1', { onProgress }, `${registry.host}/squeeze/one:2`);
  assert.ok(!statuses.includes('Compressing'), statuses.join());

  // zstd where it is asked for, which podman reads.
  await images.push(name, { compression: { format: 'zstd' } }, `${registry.host}/squeeze/zstd:1`);
  const raw = JSON.parse(skopeo('inspect', '--raw', `docker://${registry.host}/squeeze/zstd:1`)) as {
    layers: { mediaType: string }[];
  };
  assert.match(raw.layers[0]!.mediaType, /\+zstd$/);
  skopeo('copy', `docker://${registry.host}/squeeze/zstd:1`, `oci:${store.file('z')}:1`);
  await images.remove('two:1', NO_USER);
  const zstd = await images.pull(`${registry.host}/squeeze/zstd:1`);
  assert.equal(zstd.layers[0]!.diffId, sha256(plain));
});

test('an index is copied whole with --all, one of its images with --platform', async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  // Two platforms, made from one image by changing its config.
  for (const architecture of ['amd64', 'arm64']) {
    await images.copy('one:1', `dir:${store.file(architecture)}`, { compression: { format: 'gzip' } });
    const directory = store.file(architecture);
    const manifest = JSON.parse(readFileSync(`${directory}/manifest.json`, 'utf8')) as {
      config: { digest: string; size: number };
    };
    const config = JSON.parse(
      readFileSync(`${directory}/${manifest.config.digest.slice(7)}`, 'utf8'),
    ) as object;
    const changed = JSON.stringify({ ...config, architecture });
    manifest.config = { ...manifest.config, digest: sha256(changed), size: changed.length };
    writeFileSync(`${directory}/${sha256(changed).slice(7)}`, changed);
    writeFileSync(`${directory}/manifest.json`, JSON.stringify(manifest));
    await images.copy(`dir:${directory}`, `oci:${store.file('multi')}:${architecture}`);
  }
  const layout = JSON.parse(readFileSync(store.file('multi/index.json'), 'utf8')) as {
    manifests: { digest: string; size: number; annotations?: object; mediaType: string }[];
  };
  assert.equal(layout.manifests.length, 2);
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: layout.manifests.map(({ annotations, ...d }) => ({
      ...d,
      platform: { os: 'linux', architecture: Object.values(annotations ?? {})[0] as string },
    })),
  });
  writeFileSync(store.file(`multi/blobs/sha256/${sha256(index).slice(7)}`), index);
  const annotations = { 'org.opencontainers.image.ref.name': 'all' };
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const entry = { mediaType, digest: sha256(index), size: index.length, annotations };
  writeFileSync(
    store.file('multi/index.json'),
    JSON.stringify({ ...layout, manifests: [...layout.manifests, entry] }),
  );

  const from = `oci:${store.file('multi')}:all`;
  const name = `${registry.host}/multi/one:1`;
  assert.equal(await images.copy(from, `docker://${name}`, { all: true }), sha256(index));
  assert.equal(sha256(skopeo('inspect', '--raw', `docker://${name}`)), sha256(index));
  assert.equal(
    await images.copy(`docker://${name}`, `dir:${store.file('all')}`, { all: true }),
    sha256(index),
  );
  skopeo('copy', '--all', `dir:${store.file('all')}`, `oci:${store.file('again')}:all`);
  await assert.rejects(
    images.copy(from, `docker-archive:${store.file('a.tar')}`, { all: true }),
    /one platform only/,
  );

  await images.copy(from, 'arm:1', { platform: 'linux/arm64' });
  assert.equal((await images.resolve('arm:1')).config.architecture, 'arm64');
  const pulled = await images.pull(name, { platform: 'linux/arm64' });
  assert.equal(pulled.config.architecture, 'arm64');
  const byDigest = await images.pull(`${registry.host}/multi/one@${layout.manifests[0]!.digest}`);
  assert.equal(byDigest.config.architecture, 'amd64');
  await assert.rejects(images.pull(name, { platform: 'linux/s390x' }), (error: Error & { hint?: string }) => {
    assert.match(error.message, /no image for linux\/s390x/);
    assert.match(error.hint ?? '', /linux\/amd64, linux\/arm64/);
    return true;
  });
});

test('every tag of a repository; a name with a tag is refused', async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  for (const tag of ['a', 'b', 'c']) await images.push('one:1', {}, `${registry.host}/tags/one:${tag}`);
  using other = new TestStore();
  const pulled = await openImageStore(other.ctx).pullAll(`${registry.host}/tags/one`);
  assert.deepEqual(
    pulled.at(-1)!.repoTags,
    ['a', 'b', 'c'].map((t) => `${registry.host}/tags/one:${t}`),
  );
  await assert.rejects(openImageStore(other.ctx).pullAll(`${registry.host}/tags/one:a`), /without tag/);
});

test('what is in the way, damaged, missing or of another program is said in one line and stays', async () => {
  using store = await storeWithOne();
  const images = openImageStore(store.ctx);
  mkdirSync(store.file('mine'));
  writeFileSync(store.file('mine/work'), 'years of it');
  const d = `dir:${store.file('d')}`;
  await images.copy('one:1', d);
  await images.copy('one:1', `docker-archive:${store.file('da.tar')}`);
  const layer = store.file(`d/${sha256(plain).slice(7)}`);
  const cases: [Promise<unknown>, RegExp][] = [
    [images.copy('one:1', `dir:${store.file('mine')}`), /not a containers image directory/],
    [images.copy('one:1', `oci:${store.file('mine')}:x`), /something else than an OCI layout/],
    [images.copy('one:1', `docker-archive:${store.file('da.tar')}`), /can't be added to/],
    [images.copy(`oci:${store.file('nowhere')}:x`, 'x:1'), /no such file or directory/],
    [images.copy('nothing:1', d), /No such image: nothing:1/],
    [images.copy('one:1', 'docker-daemon:x:1'), /no transport docker-daemon:/],
    [images.copy('one:1', 'containers-storage:x:1'), /no transport containers-storage:/],
    [
      images.copy('one:1', `oci:${store.file('p')}:1`, {
        preserveDigests: true,
        compression: { format: 'gzip' },
      }),
      /would have to be compressed/,
    ],
  ];
  for (const [promise, why] of cases) {
    await assert.rejects(promise, (error: Error) => why.test(error.message) && !error.message.includes('\n'));
  }
  assert.deepEqual(readdirSync(store.file('mine')), ['work']);
  const damaged = readFileSync(layer);
  damaged[damaged.length - 9000]! ^= 1;
  writeFileSync(layer, damaged);
  await assert.rejects(images.copy(d, `oci-archive:${store.file('bad.tar')}:1`), /digest mismatch/);
  assert.ok(!existsSync(store.file('bad.tar')));
  using empty = new TestStore();
  const others = openImageStore(empty.ctx);
  await assert.rejects(others.copy(d, 'bad:1'), /digest mismatch/);
  await assert.rejects(others.resolve('bad:1'), { code: 'NOT_FOUND' });
});

test('the command line: pull, push, load and save take transports; progress in lines, JSON, or none', async () => {
  await using rig = new CliRig('transports');
  const at = (name: string) => `${rig.box.directory}/${name}`;
  writeFileSync(at('one.tar'), plain);
  await rig.ok('import', at('one.tar'), 'one:1');
  const name = `${registry.host}/cli/one:1`;
  await rig.ok('push', '--digestfile', at('digest'), 'one:1', `docker://${name}`);
  assert.equal(readFileSync(at('digest'), 'utf8'), digestIn(`docker://${name}`));
  await rig.ok('push', '-q', 'one:1', `oci:${at('layout')}:v1`);
  await rig.ok('image', 'cp', '-q', 'one:1', `oci:${at('layout')}:v2`);
  const id = (await rig.ok('images', '-q', '--no-trunc', 'one:1')).trim();
  await rig.ok('rmi', 'one:1');
  assert.equal(await rig.ok('pull', '-q', `oci:${at('layout')}:v1`), id);
  assert.match(await rig.ok('load', '-i', `oci:${at('layout')}:v2`), new RegExp(`Loaded image ID: ${id}`));
  assert.equal((await rig.nsbox(['load', '-i', `oci:${at('layout')}:v3`])).code !== 0, true);
  await rig.ok('rmi', id);

  const plainLines = await rig.ok('pull', name);
  assert.match(
    plainLines,
    /^1: Pulling from cli\/one\n[0-9a-f]{12}: Pull complete\nDigest: sha256:[0-9a-f]{64}\n.*cli\/one:1$/,
  );
  assert.ok(!plainLines.includes('\u001b'));
  await rig.ok('rmi', name);
  assert.equal(await rig.ok('pull', '-q', `docker://${name}`), name);
  await rig.ok('rmi', name);
  const events = (await rig.ok('pull', '--progress=json', name))
    .split('\n')
    .map((l) => JSON.parse(l) as { status: string; total?: number });
  assert.ok(events.some((e) => e.status === 'Downloading' && e.total! > 0));
  const bad = await rig.nsbox(['pull', '--progress=loud', name]);
  assert.notEqual(bad.code, 0);
  assert.match(bad.stderr, /--progress: expected auto, tty, plain or json/);
  await rig.ok('rmi', name);
  // script(1) gives it a terminal.
  const bars = execFileSync(
    'script',
    ['-qec', `stty cols 100; ${process.cwd()}/bin/nsbox pull ${name}`, '/dev/null'],
    {
      encoding: 'utf8',
      env: rig.env as NodeJS.ProcessEnv,
    },
  );
  assert.match(bars, /\u001b\[2K.*Pull complete/);
  assert.match(await rig.ok('save', '--format', 'oci-dir', '-o', at('saved'), name), /^$/);
  assert.equal(digestIn(`oci:${at('saved')}:${name}`), digestIn(`docker://${name}`));
});
