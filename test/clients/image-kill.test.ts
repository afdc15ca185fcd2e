import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openImageStore } from '../../src/image/index.js';
import { type Member, makeTar, sha256, TestStore, treeFacts, treeLines } from '../support/images.js';
import { RealRegistry } from '../support/registry.js';
import { bySoak, soakMs } from '../support/soak.js';

const ROUNDS = bySoak(40, 200);

/** A docker-archive of three gzip layers: many small files, some large ones, and changes to both. */
function archiveOf(name: string): Buffer {
  const small: Member[] = [];
  for (let d = 0; d < 8; d++) {
    small.push({ path: `d${d}/`, type: 'directory' });
    for (let f = 0; f < 40; f++) small.push({ path: `d${d}/f${f}`, content: `${d} ${f}\n`.repeat(50) });
  }
  const layers = [
    makeTar(small),
    makeTar([0, 1, 2].map((i): Member => ({ path: `big${i}`, content: randomBytes(1 << 20) }))),
    makeTar([
      { path: 'd1/.wh.f3' },
      { path: 'd2/.wh..wh..opq' },
      { path: 'd3/hard', type: 'hardlink', linkPath: 'd3/f1' },
      { path: 'implied/by/file', content: 'x' },
    ]),
  ];
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
  });
  const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: layers.map((_, i) => `${i}.tar.gz`) }];
  return makeTar([
    ...layers.map((l, i): Member => ({ path: `${i}.tar.gz`, content: gzipSync(l) })),
    { path: 'config.json', content: config },
    { path: 'manifest.json', content: JSON.stringify(manifest) },
  ]);
}

/** A process that works on the store: ready before it is let go, so that a round doesn't wait for Node to start. */
class Driver {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ready: Promise<unknown>;
  verbs = 0;
  said = '';
  constructor(store: TestStore, seed: number, archive: string, name: string) {
    const main = path.join(import.meta.dirname, '../support/image-kill-main.js');
    const args = [main, store.ctx.root, store.ctx.state, String(seed), archive, name];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ready = new Promise((resolve) => this.#child.stdout.once('data', resolve));
    this.#child.stdout.on('data', (d: Buffer) => {
      this.verbs += d.toString().replaceAll('r', '').length;
    });
    this.#child.stderr.on('data', (d: Buffer) => {
      this.said += d.toString();
    });
    this.#child.stdin.on('error', () => {});
  }
  async go(): Promise<void> {
    await this.#ready;
    const begun = new Promise((resolve) => this.#child.stdout.once('data', resolve));
    this.#child.stdin.write('\n');
    await begun;
  }
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null) throw new Error(`the driver ended by itself: ${this.said}`);
    const gone = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}

/** What layers hold. A whiteout's time means nothing. */
function trees(paths: readonly string[]): string[][] {
  return paths.map((p) => {
    const facts = treeFacts(p);
    for (const f of facts.values()) if (f['device'] === '0:0') delete f['mtime'];
    return treeLines(facts);
  });
}

test(`kill -9 at ${ROUNDS} random moments of pull, load, unpack and prune: the store verifies, the next try succeeds, nothing is left`, async (t) => {
  using store = new TestStore();
  using registry = await RealRegistry.start();
  const seed = Number(process.env['NSBOX_CRASH_SEED'] ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed} (NSBOX_CRASH_SEED repeats what is done, though not its timing)`);
  const name = `${registry.host}/team/kill:1`;
  const archive = store.file('archive.tar');
  writeFileSync(archive, archiveOf(name));
  const images = openImageStore(store.ctx);
  const [first] = await images.load({ path: archive });
  await images.push(name);
  const expected = trees(images.layerPaths(first!.image));
  const directories = ['blobs/sha256', 'layers', 'ingest', 'leases', 'images', 'tags'];

  let verbs = 0;
  const start = performance.now();
  const next = (i: number) => new Driver(store, seed + i, archive, name);
  let waiting = [next(0), next(1)];
  try {
    for (let i = 0; i < ROUNDS || (soakMs !== undefined && performance.now() - start < soakMs); i++) {
      const [driver, other] = waiting as [Driver, Driver];
      await Promise.all([driver.go(), other.go()]);
      await new Promise((r) => setTimeout(r, Math.random() ** 2 * 400));
      await Promise.all([driver.kill(), other.kill()]);
      waiting = [];
      assert.equal(driver.said + other.said, '', `round ${i}`);
      waiting = [next(2 * i + 2), next(2 * i + 3)];
      verbs += driver.verbs + other.verbs;
      assert.deepEqual((await images.verify()).damages, [], `round ${i}: verify`);
      // Every image that is named can be used, whatever was cut off.
      for (const image of await images.list()) {
        if (!image.repoTags.includes(name)) continue;
        await images.unpack(image);
        assert.deepEqual(trees(images.layerPaths(image)), expected, `round ${i}: what was there`);
      }
      const image = i % 2 === 0 ? await images.pull(name) : (await images.load({ path: archive }))[0]!.image;
      assert.deepEqual(trees(images.layerPaths(image)), expected, `round ${i}: the next try`);
      if (i % 5 !== 4) continue;
      await images.prune({ all: true, inUse: () => undefined });
      for (const directory of directories) {
        const at = path.join(store.ctx.root, directory);
        assert.deepEqual(existsSync(at) ? readdirSync(at) : [], [], `round ${i}: left in ${directory}`);
      }
      const index = JSON.parse(readFileSync(path.join(store.ctx.root, 'index.json'), 'utf8'));
      assert.deepEqual(index.manifests, []);
      const locks = readdirSync(path.join(store.ctx.root, 'locks')).filter((n) => n.startsWith('layer-'));
      assert.deepEqual(locks, [], `round ${i}: locks of layers`);
    }
  } finally {
    await Promise.all(waiting.map((d) => d.kill()));
  }
  t.diagnostic(`${verbs} pulls, loads, unpackings and prunings begun`);
});
