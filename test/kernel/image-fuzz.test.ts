import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { NsboxError } from '../../src/base/index.js';
import { openImageStore, TarReader } from '../../src/image/index.js';
import { decompress, LayerExtractor } from '../../src/image/layer/index.js';
import { makeTar, sha256, TestStore, treeFacts, treeLines } from '../support/images.js';
import { soakMs } from '../support/soak.js';

/** Numbers from a seed: what a failing input was can be made again. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** A whole number below n. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Runs `one` with a new seed each time: `count` times, or for as long as `npm run soak` says. */
async function fuzz(
  t: TestContext,
  count: number,
  one: (dice: Dice, seed: number) => Promise<void>,
): Promise<void> {
  const fixed = process.env['NSBOX_FUZZ_SEED'];
  const first = Number(fixed ?? Date.now() % 2 ** 31);
  const start = performance.now();
  let i = 0;
  for (
    ;
    fixed !== undefined
      ? i < Number(process.env['NSBOX_FUZZ_COUNT'] ?? 1)
      : i < count || performance.now() - start < (soakMs ?? 0) / 3;
    i++
  ) {
    try {
      await one(new Dice(first + i), first + i);
    } catch (error) {
      const why = error instanceof Error ? error.stack : String(error);
      throw new Error(`NSBOX_FUZZ_SEED=${first + i} repeats this: ${why}`, { cause: error });
    }
  }
  t.diagnostic(`${i} inputs from seed ${first}`);
}

/** Every refusal is one of ours: a code, one line, no stack of another error. */
function refusal(error: unknown): void {
  if (!(error instanceof NsboxError) || error.code === 'INTERNAL') throw error;
  assert.ok(!error.message.includes('\n'), error.message);
  assert.ok(
    error.message.length < 2000,
    `${error.code}, ${error.message.length} characters: ${error.message.slice(0, 100)}`,
  );
}

/** Archives of several writers to begin with. */
function corpus(store: TestStore): Buffer[] {
  const tree = store.file('corpus');
  mkdirSync(path.join(tree, 'dir/deep'), { recursive: true });
  writeFileSync(path.join(tree, 'dir/file'), 'x'.repeat(700));
  writeFileSync(path.join(tree, 'n'.repeat(180)), 'long');
  symlinkSync('dir', path.join(tree, 'link'));
  execFileSync('ln', [path.join(tree, 'dir/file'), path.join(tree, 'dir/deep/hard')]);
  writeFileSync(path.join(tree, 'sparse'), 'x');
  truncateSync(path.join(tree, 'sparse'), 1 << 16);
  const tar = (...args: string[]) => execFileSync('tar', ['-c', ...args, '-C', tree, '.']);
  return [
    tar('--format=gnu', '-S'),
    tar('--format=pax', '-S'),
    tar('--format=pax', '-S', '--sparse-version=0.0'),
    tar('--format=ustar', '--exclude=n*'),
    tar('--format=v7', '--exclude=n*'),
    makeTar([
      { path: 'a/', type: 'directory', xattrs: new Map([['user.x', Buffer.from([0, 255, 10])]]) },
      { path: 'a/.wh.b' },
      { path: 'a/.wh..wh..opq' },
      { path: 'a/b', content: 'again' },
      { path: 'dev', type: 'char', devMajor: 1, devMinor: 3 },
      { path: 'fifo', type: 'fifo' },
      { path: 'far', type: 'hardlink', linkPath: 'not/here' },
      { path: 'up', type: 'symlink', linkPath: '../../../..' },
      { path: 'up/escape', content: 'no' },
    ]),
  ];
}

const NAMES = [
  '../x',
  '/',
  '.',
  '..',
  'a/../../b',
  './/.',
  '/etc/passwd',
  'link/x',
  'dir',
  '.wh.',
  '.wh..',
  '.wh...',
  '.wh..wh..opq',
  '',
];
const NUMBERS = [
  '77777777777',
  '00000000000',
  '-0000000001',
  '99999999999',
  '            ',
  '7',
  '00000004000',
];
const TYPES = ['0', '1', '2', '3', '4', '5', '6', '7', 'S', 'x', 'g', 'L', 'K', 'D', 'M', 'V', '\0', '\xff'];

/** Changes some headers, with a checksum that fits, or some bytes; repeats, drops and cuts blocks. */
function damage(dice: Dice, original: Buffer, others: readonly Buffer[]): Buffer {
  let tar = Buffer.from(original);
  for (let n = 1 + dice.below(4); n > 0; n--) {
    const blocks = Math.max(1, Math.floor(tar.length / 512));
    const at = dice.below(blocks) * 512;
    const header = tar.subarray(at, at + 512);
    if (header.length < 512) break;
    switch (dice.below(9)) {
      case 0:
        header.fill(0, 0, 100);
        header.write(dice.of(NAMES), 0, 'latin1');
        break;
      case 1:
        header.write(
          `${dice.of(NUMBERS)}\0`,
          dice.of([100, 108, 116, 124, 136, 329, 337, 386, 398, 483]),
          'latin1',
        );
        break;
      case 2:
        // Base 256, as large numbers are written.
        header.writeUInt8(dice.of([0x80, 0xff]), dice.of([108, 116, 124, 136, 386, 483]));
        break;
      case 3:
        header.write(dice.of(TYPES), 156, 'latin1');
        break;
      case 4:
        header.fill(0, 157, 257);
        header.write(dice.of(NAMES), 157, 'latin1');
        break;
      case 5:
        tar[dice.below(tar.length)] = dice.below(256);
        break;
      case 6:
        tar = tar.subarray(0, dice.below(tar.length + 1));
        break;
      case 7: {
        const other = dice.of(others);
        const from = dice.below(Math.max(1, other.length / 512)) * 512;
        tar = Buffer.concat([
          tar.subarray(0, at),
          other.subarray(from, from + 512 * (1 + dice.below(8))),
          tar.subarray(at),
        ]);
        break;
      }
      default: {
        // In a PAX header or sparse map: digits become other digits.
        const end = Math.min(tar.length, at + 512);
        for (let i = at; i < end; i++)
          if (tar[i]! >= 0x30 && tar[i]! <= 0x39 && dice.below(4) === 0) tar[i] = 0x30 + dice.below(10);
      }
    }
    if (at + 512 <= tar.length) checksum(tar.subarray(at, at + 512));
  }
  return tar;
}

function checksum(header: Buffer): void {
  if (header.toString('latin1', 257, 262) !== 'ustar' && header[156] !== 0) return;
  header.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

async function* pieces(data: Buffer, dice: Dice): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; ) {
    const n = 1 + dice.below(5000);
    yield data.subarray(at, at + n);
    at += n;
  }
}

/** What comes of a layer: its tree, or why it is refused. Nothing of it stays. */
async function unpackLayer(
  place: string,
  tar: Buffer,
  options: { whiteouts: boolean; plain: boolean; cuts: Dice; since: number },
): Promise<{ tree?: string[]; size?: number; entries?: number; refused?: string }> {
  mkdirSync(place);
  const fd = openSync(place, 'r');
  try {
    using extractor = new LayerExtractor(fd, { whiteouts: options.whiteouts });
    const reader = new TarReader(
      options.plain
        ? extractor
        : {
            entry: (e) => extractor.entry(e),
            data: (chunk, at) => extractor.data(chunk, at),
            end: () => extractor.end(),
          },
    );
    for await (const piece of pieces(tar, options.cuts)) reader.write(piece);
    reader.end();
    extractor.finish();
    const facts = treeFacts(place);
    for (const f of facts.values()) {
      // Directories that no entry describes have the time of their making, until they are settled.
      const [sec, nsec] = String(f['mtime']).split('.');
      if (Number(sec) * 1000 + Number(nsec) / 1e6 >= options.since) delete f['mtime'];
    }
    return { tree: treeLines(facts), size: extractor.size, entries: extractor.entries };
  } catch (error) {
    refusal(error);
    return { refused: (error as Error).message };
  } finally {
    closeSync(fd);
    rmSync(place, { recursive: true, force: true });
  }
}

test('damaged layers are unpacked or refused in one line, and touch nothing outside', async (t) => {
  using store = new TestStore();
  const tars = corpus(store);
  const outside = store.file('outside');
  mkdirSync(path.join(outside, 'kept'), { recursive: true });
  writeFileSync(path.join(outside, 'kept/file'), 'as it was');
  const before = treeLines(treeFacts(outside));
  const since = Math.floor(statSync(outside).mtimeMs);
  let unpacked = 0;
  await fuzz(t, 1000, async (dice, seed) => {
    const place = path.join(outside, `layer-${seed}`);
    const whiteouts = dice.below(4) > 0;
    const tar = damage(dice, dice.of(tars), tars);
    // Once as always, and once member by member in TypeScript: one has the same tree or refusal as the other.
    const [quick, slow] = await Promise.all(
      [true, false].map((plain) =>
        unpackLayer(`${place}-${plain}`, tar, { whiteouts, plain, cuts: new Dice(seed), since }),
      ),
    );
    if (quick!.tree) unpacked++;
    assert.deepEqual(quick, slow);
    assert.deepEqual(readdirSync(outside), ['kept']);
  });
  assert.deepEqual(
    treeLines(treeFacts(path.join(outside, 'kept'))),
    treeLines(
      new Map(
        [...treeFacts(outside)].filter(([k]) => k !== '/kept').map(([k, f]) => [k.replace('/kept', ''), f]),
      ),
    ),
  );
  assert.ok(before.length === 2 && unpacked > 0, 'some are unpacked');
});

test('damaged gzip and zstd streams end in one line', async (t) => {
  using store = new TestStore();
  const plain = corpus(store)[0]!;
  writeFileSync(store.file('plain'), plain);
  const streams = [gzipSync(plain), gzipSync(plain, { level: 0 })];
  const zstd = ['/usr/bin/zstd', '/bin/zstd'].find((p) => readdirSync(path.dirname(p)).includes('zstd'));
  if (zstd) streams.push(execFileSync(zstd, ['-c', store.file('plain')]));
  await fuzz(t, 400, async (dice) => {
    let data = Buffer.from(dice.of(streams));
    for (let n = 1 + dice.below(4); n > 0; n--) data[dice.below(data.length)] = dice.below(256);
    if (dice.below(3) === 0) data = data.subarray(0, dice.below(data.length));
    try {
      let bytes = 0;
      await decompress(pieces(data, dice), (piece) => {
        bytes += piece.length;
      });
      assert.ok(bytes < 1 << 28);
    } catch (error) {
      refusal(error);
    }
  });
});

const VALUES = [
  null,
  -1,
  0,
  1e308,
  2 ** 53,
  true,
  '',
  'x',
  '../../x',
  '/etc/passwd',
  'sha256:',
  `sha256:${'g'.repeat(64)}`,
  `sha512:${'0'.repeat(128)}`,
  [],
  {},
  [[]],
  'x'.repeat(100_000),
  '\u0000',
  '__proto__',
];

/** A copy of a document in which one place, chosen by the dice, is another value, gone, or doubled. */
function changed(dice: Dice, document: unknown): unknown {
  const copy = structuredClone(document);
  const places: [Record<string, unknown>, string][] = [];
  const walk = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value as Record<string, unknown>, key]);
      walk((value as Record<string, unknown>)[key]);
    }
  };
  walk(copy);
  for (let n = 1 + dice.below(2); n > 0; n--) {
    const [holder, key] = dice.of(places);
    const kind = dice.below(4);
    if (kind === 0) delete holder[key];
    else if (kind === 1 && Array.isArray(holder)) holder.push(holder[0]);
    else holder[key] = dice.of(VALUES);
  }
  return copy;
}

test('damaged manifests, indexes, configs and archives are loaded or refused in one line; nothing half-loaded shows', async (t) => {
  using store = new TestStore();
  const images = openImageStore(store.ctx);
  const layer = makeTar([{ path: 'file', content: 'x' }]);
  const config: unknown = {
    architecture: 'amd64',
    os: 'linux',
    created: '2020-01-01T00:00:00Z',
    config: {
      Cmd: ['/x'],
      Env: ['A=b'],
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/v': {} },
      Labels: { a: 'b' },
      User: '1:2',
    },
    rootfs: { type: 'layers', diff_ids: [sha256(layer)] },
    history: [{ created: '2020-01-01T00:00:00Z', created_by: 'x', empty_layer: false }],
  };
  const oci = 'application/vnd.oci.image';
  await fuzz(t, 60, async (dice) => {
    const which = dice.below(4);
    const as = (n: number, document: unknown) => {
      let data = Buffer.from(JSON.stringify(which === n ? changed(dice, document) : document));
      if (which === n && dice.below(8) === 0) data = data.subarray(0, dice.below(data.length));
      return data;
    };
    const configData = as(0, config);
    const blob = (data: Buffer, mediaType: string) => ({
      mediaType,
      digest: sha256(data),
      size: data.length,
    });
    const manifest = as(1, {
      schemaVersion: 2,
      mediaType: `${oci}.manifest.v1+json`,
      config: blob(configData, `${oci}.config.v1+json`),
      layers: [blob(layer, `${oci}.layer.v1.tar`)],
      annotations: { a: 'b' },
    });
    const index = as(2, {
      schemaVersion: 2,
      manifests: [
        {
          ...blob(manifest, `${oci}.manifest.v1+json`),
          platform: { os: 'linux', architecture: 'amd64' },
          annotations: { 'io.containerd.image.name': 'fuzz:1' },
        },
      ],
    });
    const docker = as(3, [{ Config: 'config.json', RepoTags: ['fuzz:1'], Layers: ['0.tar'] }]);
    const file = (data: Buffer) => ({ path: `blobs/${sha256(data).replace(':', '/')}`, content: data });
    const archive =
      which === 3 || dice.below(3) === 0
        ? makeTar([
            { path: '0.tar', content: layer },
            { path: 'config.json', content: configData },
            { path: 'manifest.json', content: docker },
          ])
        : makeTar([
            file(layer),
            file(configData),
            file(manifest),
            { path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
            { path: 'index.json', content: index },
          ]);
    writeFileSync(store.file('archive.tar'), archive);
    try {
      await images.load({ path: store.file('archive.tar') });
    } catch (error) {
      refusal(error);
    }
    // What is there can be used by every command that looks at images.
    for (const image of await images.list()) {
      await images.inspect(image.id);
      await images.history(image.id);
    }
    assert.deepEqual((await images.verify()).damages, []);
    await images.prune({ all: true, inUse: () => undefined });
    for (const directory of ['blobs/sha256', 'layers', 'ingest', 'leases', 'images', 'tags']) {
      const at = path.join(store.ctx.root, directory);
      assert.deepEqual(readdirSync(at, { recursive: true }), [], directory);
    }
  });
});
