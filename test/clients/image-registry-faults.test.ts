import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openImageStore } from '../../src/image/index.js';
import { MEDIA } from '../../src/image/types.js';
import { BadRegistry, Front, type Trick } from '../support/bad-registry.js';
import { makeTar, sha256, TestStore, writeLayout } from '../support/images.js';
import { RealRegistry } from '../support/registry.js';

/** What registries, and the machines before them, do to pushes and pulls that are under way. */

/** Layers of noise: gzip leaves them their size. */
const LAYERS = [600_000, 900_000, 1_200_000, 1_500_000].map((size, i) =>
  makeTar([{ path: `data${i}`, content: randomBytes(size) }]),
);

/** A store with an image of several gzip layers under a name. */
async function storeWith(name: string): Promise<TestStore> {
  const store = new TestStore();
  writeLayout(store.file('layout'), LAYERS);
  await openImageStore(store.ctx).load({ path: store.file('layout') }, { rename: name });
  return store;
}

/** Asks a registry directly. */
const status = async (url: string, method = 'GET') =>
  (await fetch(url, { method, headers: { accept: MEDIA.ociManifest } })).status;

const oneLine = (why: RegExp) => (error: Error & { code?: string }) => {
  assert.match(error.message, why);
  assert.ok(!error.message.includes('\n'), error.message);
  assert.equal(error.code, 'REGISTRY');
  return true;
};

function nothingLeft(store: TestStore): void {
  for (const name of ['layers', 'images', 'leases']) {
    const directory = path.join(store.ctx.root, name);
    assert.deepEqual(existsSync(directory) ? readdirSync(directory) : [], [], name);
  }
}

const isContent = (req: { method?: string | undefined }, url: string) =>
  req.method === 'PUT' && url.includes('/blobs/uploads/');

/** Ways in which the content of a blob does not arrive. */
const UPLOADS: Record<string, Trick> = {
  'is cut in its middle': (req) => {
    let seen = 0;
    req.on('data', (piece: Buffer) => {
      seen += piece.length;
      if (seen > 300_000) req.destroy();
    });
    return true;
  },
  'is answered 503 in its middle': (req, res) => {
    req.once('data', () => res.writeHead(503, { 'retry-after': '0' }).end());
    return true;
  },
  'is answered 500 at its end': (req, res) => {
    req.resume().on('end', () => res.writeHead(500, { 'retry-after': '0' }).end('{"errors":[]}'));
    return true;
  },
  'is answered 429': (req, res) => {
    req.resume().on('end', () => res.writeHead(429, { 'retry-after': '0' }).end());
    return true;
  },
};

for (const [name, trick] of Object.entries(UPLOADS)) {
  test(`an upload that ${name} begins again, and has no name before it is whole`, async () => {
    using registry = await RealRegistry.start();
    using front = await Front.start(registry.port);
    using store = await storeWith(`${front.host}/team/one:1`);
    const images = openImageStore(store.ctx);
    let times = 0;
    // The first two, whichever of the layers they belong to.
    front.trick = (req, res, url) => isContent(req, url) && times++ < 2 && trick(req, res, url);
    const { digest } = await images.push(`${front.host}/team/one:1`);
    assert.equal(registry.uploads.length, LAYERS.length + 1, 'each blob and the config arrived once');
    await images.remove(`${front.host}/team/one:1`, { inUse: () => undefined });
    assert.equal((await images.pull(`${front.host}/team/one:1`)).manifest.digest, digest);

    // And for good: one line, no name, no blob.
    front.trick = (req, res, url) => isContent(req, url) && trick(req, res, url);
    front.requests.length = 0;
    using other = new TestStore();
    writeLayout(other.file('layout'), [makeTar([{ path: 'more', content: randomBytes(700_000) }])]);
    const two = openImageStore(other.ctx);
    const [loaded] = await two.load({ path: other.file('layout') }, { rename: `${front.host}/other/two:1` });
    await assert.rejects(two.push(`${front.host}/other/two:1`), oneLine(/refuses the blob|was cut/));
    assert.equal(front.count(/^PUT .*blobs\/uploads/), 5, 'it gives up after a while');
    const base = `http://${registry.host}/v2/other/two`;
    assert.equal(await status(`${base}/manifests/1`), 404);
    assert.equal(await status(`${base}/blobs/${loaded!.image.layers[0]!.digest}`, 'HEAD'), 404);
  });
}

test('a token that ends in the middle is fetched anew, once for all that wait for it', async () => {
  using registry = await RealRegistry.start();
  using front = await Front.start(registry.port);
  const name = `${front.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  let tokens = 0;
  let left = 0;
  front.trick = (req, res, url) => {
    if (url.startsWith('/token')) {
      tokens++;
      left = 6;
      res.end(JSON.stringify({ token: `t${tokens}` }));
      return true;
    }
    if (req.headers.authorization === `Bearer t${tokens}` && left-- > 0) return false;
    // Content is refused when it has come, as registries do.
    req.resume().on('end', () => {
      res.setHeader('www-authenticate', `Bearer realm="http://${front.host}/token",service="s"`);
      res.writeHead(401).end('{}');
    });
    return true;
  };
  await images.push(name);
  assert.equal(registry.uploads.length, LAYERS.length + 1);
  const pushed = tokens;
  assert.ok(pushed >= 3, `the tokens of a push: ${pushed}`);
  // Each token was good for six requests; several refused at once ask for one.
  const good = front.requests.filter((r) => !r.includes('/token') && /Bearer t\d+$/.test(r)).length;
  assert.ok(pushed <= Math.ceil(good / 6) + 1, `${pushed} tokens for ${good} requests`);
  await images.remove(name, { inUse: () => undefined });
  left = 0;
  await images.pull(name);
  assert.ok(tokens > pushed);

  // A registry that takes no token at all is asked once more, not for ever.
  await images.remove(name, { inUse: () => undefined });
  const before = tokens;
  const honest = front.trick;
  front.trick = (req, res, url) => {
    if (!url.startsWith('/token')) left = 0;
    return honest(req, res, url);
  };
  await assert.rejects(images.pull(name), oneLine(/denies access to team\/one/));
  assert.equal(tokens, before + 1);
});

for (const answer of [202, 403, 405]) {
  test(`a registry that answers ${answer} to a mount gets the blob`, async () => {
    using registry = await RealRegistry.start();
    using front = await Front.start(registry.port);
    using store = await storeWith(`${front.host}/team/one:1`);
    const images = openImageStore(store.ctx);
    await images.push(`${front.host}/team/one:1`);
    await images.tag(`${front.host}/team/one:1`, `${front.host}/other/two:1`);
    front.trick = (req, res, url) => {
      if (req.method !== 'POST' || !url.includes('mount=')) return false;
      if (answer === 202) {
        // As one that knows no mounts: an upload begins.
        req.url = url.replace(/\?.*/, '');
        return false;
      }
      res.writeHead(answer).end('{}');
      return true;
    };
    const statuses = new Set<string>();
    await images.push(`${front.host}/other/two:1`, { onProgress: (p) => void statuses.add(p.status) });
    assert.ok(front.count(/^POST .*mount=/) > 0);
    if (answer !== 202) assert.ok(!statuses.has('Mounted from team/one'));
    assert.equal(await status(`http://${registry.host}/v2/other/two/manifests/1`), 200);
  });
}

test("what a registry keeps elsewhere is fetched without its token; another host's 401 gets no password", async () => {
  using store = new TestStore();
  const plain = LAYERS[0]!;
  using bad = await new BadRegistry(gzipSync(plain), plain).start();
  using storage = await new BadRegistry(gzipSync(plain), plain).start();
  const seen: string[] = [];
  const asked: string[] = [];
  bad.trick = (req, res, url) => {
    if (url.startsWith('/token')) {
      asked.push(String(req.headers.authorization));
      res.end('{"token":"t"}');
      return true;
    }
    if (req.headers.authorization !== 'Bearer t') {
      res.setHeader('www-authenticate', `Bearer realm="http://${bad.host}/token"`).writeHead(401).end();
      return true;
    }
    if (!url.endsWith(sha256(bad.layer))) return false;
    res.writeHead(307, { location: `http://${storage.host}${url}` }).end();
    return true;
  };
  storage.trick = (req) => {
    seen.push(String(req.headers.authorization));
    return false;
  };
  const credentials = { username: 'me', password: 'secret' };
  await openImageStore(store.ctx).pull(`${bad.host}/a/b:1`, { credentials });
  assert.deepEqual(seen, ['undefined']);

  // A storage host that asks for a login, by its own token service.
  using other = new TestStore();
  storage.trick = (req, res, url) => {
    seen.push(`${url} ${req.headers.authorization}`);
    res.setHeader('www-authenticate', `Bearer realm="http://${storage.host}/token"`).writeHead(401).end();
    return true;
  };
  seen.length = 0;
  const refused = openImageStore(other.ctx).pull(`${bad.host}/a/b:1`, { credentials });
  await assert.rejects(refused, oneLine(/denies access to a\/b/));
  assert.ok(seen.length > 0 && seen.every((s) => /\/blobs\/.* undefined$/.test(s)), seen.join('\n'));
  nothingLeft(other);
});

test('an upload that is sent to another host goes there without the token', async () => {
  using registry = await RealRegistry.start();
  using front = await Front.start(registry.port);
  using elsewhere = await Front.start(registry.port);
  const name = `${front.host}/team/one:1`;
  using store = await storeWith(name);
  front.trick = (req, res, url) => {
    if (url.startsWith('/token')) res.end('{"token":"t"}');
    else if (req.headers.authorization !== 'Bearer t')
      res.setHeader('www-authenticate', `Bearer realm="http://${front.host}/token"`).writeHead(401).end();
    else if (req.method === 'POST') {
      // The place of the upload is one that the other host names.
      req.headers.host = elsewhere.host;
      return false;
    } else return false;
    return true;
  };
  await openImageStore(store.ctx).push(name);
  const sent = elsewhere.requests.filter((r) => r.startsWith('PUT '));
  assert.equal(sent.length, LAYERS.length + 1);
  assert.ok(
    sent.every((r) => !r.includes('Bearer')),
    sent.join('\n'),
  );
});

test('a registry that falls silent is given up in one line: before it answers, in a blob, in an upload', async () => {
  using registry = await RealRegistry.start();
  using front = await Front.start(registry.port);
  const name = `${front.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  const impatient = (of: TestStore) =>
    openImageStore({ ...of.ctx, env: { ...of.ctx.env, NSBOX_REGISTRY_TIMEOUT: '1' } });
  front.trick = (req, _res, url) => isContent(req, url);
  await assert.rejects(impatient(store).push(name), oneLine(/no answer for 1 s/));
  assert.equal(await status(`http://${registry.host}/v2/team/one/manifests/1`), 404);
  front.trick = () => false;
  await images.push(name);

  using empty = new TestStore();
  front.trick = (_req, _res, url) => url.includes('/manifests/');
  await assert.rejects(impatient(empty).pull(name), oneLine(/no answer for 1 s/));
  const layer = (await images.resolve(name)).layers[0]!;
  const blob = readFileSync(path.join(store.ctx.root, 'blobs', layer.digest.replace(':', '/')));
  let ranges = 0;
  front.trick = (req, res, url) => {
    if (!url.endsWith(layer.digest)) return false;
    const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? '')?.[1] ?? 0);
    if (from > 0) ranges++;
    // Some bytes at first, then none at all.
    res.writeHead(from > 0 ? 206 : 200, { 'content-length': blob.length - from });
    res.write(from === 0 ? blob.subarray(0, 100_000) : '');
    res.flushHeaders();
    return true;
  };
  await assert.rejects(impatient(empty).pull(name), oneLine(/broke off at 100000 of \d+ bytes/));
  assert.equal(ranges, 4);
  nothingLeftBut(empty, 3);
  // What came is used by the next try.
  front.trick = () => false;
  front.requests.length = 0;
  await openImageStore(empty.ctx).pull(name);
  assert.equal(front.count(new RegExp(`GET .*${layer.digest}`)), 1);
});

/** Layers that landed stay for the next try; no image is there. */
function nothingLeftBut(store: TestStore, layers: number): void {
  const names = (directory: string) => {
    const full = path.join(store.ctx.root, directory);
    return existsSync(full) ? readdirSync(full) : [];
  };
  assert.deepEqual(names('images'), []);
  assert.deepEqual(names('leases'), []);
  assert.ok(names('layers').length <= layers, names('layers').join());
}

test('answers that are no JSON, layers that are kept elsewhere by licence, 429 without end: one line each', async () => {
  const plain = LAYERS[0]!;
  const foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
  const cases: [string, BadRegistry, (bad: BadRegistry) => Trick, RegExp][] = [
    [
      'a token page that is HTML',
      new BadRegistry(gzipSync(plain), plain),
      (bad) => (_req, res, url) => {
        if (url.startsWith('/token')) res.end('<html>');
        else
          res.setHeader('www-authenticate', `Bearer realm="http://${bad.host}/token"`).writeHead(401).end();
        return true;
      },
      /answers with no JSON where a token is due/,
    ],
    [
      'a foreign layer',
      new BadRegistry(gzipSync(plain), plain, (m) => {
        m.layers[0]!.mediaType = foreign;
      }),
      () => () => false,
      /has a layer that its registry doesn't distribute \(application\/vnd\.docker\.image\.rootfs\.foreign/,
    ],
    [
      '429 for a manifest',
      new BadRegistry(gzipSync(plain), plain),
      () => (_req, res, url) => {
        if (url.includes('/manifests/')) res.writeHead(429, { 'retry-after': '0' }).end();
        return url.includes('/manifests/');
      },
      /refuses the manifest of .*: status 429/,
    ],
    [
      '429 for a blob, for longer than anybody waits',
      new BadRegistry(gzipSync(plain), plain),
      (bad) => (_req, res, url) => {
        const layer = url.endsWith(sha256(bad.layer));
        if (layer)
          res.writeHead(429, { 'retry-after': '3600' }).end('{"errors":[{"code":"TOOMANYREQUESTS"}]}');
        return layer;
      },
      /refuses the blob sha256:\w+: status 429 \(TOOMANYREQUESTS\)/,
    ],
    [
      'a list of tags that is none',
      new BadRegistry(gzipSync(plain), plain),
      () => (_req, res, url) => {
        if (url.includes('/tags/')) res.end('null');
        return url.includes('/tags/');
      },
      /no JSON where a list of tags is due/,
    ],
  ];
  for (const [name, bad, trick, why] of cases) {
    using store = new TestStore();
    using server = await bad.start();
    server.trick = trick(server);
    const images = openImageStore(store.ctx);
    const done = name.includes('tags')
      ? images.pullAll(`${server.host}/a/b`)
      : images.pull(`${server.host}/a/b:1`);
    await assert.rejects(done, (error: Error) => {
      assert.match(error.message, why, name);
      assert.ok(!error.message.includes('\n'), name);
      return true;
    });
    nothingLeft(store);
  }
});

test('a blob that is damaged in the store is not sent under its name', async () => {
  using registry = await RealRegistry.start();
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  const layer = (await images.resolve(name)).layers[0]!;
  const file = path.join(store.ctx.root, 'blobs', layer.digest.replace(':', '/'));
  const data = readFileSync(file);
  data[data.length >> 1]! ^= 1;
  writeFileSync(file, data);
  await assert.rejects(images.push(name), /is damaged|digest/);
  assert.equal(await status(`http://${registry.host}/v2/team/one/manifests/1`), 404);
  assert.equal(await status(`http://${registry.host}/v2/team/one/blobs/${layer.digest}`, 'HEAD'), 404);
});
