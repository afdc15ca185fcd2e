import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openImageStore } from '../../src/image/index.js';
import { withRegistryFlags } from '../../src/image/registry/settings.js';
import { collect, NSBOX } from '../support/cli.js';
import { makeTar, TestStore } from '../support/images.js';
import { Authority, LoopbackProxy, RealRegistry, SilentServer, TokenServer } from '../support/registry.js';

const plain = makeTar([{ path: 'hello', content: 'hello', mode: 0o755 }]);

/** A store with one image under a name. */
async function storeWith(name: string, env: Record<string, string> = {}): Promise<TestStore> {
  const store = new TestStore(env);
  writeFileSync(store.file('one.tar'), plain);
  await openImageStore(store.ctx).import({ path: store.file('one.tar') }, { reference: name });
  return store;
}

/** Asynchronous: servers of the test run in this very process. */
const skopeo = (args: string[]) => promisify(execFile)('skopeo', args);

const NO_USER = { inUse: () => undefined };

test('token authentication: rights asked for one by one, mounts across repositories, an anonymous pull', async () => {
  using tokens = await TokenServer.start({ me: 'secret' });
  using registry = await RealRegistry.start({ auth: tokens.auth });
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);

  await assert.rejects(images.push(name), /denies access to team\/one/);
  await assert.rejects(images.login(registry.host, 'me', 'wrong'), /doesn't accept|denies/);
  await images.login(registry.host, 'me', 'secret');
  tokens.asked.length = 0;
  await images.push(name);
  assert.deepEqual(tokens.asked, [
    { user: 'me', scopes: ['repository:team/one:pull,push'], grant: 'password' },
  ]);
  assert.equal(registry.uploads.length, 2, 'layer and config');

  // The same again: nothing is sent. Under another name: mounted, with the right to read the first.
  await images.push(name);
  await images.tag(name, `${registry.host}/public/two:1`);
  await images.push(`${registry.host}/public/two:1`);
  assert.equal(registry.uploads.length, 2, registry.requests.join('\n'));
  assert.deepEqual(tokens.asked.at(-1)!.scopes, [
    'repository:public/two:pull,push',
    'repository:team/one:pull',
  ]);
  assert.equal(registry.requests.filter((r) => /^POST .*mount=.* 201$/.test(r)).length, 2);

  // Another image that shares the layer: only its config goes.
  writeFileSync(store.file('two.tar'), plain);
  await images.import(
    { path: store.file('two.tar') },
    { reference: `${registry.host}/team/three:1`, changes: ['CMD ["/hello"]'] },
  );
  await images.push(`${registry.host}/team/three:1`);
  assert.deepEqual(registry.uploads, ['team/one', 'team/one', 'team/three']);

  await images.logout(registry.host);
  await assert.rejects(images.pull(name), /denies access to team\/one/);
  await images.pull(`${registry.host}/public/two:1`);
});

test('a token that ends on the way is replaced', async () => {
  using tokens = await TokenServer.start({ me: 'secret' });
  tokens.lifetime = 1;
  using registry = await RealRegistry.start({ auth: tokens.auth });
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  await images.login(registry.host, 'me', 'secret');
  await images.push(name);
  // The registry grants a minute of leeway to clocks; what counts here is that one session can ask twice.
  await images.pull(name);
  assert.ok(tokens.asked.length >= 3);
});

/** A credential helper as docker-credential-helpers has them, keeping what it gets in files. */
function helper(store: TestStore, name: string): void {
  mkdirSync(store.file('bin'), { recursive: true });
  const file = store.file(`bin/docker-credential-${name}`);
  writeFileSync(
    file,
    `#!/bin/sh
cd '${store.directory}'; echo "${name} $1" >> helper.log
case $1 in
store) cat > secret-${name};;
get) read -r url; if [ -f secret-${name} ]; then cat secret-${name}; else echo 'credentials not found in native keychain'; exit 1; fi;;
erase) cat > /dev/null; rm -f secret-${name};;
list) echo '{}';;
esac
`,
  );
  chmodSync(file, 0o755);
}

for (const kind of ['credsStore', 'credHelpers'] as const) {
  test(`a credential helper named by ${kind} stores, gives and erases`, async () => {
    using tokens = await TokenServer.start({ me: 'secret' });
    using registry = await RealRegistry.start({ auth: tokens.auth });
    using store = await storeWith(`${registry.host}/team/one:1`);
    helper(store, 'test');
    mkdirSync(store.file('.docker'));
    const config =
      kind === 'credsStore' ? { credsStore: 'test' } : { credHelpers: { [registry.host]: 'test' } };
    writeFileSync(store.file('.docker/config.json'), JSON.stringify({ ...config, detachKeys: 'ctrl-q' }));
    const env = { ...store.ctx.env, PATH: `${store.file('bin')}:${process.env['PATH']}` };
    const images = openImageStore({ ...store.ctx, env });

    assert.equal(await images.login(registry.host, 'me', 'secret'), 'docker-credential-test');
    const stored = JSON.parse(readFileSync(store.file('secret-test'), 'utf8')) as object;
    assert.deepEqual(stored, { ServerURL: registry.host, Username: 'me', Secret: 'secret' });
    const written = JSON.parse(readFileSync(store.file('.docker/config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    assert.deepEqual(written, { ...config, detachKeys: 'ctrl-q', auths: { [registry.host]: {} } });
    await images.push(`${registry.host}/team/one:1`);
    assert.deepEqual(await images.logout(registry.host), { domain: registry.host, found: true });
    assert.ok(!existsSync(store.file('secret-test')));
    await assert.rejects(images.pull(`${registry.host}/team/one:1`), /denies access/);
    const log = new Set(readFileSync(store.file('helper.log'), 'utf8').trim().split('\n'));
    assert.deepEqual([...log].sort(), ['test erase', 'test get', 'test store']);
  });
}

test("an identity token of a helper is an OAuth refresh token; Docker's own config.json is understood", async () => {
  using tokens = await TokenServer.start({ me: 'secret' });
  using registry = await RealRegistry.start({ auth: tokens.auth });
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  mkdirSync(store.file('.docker'));
  const write = (entry: object) =>
    writeFileSync(store.file('.docker/config.json'), JSON.stringify({ auths: { [registry.host]: entry } }));
  const images = openImageStore(store.ctx);
  write({ auth: Buffer.from('me:secret').toString('base64') });
  await images.push(name);
  write({ identitytoken: 'refresh-me' });
  await images.pull(name);
  assert.deepEqual(tokens.asked.at(-1), {
    user: 'me',
    scopes: ['repository:team/one:pull'],
    grant: 'refresh_token',
  });
  // What skopeo stored with its own login is used as well.
  await skopeo([
    'login',
    '--tls-verify=false',
    '--authfile',
    store.file('.docker/config.json'),
    '-u',
    'me',
    '-p',
    'secret',
    registry.host,
  ]);
  await images.pull(name);
  assert.equal(tokens.asked.at(-1)!.user, 'me');
});

test('TLS: an unknown authority is refused with what to do; certs.d, --cert-dir and --tls-verify=false help', async () => {
  using authority = new Authority();
  using registry = await RealRegistry.start({ tls: authority.server() });
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  await assert.rejects(openImageStore(store.ctx).push(name), (error: Error & { hint?: string }) => {
    assert.match(error.message, /cannot reach the registry .*(certificate|unable to)/i);
    assert.match(error.hint ?? '', /certs\.d\/127\.0\.0\.1:\d+\/ca\.crt/);
    return true;
  });
  mkdirSync(store.file('certs'));
  writeFileSync(store.file('certs/ca.crt'), readFileSync(authority.certificate));
  await openImageStore(withRegistryFlags(store.ctx, { certDir: 'certs' })).push(name);
  await openImageStore(withRegistryFlags(store.ctx, { tlsVerify: false })).pull(name);
  await assert.rejects(
    openImageStore(withRegistryFlags(store.ctx, { certDir: 'nowhere' })).pull(name),
    /nowhere/,
  );

  const place = path.join('/etc/nsbox/certs.d', registry.host);
  const made = !existsSync('/etc/nsbox');
  mkdirSync(place, { recursive: true });
  try {
    writeFileSync(path.join(place, 'ca.crt'), readFileSync(authority.certificate));
    await openImageStore(store.ctx).pull(name);
  } finally {
    rmSync(made ? '/etc/nsbox' : place, { recursive: true });
  }
});

test('a registry that wants a certificate of ours gets it from certs.d or --cert-dir', async () => {
  using authority = new Authority();
  using own = new Authority();
  const certificates = { ...authority.server(), clientcas: [own.certificate] };
  using registry = await RealRegistry.start({ tls: certificates });
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  mkdirSync(store.file('certs'));
  const put = (as: string, from: string) => writeFileSync(store.file(`certs/${as}`), readFileSync(from));
  put('ca.crt', authority.certificate);
  const given = openImageStore(withRegistryFlags(store.ctx, { certDir: 'certs' }));
  // None, one of another authority, a certificate or a key alone: one line each.
  const line = (why: RegExp) => (error: Error) => {
    assert.match(error.message, why);
    assert.ok(!error.message.includes('\n'), error.message);
    return true;
  };
  await assert.rejects(
    given.push(name),
    line(/cannot reach the registry .*: it wants a certificate of ours/),
  );
  const wrong = authority.server();
  put('client.cert', wrong.certificate);
  await assert.rejects(given.push(name), line(/read .*client\.key/));
  put('client.key', wrong.key);
  await assert.rejects(
    given.push(name),
    line(/cannot reach the registry .*: it doesn't take our certificate/),
  );
  const client = own.server();
  rmSync(store.file('certs/client.cert'));
  await assert.rejects(given.push(name), line(/client\.key is the key of a certificate that is not there/));
  put('client.cert', client.certificate);
  put('client.key', client.key);
  await given.push(name);
  await given.remove(name, NO_USER);

  const place = path.join('/etc/docker/certs.d', registry.host);
  const made = mkdirSync(place, { recursive: true })!;
  try {
    for (const file of ['ca.crt', 'client.cert', 'client.key'])
      writeFileSync(path.join(place, file), readFileSync(store.file(`certs/${file}`)));
    await openImageStore(store.ctx).pull(name);
  } finally {
    rmSync(made, { recursive: true });
  }
});

test('the command line: login, --creds, push of all tags, logout', async () => {
  using tokens = await TokenServer.start({ me: 'sec:ret' });
  using registry = await RealRegistry.start({ auth: tokens.auth });
  using store = await storeWith(`${registry.host}/team/one:1`);
  const images = openImageStore(store.ctx);
  const env = { ...store.ctx.env, NSBOX_ROOT: store.ctx.root, NSBOX_STATE: store.ctx.state };
  const nsbox = (args: string[], input?: string) =>
    collect(spawn(NSBOX, args, { env, cwd: store.directory }), { input: input ?? '' });
  const refused = async (args: string[], why: RegExp, input?: string) => {
    const r = await nsbox(args, input);
    assert.equal(r.code, 1, args.join(' '));
    assert.match(r.stderr.split('\n')[0]!, why);
    assert.equal(r.stdout, '');
  };
  const ok = async (args: string[], input?: string) => {
    const r = await nsbox(args, input);
    assert.equal(r.code, 0, `${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  };
  const one = `${registry.host}/team/one`;
  await refused(['push', '-q', '--creds', 'me', `${one}:1`], /--creds: expected user:password/);
  await refused(['push', '-q', '--creds', 'me:wrong', `${one}:1`], /denies access to team\/one/);
  await ok(['push', '-q', '--creds', 'me:sec:ret', `${one}:1`]);
  assert.ok(!existsSync(store.file('.docker/config.json')), 'what --creds says is stored nowhere');
  await refused(['pull', '-q', `${one}:1`], /denies access/);
  await ok(['pull', '-q', '--creds', 'me:sec:ret', `${one}:1`]);

  const login = ['login', '-u', 'me', '--password-stdin', registry.host];
  await refused(login, /doesn't accept this user and password/, 'wrong\n');
  assert.equal(await ok(login, 'sec:ret\n'), 'Login Succeeded\n');
  assert.equal(statSync(store.file('.docker/config.json')).mode & 0o777, 0o600);

  // Several tags, two of them of one image: each blob goes once.
  await images.tag(`${one}:1`, `${one}:2`);
  writeFileSync(store.file('three.tar'), makeTar([{ path: 'more', content: 'more' }]));
  await images.import({ path: store.file('three.tar') }, { reference: `${one}:3` });
  await refused(['push', '-a', `${one}:1`], /tag can't be used with --all-tags/);
  await refused(['push', '-a', `${registry.host}/team/none`], /No such image: .*team\/none/);
  const before = registry.uploads.length;
  assert.equal(await ok(['push', '-q', '-a', one]), [1, 2, 3].map((t) => `${one}:${t}\n`).join(''));
  assert.equal(registry.uploads.length, before + 2, 'the layer and config of the third alone');
  await ok(['rmi', '-f', `${one}:1`, `${one}:2`, `${one}:3`]);
  await ok(['pull', '-q', '-a', one]);
  assert.equal((await images.list()).flatMap((i) => i.repoTags).filter((t) => t.startsWith(one)).length, 3);

  assert.equal(await ok(['logout', registry.host]), `Removing login credentials for ${registry.host}\n`);
  assert.equal(await ok(['logout', registry.host]), `Not logged in to ${registry.host}\n`);
  await refused(['pull', '-q', `${one}:1`], /denies access/);
});

test('logout erases what a helper has, also where config.json does not list the registry', async () => {
  using store = new TestStore();
  helper(store, 'test');
  mkdirSync(store.file('.docker'));
  writeFileSync(
    store.file('.docker/config.json'),
    JSON.stringify({ credHelpers: { 'registry.test': 'test' } }),
  );
  const env = { ...store.ctx.env, PATH: `${store.file('bin')}:${process.env['PATH']}` };
  const images = openImageStore({ ...store.ctx, env });
  assert.deepEqual(await images.logout('registry.test'), { domain: 'registry.test', found: false });
  writeFileSync(store.file('secret-test'), JSON.stringify({ Username: 'me', Secret: 'x' }));
  assert.deepEqual(await images.logout('registry.test'), { domain: 'registry.test', found: true });
  assert.ok(!existsSync(store.file('secret-test')));
  // A helper that is not there, and one that talks nonsense, are named.
  writeFileSync(store.file('secret-test'), 'nonsense');
  await assert.rejects(images.pull('registry.test/a/b'), /cannot reach the registry registry\.test/);
  await assert.rejects(images.logout('registry.test'), /docker-credential-test get: its answer is no JSON/);
});

test('plain HTTP is for loopback; other hosts need the flag', async () => {
  using registry = await RealRegistry.start();
  using proxy = await LoopbackProxy.start();
  const name = `registry.test:${registry.port}/team/one:1`;
  using store = await storeWith(name, { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url });
  await assert.rejects(openImageStore(store.ctx).push(name), /cannot reach the registry registry\.test/);
  assert.ok(
    proxy.asked.every((line) => line === `CONNECT registry.test:${registry.port}`),
    proxy.asked.join(),
  );
  const open = openImageStore(withRegistryFlags(store.ctx, { tlsVerify: false }));
  await open.push(name);
  assert.ok(
    proxy.asked.some((line) => line.startsWith(`PUT http://registry.test:${registry.port}/v2/team/one/`)),
  );
  await open.remove(name, NO_USER);
  await open.pull(name);

  proxy.credentials = 'us:er';
  await assert.rejects(open.pull(name), /refuses the manifest of .*: status 407/);
  const env = { ...store.ctx.env, HTTP_PROXY: proxy.url.replace('http://', 'http://us:er@') };
  await openImageStore(withRegistryFlags({ ...store.ctx, env }, { tlsVerify: false })).pull(name);
});

test('a proxy is asked for hosts that are not loopback, with its credentials, and not for those in NO_PROXY', async () => {
  using authority = new Authority();
  using registry = await RealRegistry.start({ tls: authority.server('registry.test') });
  using proxy = await LoopbackProxy.start();
  proxy.credentials = 'us:er%';
  const url = proxy.url.replace('http://', 'http://us:er%25@');
  const name = `registry.test:${registry.port}/team/one:1`;
  const env = { https_proxy: url, SSL_CERT_FILE: authority.certificate };
  using store = await storeWith(name, env);
  await openImageStore(store.ctx).push(name);
  assert.deepEqual([...new Set(proxy.asked)], [`CONNECT registry.test:${registry.port}`]);
  const without = openImageStore({ ...store.ctx, env: { ...store.ctx.env, NO_PROXY: 'a.example,.test' } });
  const asked = proxy.asked.length;
  await assert.rejects(without.pull(name), /no such host|cannot be resolved/);
  assert.equal(proxy.asked.length, asked);
  const wrong = openImageStore({ ...store.ctx, env: { ...store.ctx.env, https_proxy: proxy.url } });
  await assert.rejects(wrong.pull(name), /the proxy .* answers 407/);
});

test('a mirror is asked first and the registry itself where the mirror fails; pushes go to the registry', async () => {
  using upstream = await RealRegistry.start();
  using mirror = await RealRegistry.start();
  const name = `${upstream.host}/team/one:1`;
  using store = await storeWith(name, {
    NSBOX_REGISTRY_MIRRORS: `${upstream.host}=http://127.0.0.1:1,${upstream.host}=http://${mirror.host}`,
  });
  const images = openImageStore(store.ctx);
  await images.push(name);
  assert.deepEqual(mirror.uploads, []);
  await images.remove(name, NO_USER);
  await images.pull(name);
  assert.ok(mirror.requests.some((r) => r === 'GET /v2/team/one/manifests/1 404'));
  await skopeo([
    'copy',
    '-q',
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    `docker://${name}`,
    `docker://${mirror.host}/team/one:1`,
  ]);
  await images.remove(name, NO_USER);
  const before = upstream.requests.length;
  const image = await images.pull(name);
  assert.deepEqual(image.repoTags, [name]);
  assert.equal(upstream.requests.length, before, 'all of it came from the mirror');
});

test('image verify --repair pulls again what is damaged: a blob, and a file of a layer', async () => {
  using registry = await RealRegistry.start();
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  await images.push(name);
  const image = await images.resolve(name);
  const layer = image.layers[0]!;
  const file = path.join(images.layerPaths(image)[0]!, 'hello');
  const blob = store.file(`root/blobs/${layer.digest.replace(':', '/')}`);
  const damage = () => {
    const data = readFileSync(blob);
    data[data.length >> 1]! ^= 1;
    writeFileSync(blob, data);
    writeFileSync(file, 'hellO');
  };
  damage();
  const whats = (found: { damages: { what: string; repaired: boolean }[] }) =>
    found.damages.map((d) => `${d.what} ${d.repaired}`);
  assert.ok(whats(await images.verify()).includes(`${layer.digest} false`));
  const repaired = whats(await images.verify([], { repair: true }));
  assert.deepEqual(repaired, [`${layer.digest} true`, `${layer.chainId} true`]);
  assert.equal(readFileSync(file, 'utf8'), 'hello');
  assert.deepEqual((await images.verify()).damages, []);

  // The config and the manifest as well; and where the registry is gone, it is said and nothing else is lost.
  for (const digest of [image.id, (await images.resolve(name)).manifest.digest]) {
    const place = store.file(`root/blobs/${digest.replace(':', '/')}`);
    writeFileSync(place, '{}');
    assert.deepEqual(whats(await images.verify([], { repair: true })), [`${digest} true`]);
  }
  damage();
  registry[Symbol.dispose]();
  const lost = await images.verify([], { repair: true });
  assert.ok(lost.damages.length > 0 && lost.damages.every((d) => !d.repaired));
  assert.equal((await images.resolve(name)).id, image.id);
});

test('a pulled image that is saved and loaded again keeps its digest and is pushed with it', async () => {
  using registry = await RealRegistry.start();
  const name = `${registry.host}/team/one:1`;
  using store = await storeWith(name);
  const images = openImageStore(store.ctx);
  const { digest } = await images.push(name);
  await images.remove(name, NO_USER);
  const pulled = await images.pull(name);
  assert.equal(pulled.manifest.digest, digest);
  const save = async (format: 'docker-archive' | 'oci-archive') => {
    const file = store.file(`${format}.tar`);
    rmSync(file, { force: true });
    for await (const piece of await images.save([name], format)) appendFileSync(file, piece);
    return file;
  };
  const files = [await save('docker-archive'), await save('oci-archive')];
  for (const file of files) {
    const [loaded] = await images.load({ path: file });
    assert.equal(loaded!.image.id, pulled.id);
    assert.deepEqual(loaded!.image.repoDigests, [`${registry.host}/team/one@${digest}`]);
    const now = await images.resolve(`${registry.host}/team/one@${digest}`);
    assert.deepEqual([now.manifest, now.layers], [pulled.manifest, pulled.layers], file);
    await images.prune({ inUse: () => undefined });
    assert.deepEqual((await images.verify()).damages, []);
    const sent = registry.uploads.length;
    assert.equal((await images.push(name)).digest, digest);
    assert.equal(registry.uploads.length, sent);
  }
  // Where the image was removed, the archive has the say: an oci-archive has the manifest, a docker-archive has none.
  await images.remove(name, NO_USER);
  const [oci] = await images.load({ path: files[1]! });
  assert.equal(oci!.image.manifest.digest, digest);
  assert.equal((await images.push(name)).digest, digest);
  await images.remove(name, NO_USER);
  const [docker] = await images.load({ path: files[0]! });
  assert.equal(docker!.image.id, pulled.id);
  assert.notEqual(docker!.image.manifest.digest, digest);
});

test('a registry that says nothing is given up after the time that is set', async () => {
  using silent = await SilentServer.start();
  using store = new TestStore({ NSBOX_REGISTRY_TIMEOUT: '0.3' });
  await assert.rejects(openImageStore(store.ctx).pull(`${silent.host}/a/b:1`), /no answer for 0\.3 s/);
});
