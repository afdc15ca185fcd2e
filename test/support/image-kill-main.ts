/**
 * Works on an image store until somebody kills it: `image-kill-main ROOT STATE SEED ARCHIVE REGISTRY-NAME`. Says `r` when
 * it is ready, begins at the first line on stdin, and says `.` for each thing begun.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeContext } from '../../src/base/index.js';
import { openImageStore } from '../../src/image/index.js';

const [root, state, seedText, archive, name] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const ctx = makeContext({ root, state, env: {} });
const store = openImageStore(ctx);

let seed = Number(seedText);
function random(): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
}

/** As after a power cut: the layers are of an earlier boot, and no command has written them out since. */
async function unpack(): Promise<void> {
  const { image } = (await store.load({ path: archive }))[0]!;
  const layers = path.join(ctx.root, 'layers');
  for (const layer of readdirSync(layers)) {
    if (layer.endsWith('.tmp')) continue;
    const file = path.join(layers, layer, 'layer.json');
    const record = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(`${file}.old`, JSON.stringify({ ...record, bootId: 'an earlier one', durable: false }));
    const { renameSync } = await import('node:fs');
    renameSync(`${file}.old`, file);
  }
  await store.unpack(image);
}

const VERBS: (() => Promise<unknown>)[] = [
  () => store.pull(name),
  () => store.load({ path: archive }),
  unpack,
  () => store.prune({ all: true, inUse: () => undefined }),
];

process.stdout.write('r');
await new Promise((resolve) => process.stdin.once('data', resolve));
for (;;) {
  process.stdout.write('.');
  try {
    await VERBS[Math.floor(random() * VERBS.length)]!();
  } catch (error) {
    // Another one prunes meanwhile: an image that has just come may be gone again. Bugs of ours are not expected.
    const { code, message, stack } = error as { code?: string; message: string; stack?: string };
    if (code !== 'NOT_FOUND' && code !== 'ENOENT') process.stderr.write(`${code} ${message}\n${stack}\n`);
  }
}
