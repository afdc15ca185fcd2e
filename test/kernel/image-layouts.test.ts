import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openImageStore } from '../../src/image/index.js';
import { compressed } from '../../src/image/transfer/compress.js';
import { MEDIA } from '../../src/image/types.js';
import { makeTar, sha256, TestStore, treeFacts } from '../support/images.js';

/** Layouts as `docker save` of 25 and later, and of a Docker with containerd's store, write them; written by hand. */

const OWN = process.arch === 'arm64' ? 'arm64' : 'amd64';
const OTHER = OWN === 'amd64' ? 'arm64' : 'amd64';

/** An OCI layout that grows blob by blob. */
class Layout {
  readonly directory: string;
  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(path.join(directory, 'blobs/sha256'), { recursive: true });
    writeFileSync(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  file(digest: string): string {
    return path.join(this.directory, 'blobs', digest.replace(':', '/'));
  }

  blob(mediaType: string, content: Buffer | object, more: object = {}) {
    const data = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    writeFileSync(this.file(sha256(data)), data);
    return { mediaType, digest: sha256(data), size: data.length, ...more };
  }

  image(layers: { plain: Buffer; data: Buffer; type: string }[], architecture = OWN, more: object = {}) {
    const config = this.blob(MEDIA.ociConfig, {
      architecture,
      os: 'linux',
      config: { Cmd: ['/x'] },
      rootfs: { type: 'layers', diff_ids: layers.map((l) => sha256(l.plain)) },
    });
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config,
      layers: layers.map((l) => this.blob(`${MEDIA.ociLayer}${l.type}`, l.data)),
    };
    return { ...this.blob(MEDIA.ociManifest, manifest, more), manifest };
  }

  index(manifests: object[]): void {
    writeFileSync(
      path.join(this.directory, 'index.json'),
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests }),
    );
  }
}

async function zstd(plain: Buffer): Promise<Buffer> {
  const source = (async function* () {
    yield plain;
  })();
  const out: Buffer[] = [];
  for await (const piece of compressed(source, { format: 'zstd' })) out.push(Buffer.from(piece));
  return Buffer.concat(out);
}

const one = makeTar([{ path: 'one', content: 'one' }]);
const two = makeTar([{ path: 'two', content: 'two' }]);
const layersOf = async () => [
  { plain: one, data: await zstd(one), type: '+zstd' },
  { plain: two, data: gzipSync(two), type: '+gzip' },
];

const named = (name: string) => ({
  annotations: {
    'io.containerd.image.name': `docker.io/library/${name}`,
    'org.opencontainers.image.ref.name': name.replace(/.*:/, ''),
  },
});

test("docker save of 25 and later: an index of several entries beside Docker's manifest, zstd layers", async () => {
  using store = new TestStore();
  const layout = new Layout(store.file('layout'));
  const [low, high] = await layersOf();
  const first = layout.image([low!, high!]);
  const second = layout.image([low!]);
  const entry = ({ manifest: _, ...descriptor }: typeof first, name: string) => ({
    ...descriptor,
    ...named(name),
  });
  layout.index([entry(first, 'a:1'), entry(first, 'a:2'), entry(second, 'b:1')]);
  const item = (image: typeof first, names: string[]) => ({
    Config: `blobs/${image.manifest.config.digest.replace(':', '/')}`,
    RepoTags: names,
    Layers: image.manifest.layers.map((l) => `blobs/${l.digest.replace(':', '/')}`),
  });
  const docker = path.join(layout.directory, 'manifest.json');
  writeFileSync(docker, JSON.stringify([item(first, ['a:1', 'a:2']), item(second, ['b:1'])]));
  const images = openImageStore(store.ctx);
  const loaded = await images.load({ path: layout.directory });
  assert.deepEqual(
    loaded.map((l) => [l.names, l.image.manifest.digest]),
    [
      [['a:1', 'a:2'], first.digest],
      [['b:1'], second.digest],
    ],
  );
  const [lower, upper] = images.layerPaths(loaded[0]!.image);
  assert.deepEqual([...treeFacts(lower!).keys(), ...treeFacts(upper!).keys()], ['/one', '/two']);

  // Where the index names what is not there, Docker's manifest has it all: its layers are zstd as well.
  using other = new TestStore();
  rmSync(layout.file(first.digest));
  const again = await openImageStore(other.ctx).load({ path: layout.directory });
  assert.deepEqual(
    again.map((l) => [l.names, l.image.id]),
    loaded.map((l) => [l.names, l.image.id]),
  );
});

test("Docker with containerd's store: an index of platforms of which one is there, attestations, signatures", async () => {
  using store = new TestStore();
  const layout = new Layout(store.file('layout'));
  const layers = await layersOf();
  const own = layout.image(layers, OWN);
  const absent = layout.image([layers[0]!], OTHER);
  rmSync(layout.file(absent.digest));
  const empty = layout.blob('application/vnd.oci.empty.v1+json', {});
  const attestation = layout.blob(MEDIA.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    config: layout.blob(MEDIA.ociConfig, {
      architecture: 'unknown',
      os: 'unknown',
      rootfs: { type: 'layers', diff_ids: [] },
    }),
    layers: [layout.blob('application/vnd.in-toto+json', { a: 1 })],
  });
  const platform = (
    image: { digest: string; size: number; mediaType: string },
    os: string,
    architecture: string,
  ) => ({
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.size,
    platform: { os, architecture },
  });
  const index = layout.blob(MEDIA.ociIndex, {
    schemaVersion: 2,
    mediaType: MEDIA.ociIndex,
    manifests: [
      platform(absent, 'linux', OTHER),
      platform(attestation, 'unknown', 'unknown'),
      platform(own, 'linux', OWN),
    ],
  });
  const signature = layout.blob(MEDIA.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json',
    config: empty,
    layers: [empty],
  });
  layout.index([signature, { ...index, ...named('multi:1') }]);
  const images = openImageStore(store.ctx);
  const loaded = await images.load({ path: layout.directory });
  assert.deepEqual(
    loaded.map((l) => [l.names, l.image.manifest.digest]),
    [[['multi:1'], own.digest]],
  );
  await assert.rejects(
    images.load({ path: layout.directory }, { platform: `linux/${OTHER}` }),
    /lacks .*blobs\/sha256/,
  );
  // Signatures alone are no image.
  layout.index([signature]);
  await assert.rejects(images.load({ path: layout.directory }), /the archive holds no image$/);
});

test('a layer that its licence keeps out of the layout is named as that', async () => {
  using store = new TestStore();
  const layout = new Layout(store.file('layout'));
  const [low, high] = await layersOf();
  const kept = { ...high!, type: '', data: gzipSync(two) };
  const { manifest } = layout.image([low!, kept]);
  manifest.layers[1]!.mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
  layout.index([{ ...layout.blob(MEDIA.ociManifest, manifest), ...named('foreign:1') }]);
  const images = openImageStore(store.ctx);
  // As long as it is there it is a layer like any other.
  assert.equal((await images.load({ path: layout.directory })).length, 1);
  using other = new TestStore();
  rmSync(layout.file(manifest.layers[1]!.digest));
  const load = openImageStore(other.ctx).load({ path: layout.directory });
  await assert.rejects(load, /a layer that its registry doesn't distribute \(.*nondistributable/);
});
