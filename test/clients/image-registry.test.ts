import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type ImageStore, openImageStore } from '../../src/image/index.js';
import { BadRegistry } from '../support/bad-registry.js';
import { makeTar, sha256, TestStore, treeFacts } from '../support/images.js';
import { RealRegistry } from '../support/registry.js';

let shared: TestStore;
let registry: RealRegistry;
let images: ImageStore;
const plain = makeTar([
  { path: 'bin/', type: 'directory' },
  { path: 'bin/data', content: randomBytes(3 << 20) },
  { path: 'hello', content: 'hello', mode: 0o755 },
]);

before(async () => {
  shared = new TestStore();
  registry = await RealRegistry.start();
  images = openImageStore(shared.ctx);
  writeFileSync(shared.file('one.tar'), plain);
  writeFileSync(shared.file('one.tar.gz'), gzipSync(plain));
  await images.import({ path: shared.file('one.tar.gz') }, { reference: `${registry.host}/team/one:1` });
});
after(() => {
  registry?.[Symbol.dispose]();
  shared?.[Symbol.dispose]();
});

function nothingLeft(store: TestStore): void {
  for (const name of ['layers', 'images', 'leases']) {
    const directory = path.join(store.ctx.root, name);
    assert.deepEqual(existsSync(directory) ? readdirSync(directory) : [], [], name);
  }
}

test('push, remove, pull again: the same image; blobs are never sent twice and mounted across repositories', async () => {
  const name = `${registry.host}/team/one:1`;
  const statuses: string[] = [];
  const onProgress = (p: { status: string }) => void statuses.push(p.status);
  const { digest } = await images.push(name, { onProgress });
  assert.ok(statuses.includes('Pushed'));
  statuses.length = 0;
  await images.push(name, { onProgress });
  assert.ok(statuses.includes('Layer already exists'));
  await images.tag(name, `${registry.host}/other/two:2`);
  statuses.length = 0;
  await images.push(`${registry.host}/other/two:2`, { onProgress });
  assert.ok(statuses.includes('Mounted from team/one'), statuses.join());

  const before = await images.resolve(name);
  const tree = treeFacts(images.layerPaths(before)[0]!);
  for (const tag of before.repoTags) await images.remove(tag, { inUse: () => undefined });
  assert.deepEqual(await images.list().then((l) => l.map((i) => i.repoTags[0])), ['hello:latest']);
  const again = await images.pull(name);
  assert.equal(again.id, before.id);
  assert.equal(again.manifest.digest, digest);
  assert.deepEqual(again.repoDigests, [`${registry.host}/team/one@${digest}`]);
  assert.deepEqual(treeFacts(images.layerPaths(again)[0]!), tree);
  const byDigest = await images.resolve(`${registry.host}/team/one@${digest}`);
  assert.equal(byDigest.id, before.id);
});

test('skopeo agrees on digests, podman pulls what nsbox pushed, nsbox pulls what skopeo pushed', async (t) => {
  const name = `${registry.host}/team/one:1`;
  const image = await images.resolve(name);
  const raw = execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${name}`], {
    encoding: 'utf8',
  });
  assert.equal((JSON.parse(raw) as { Digest: string }).Digest, image.manifest.digest);
  // zstd layers and an index, made by skopeo.
  execFileSync(
    'skopeo',
    [
      'copy',
      '-q',
      '--dest-tls-verify=false',
      '--src-tls-verify=false',
      '--dest-compress-format',
      'zstd',
      '--dest-force-compress-format',
      `docker://${name}`,
      `docker://${registry.host}/team/zstd:1`,
    ].filter((a) => a !== '--dest-force-compress-format'),
  );
  const zstd = await images.pull(`${registry.host}/team/zstd:1`);
  assert.equal(zstd.layers[0]!.diffId, sha256(plain));
  const podman = spawnSync(
    'podman',
    [
      '--root',
      shared.file('podman'),
      '--runroot',
      shared.file('podman-run'),
      '--storage-driver',
      'vfs',
      'pull',
      '-q',
      '--tls-verify=false',
      name,
    ],
    { encoding: 'utf8' },
  );
  if (podman.error) return t.skip('podman is not installed');
  assert.equal(podman.status, 0, podman.stderr);
  assert.equal(podman.stdout.trim(), image.id.slice(7));
});

test('basic authentication: login checks and stores, pull uses it, logout forgets', async () => {
  using store = new TestStore();
  // bcrypt of "secret", made by crypt(3).
  writeFileSync(store.file('htpasswd'), `me:${bcryptOfSecret}\n`);
  using own = await RealRegistry.start({
    auth: { htpasswd: { realm: 'r', path: store.file('htpasswd') } },
  });
  const s = openImageStore(store.ctx);
  await assert.rejects(s.pull(`${own.host}/a/b`), /denies access to a\/b/);
  await assert.rejects(s.login(own.host, 'me', 'wrong'), /doesn't accept this user and password/);
  await s.login(own.host, 'me', 'secret');
  const config = JSON.parse(readFileSync(store.file('.docker/config.json'), 'utf8')) as {
    auths: Record<string, unknown>;
  };
  assert.deepEqual(Object.keys(config.auths), [own.host]);
  await assert.rejects(s.pull(`${own.host}/a/b`), { code: 'NOT_FOUND' });
  writeFileSync(store.file('t.tar'), plain);
  await s.import({ path: store.file('t.tar') }, { reference: `${own.host}/a/b:1` });
  await s.push(`${own.host}/a/b:1`);
  assert.deepEqual(await s.logout(own.host), { domain: own.host, found: true });
  await assert.rejects(s.pull(`${own.host}/a/b:1`), /denies access/);
});

// $2y$05$… of "secret"
const bcryptOfSecret = '$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a';

test('a bearer token is fetched with the right scope and used', async () => {
  using store = new TestStore();
  using bad = await new BadRegistry(gzipSync(plain), plain).start();
  const scopes: string[] = [];
  bad.trick = (req, res, url) => {
    if (url.startsWith('/token')) {
      scopes.push(new URL(url, 'http://x').searchParams.get('scope') ?? '');
      res.end(JSON.stringify({ token: 'let-me-in' }));
      return true;
    }
    if (req.headers.authorization === 'Bearer let-me-in') return false;
    res.setHeader('www-authenticate', `Bearer realm="http://${bad.host}/token",service="s"`);
    res.writeHead(401).end('{}');
    return true;
  };
  await openImageStore(store.ctx).pull(`${bad.host}/a/b:1`);
  assert.deepEqual(scopes, ['repository:a/b:pull']);
});

test('a connection that is cut half-way is taken up where it broke', async () => {
  using store = new TestStore();
  using bad = await new BadRegistry(gzipSync(plain), plain).start();
  let cuts = 0;
  bad.trick = (req, res, url) => {
    if (!url.endsWith(sha256(bad.layer)) || cuts >= 3) return false;
    cuts++;
    const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? '')?.[1] ?? 0);
    res.writeHead(from > 0 ? 206 : 200, { 'content-length': bad.layer.length - from });
    res.write(bad.layer.subarray(from, from + 700_000), () => res.destroy());
    return true;
  };
  const image = await openImageStore(store.ctx).pull(`${bad.host}/a/b:1`);
  assert.equal(image.layers[0]!.diffId, sha256(plain));
  assert.equal(cuts, 3);
  assert.ok(
    bad.requests.some((r) => /bytes=[1-9]\d+-$/.test(r)),
    'it asked for the rest',
  );
});

test('429 with Retry-After and passing 5xx are waited out', async () => {
  using store = new TestStore();
  using bad = await new BadRegistry(gzipSync(plain), plain).start();
  let refusals = 0;
  bad.trick = (_req, res, url) => {
    if (!url.includes('/manifests/') || refusals >= 2) return false;
    refusals++;
    res.writeHead(refusals === 1 ? 429 : 503, { 'retry-after': '1' }).end();
    return true;
  };
  const begin = performance.now();
  await openImageStore(store.ctx).pull(`${bad.host}/a/b:1`);
  assert.ok(performance.now() - begin >= 1900);
});

test('a registry that lies or floods ends with one line, and nothing half-written is visible', async () => {
  const gz = gzipSync(plain);
  const bombPlain = makeTar([{ path: 'zeros', content: Buffer.alloc(8 << 20) }]);
  const cases: [string, BadRegistry, (bad: BadRegistry) => BadRegistry['trick'], RegExp][] = [
    [
      'another layer than promised',
      new BadRegistry(gz, plain),
      (bad) => (_q, res, url) => {
        if (!url.endsWith(sha256(bad.layer))) return false;
        res.end(
          gzipSync(makeTar([{ path: 'evil', content: randomBytes(gz.length) }])).subarray(0, gz.length),
        );
        return true;
      },
      /digest mismatch|damaged or cut off|ends in the middle/,
    ],
    [
      'a body without end',
      new BadRegistry(gz, plain),
      (bad) => (_q, res, url) => {
        if (!url.endsWith(sha256(bad.layer))) return false;
        res.write(bad.layer);
        const more = () => {
          while (!res.destroyed && res.write(randomBytes(1 << 16)));
        };
        res.on('drain', more);
        more();
        return true;
      },
      /more than the \d+ bytes/,
    ],
    [
      'a manifest of 100 MB',
      new BadRegistry(gz, plain),
      () => (_q, res, url) => {
        if (!url.includes('/manifests/')) return false;
        res.end(Buffer.alloc(100 << 20, 0x20));
        return true;
      },
      /more than \d+ bytes where a document is due/,
    ],
    [
      'a layer of other content',
      new BadRegistry(gzipSync(makeTar([{ path: 'x' }])), plain),
      () => () => false,
      /digest mismatch of a layer's content/,
    ],
    [
      'a decompression bomb',
      new BadRegistry(gzipSync(bombPlain), bombPlain),
      () => () => false,
      /unpacks to more than/,
    ],
    [
      'a wrong size',
      new BadRegistry(gz, plain, (m) => (m.layers[0]!.size += 10)),
      () => () => false,
      /broke off at/,
    ],
    [
      'a manifest that is no JSON',
      new BadRegistry(gz, plain),
      () => (_q, res, url) => {
        if (!url.includes('/manifests/')) return false;
        res.end('<html>');
        return true;
      },
      /not valid JSON/,
    ],
  ];
  for (const [name, bad, trick, why] of cases) {
    using store = new TestStore({ NSBOX_MAX_LAYER_BYTES: String(5 << 20) });
    using server = await bad.start();
    server.trick = trick(bad);
    await assert.rejects(
      openImageStore(store.ctx).pull(`${server.host}/a/b:1`),
      (error: Error & { code?: string }) => {
        assert.match(error.message, why, name);
        assert.ok(!error.message.includes('\n'), name);
        assert.ok(['IMAGE_CORRUPT', 'REGISTRY'].includes(error.code ?? ''), `${name}: ${error.code}`);
        return true;
      },
    );
    nothingLeft(store);
  }
});

test('two processes that pull the same image share the work', async () => {
  using store = new TestStore();
  using bad = await new BadRegistry(gzipSync(plain), plain).start();
  const a = openImageStore(store.ctx).pull(`${bad.host}/a/b:1`);
  const b = openImageStore(store.ctx).pull(`${bad.host}/a/b:1`);
  assert.equal((await a).id, (await b).id);
  assert.equal(bad.requests.filter((r) => r.includes(sha256(bad.layer))).length, 1, 'the layer came once');
});
