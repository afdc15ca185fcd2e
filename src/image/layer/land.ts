import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Context, createHash, fromErrno, ImageError, isErrno, randomBytes } from '../../base/index.js';
import { removeTree, syncfs } from '../../kernel/index.js';
import {
  acquireLock,
  ensureDirectory,
  fsyncDirectory,
  readRecord,
  tryAcquireLock,
  writeRecord,
} from '../../state/index.js';
import { hexOf, storePaths } from '../paths.js';
import { TarReader } from '../tar/index.js';
import { LayerExtractor, type Unsettled } from './extract.js';
import { settleLayer } from './settle.js';
import { decompress, PlainMeter, unpackLimit } from './stream.js';

/**
 * Unpacked layers. One lands whole or not at all: unpacked beside its place, settled with those below it, renamed.
 *
 * Its files aren't written out one by one: a kill can't lose them, only a power cut can. So the record keeps the boot
 * it was made in, and a layer from an earlier boot counts only once a syncfs has been seen since (`durable`); otherwise
 * it is unpacked again from its blob, which is on disk for sure.
 */
export interface LayerRecord {
  version: 1;
  chainId: string;
  diffId: string;
  /** Bytes of regular files. */
  size: number;
  entries: number;
  /** /proc/sys/kernel/random/boot_id of when it was unpacked. */
  bootId: string;
  durable: boolean;
  /** Milliseconds since 1970. */
  made: number;
}

/** A layer to bring: its identity, and its tar as it comes, compressed or not. */
export interface LayerJob {
  chainId: string;
  diffId: string;
  /** Bytes of the blob, for the limit of what it may unpack to. */
  blobSize: number;
  /** Pieces of the blob; checked by the source. Called once, when the layer isn't there yet. */
  open(): AsyncIterable<Buffer>;
  /** Called in place of open() where the layer is there already: for a source that has a blob to store as well. */
  present?(): Promise<void>;
}

const WAIT_MS = 3_600_000;
const AT_A_TIME = 3;

export function layerFs(ctx: Context, chainId: string): string {
  return path.join(storePaths.layer(ctx, chainId), 'fs');
}

let bootId: string | undefined;
function currentBoot(): string {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return bootId;
}

/** The record of a layer that is there and good to use. */
export function layerRecord(ctx: Context, chainId: string): LayerRecord | undefined {
  const record = readRecord<LayerRecord>(path.join(storePaths.layer(ctx, chainId), 'layer.json'));
  if (!record || !(record.durable || record.bootId === currentBoot())) return undefined;
  return record;
}

export function isLanded(ctx: Context, chainId: string): boolean {
  return layerRecord(ctx, chainId) !== undefined;
}

/** Name of a chain of layers. @see image-spec, "Layer ChainID" */
export function chainIdOf(parent: string | undefined, diffId: string): string {
  if (parent === undefined) return diffId;
  return `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}`;
}

/**
 * Unpacks the layers of one image that aren't there yet, several at a time, each onto those before it.
 * @param jobs lowest first
 * @throws ImageError where one is damaged; what landed below it stays, for the next try
 */
export async function landLayers(
  ctx: Context,
  jobs: readonly LayerJob[],
  options: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const controller = new AbortController();
  const stop = () => controller.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', stop, { once: true });
  const landed: Promise<void>[] = [];
  const slots: Promise<void>[] = [];
  try {
    for (const [i, job] of jobs.entries()) {
      options.signal?.throwIfAborted();
      controller.signal.throwIfAborted();
      if (isLanded(ctx, job.chainId)) {
        await job.present?.();
        landed.push(Promise.resolve());
        continue;
      }
      while (slots.length >= AT_A_TIME) await Promise.race(slots);
      const below = landed[i - 1] ?? Promise.resolve();
      const lowers = jobs.slice(0, i).map((j) => layerFs(ctx, j.chainId));
      const unpacked = landOne(ctx, job, lowers, below, controller.signal);
      const slot: Promise<void> = unpacked.extracted.then(
        () => void slots.splice(slots.indexOf(slot), 1),
        () => void slots.splice(slots.indexOf(slot), 1),
      );
      slots.push(slot);
      unpacked.landed.catch(() => controller.abort());
      landed.push(unpacked.landed);
    }
  } finally {
    options.signal?.removeEventListener('abort', stop);
    const results = await Promise.allSettled(landed);
    const reasons = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as unknown] : []));
    // The cause rather than those that were stopped because of it.
    const failure = reasons.find((r) => !(r instanceof Error && r.name === 'AbortError')) ?? reasons[0];
    if (failure !== undefined) {
      options.signal?.throwIfAborted();
      // biome-ignore lint/correctness/noUnsafeFinally: the layer's own failure is what counts
      throw failure;
    }
  }
}

/** Two moments of one layer: its archive is read; it has its place. */
function landOne(
  ctx: Context,
  job: LayerJob,
  lowers: string[],
  below: Promise<void>,
  signal: AbortSignal,
): { extracted: Promise<void>; landed: Promise<void> } {
  let read!: () => void;
  const extracted = new Promise<void>((resolve) => {
    read = resolve;
  });
  const landed = (async () => {
    const lockFile = storePaths.lock(ctx, `layer-${hexOf(job.chainId)}`);
    using _lock = await acquireLock(lockFile, { timeoutMs: WAIT_MS });
    try {
      if (isLanded(ctx, job.chainId)) {
        await job.present?.();
        read();
        await below;
        return;
      }
      await inTemporary(ctx, `${hexOf(job.chainId)}.tmp`, async (temporary) => {
        const result = await extract(ctx, job.open(), temporary, job.blobSize, signal);
        if (result.diffId !== job.diffId) {
          throw new ImageError(
            `digest mismatch of a layer's content: expected ${job.diffId}, received ${result.diffId}`,
            { hint: 'the content was changed or damaged on its way; nothing of it was kept' },
          );
        }
        read();
        await below;
        place(ctx, temporary, job.chainId, lowers, result);
      });
    } finally {
      rmSync(lockFile, { force: true });
    }
  })();
  landed.then(read, read);
  return { extracted, landed };
}

/**
 * Unpacks a layer once more beside the one that is there, as the layers below say, for a comparison.
 * @param judge gets both directories; where it answers true, the fresh one takes the place of the other, which stays for
 *   whoever has it open
 * @throws ImageError where its blob is damaged
 */
export async function unpackBeside(
  ctx: Context,
  job: LayerJob,
  lowers: readonly string[],
  judge: (fresh: string, present: string) => Promise<boolean>,
): Promise<void> {
  const lockFile = storePaths.lock(ctx, `layer-${hexOf(job.chainId)}`);
  using _lock = await acquireLock(lockFile, { timeoutMs: WAIT_MS });
  try {
    await inTemporary(ctx, `${hexOf(job.chainId)}.tmp`, async (temporary) => {
      const result = await extract(ctx, job.open(), temporary, job.blobSize, undefined);
      const fresh = path.join(temporary, 'fs');
      settleLayer(fresh, lowers, result.unsettled);
      const unsettled: Unsettled = { implied: [], whiteouts: [], links: [], opaqueRoot: false };
      if (await judge(fresh, layerFs(ctx, job.chainId)))
        place(ctx, temporary, job.chainId, lowers, { ...result, unsettled });
    });
  } finally {
    rmSync(lockFile, { force: true });
  }
}

/**
 * Unpacks a layer whose digest isn't known beforehand (`import`, `commit`).
 * @param options `below`: chain IDs of the layers it goes onto, lowest first; `claim`: called with its chain ID before
 *   it can be seen, so that no garbage collection takes it
 * @returns its record
 */
export async function landUnknown(
  ctx: Context,
  source: AsyncIterable<Buffer>,
  options: { below?: readonly string[]; claim: (chainId: string) => Promise<void> },
): Promise<LayerRecord> {
  const below = options.below ?? [];
  const name = `import-${randomBytes(8).toString('hex')}`;
  const lockFile = storePaths.lock(ctx, `layer-${name}`);
  using _lock = await acquireLock(lockFile);
  try {
    return await inTemporary(ctx, `${name}.tmp`, async (temporary) => {
      const result = await extract(ctx, source, temporary, Number.POSITIVE_INFINITY, undefined);
      const chainId = chainIdOf(below.at(-1), result.diffId);
      await options.claim(chainId);
      const placeFile = storePaths.lock(ctx, `layer-${hexOf(chainId)}`);
      using _place = await acquireLock(placeFile, { timeoutMs: WAIT_MS });
      try {
        const lowers = below.map((id) => layerFs(ctx, id));
        return layerRecord(ctx, chainId) ?? place(ctx, temporary, chainId, lowers, result);
      } finally {
        rmSync(placeFile, { force: true });
      }
    });
  } finally {
    rmSync(lockFile, { force: true });
  }
}

/** Runs `use` with a fresh directory among the layers, which is gone afterwards unless it was renamed. */
async function inTemporary<T>(
  ctx: Context,
  name: string,
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = path.join(storePaths.layers(ctx), name);
  try {
    await removeTree(directory); // a crash's
    ensureDirectory(storePaths.layers(ctx));
    mkdirSync(directory, { mode: 0o700 });
    mkdirSync(path.join(directory, 'fs'), { mode: 0o755 });
  } catch (error) {
    throw fromErrno(`create ${directory}`, error, { path: directory });
  }
  try {
    return await use(directory);
  } finally {
    await removeTree(directory);
  }
}

interface Extracted {
  diffId: string;
  size: number;
  entries: number;
  unsettled: Unsettled;
}

async function extract(
  ctx: Context,
  source: AsyncIterable<Buffer>,
  directory: string,
  blobSize: number,
  signal: AbortSignal | undefined,
): Promise<Extracted> {
  const meter = new PlainMeter(unpackLimit(ctx.env, blobSize));
  const root = openSync(path.join(directory, 'fs'), 'r');
  using extractor = new LayerExtractor(root);
  try {
    const reader = new TarReader(extractor);
    await decompress(stoppable(source, signal), (piece, lasting) => {
      const room = meter.add(piece, lasting);
      reader.write(piece);
      return room;
    });
    // Docker has layers of no bytes at all.
    if (meter.size > 0) reader.end();
    return {
      diffId: await meter.digest(),
      size: extractor.size,
      entries: extractor.entries,
      unsettled: extractor.finish(),
    };
  } finally {
    closeSync(root);
  }
}

async function* stoppable(
  source: AsyncIterable<Buffer>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    signal?.throwIfAborted();
    yield piece;
  }
}

/** Settles an unpacked layer and gives it its place. The caller holds its lock. */
function place(
  ctx: Context,
  temporary: string,
  chainId: string,
  lowers: readonly string[],
  result: Extracted,
): LayerRecord {
  settleLayer(path.join(temporary, 'fs'), lowers, result.unsettled);
  const record: LayerRecord = {
    version: 1,
    chainId,
    diffId: result.diffId,
    size: result.size,
    entries: result.entries,
    bootId: currentBoot(),
    durable: false,
    made: Date.now(),
  };
  writeRecord(path.join(temporary, 'layer.json'), record, { durable: false });
  const target = storePaths.layer(ctx, chainId);
  if (existsSync(target)) {
    // One from an earlier boot that may be damaged, or one that `verify` found so.
    renameSync(target, `${target}-${randomBytes(4).toString('hex')}.tmp`);
  }
  renameSync(temporary, target);
  return record;
}

/** Moves a layer out of the way, so that it is unpacked again; what uses it keeps what it has open. */
export function discardLayer(ctx: Context, chainId: string): void {
  const target = storePaths.layer(ctx, chainId);
  try {
    renameSync(target, `${target}-${randomBytes(4).toString('hex')}.tmp`);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`remove the layer ${chainId}`, error, { path: target });
  }
}

/** Writes the layers of this boot out, so that they count after the next one. One syncfs for all of them. */
export async function makeDurable(ctx: Context, names: readonly string[], olderThanMs = 0): Promise<void> {
  const now = Date.now();
  const due: LayerRecord[] = [];
  for (const name of names) {
    if (name.endsWith('.tmp')) continue;
    const record = layerRecord(ctx, name);
    if (record && !record.durable && now - record.made >= olderThanMs) due.push(record);
  }
  if (due.length === 0) return;
  const fd = openSync(storePaths.layers(ctx), 'r');
  try {
    await syncfs(fd);
  } finally {
    closeSync(fd);
  }
  for (const record of due) {
    const file = path.join(storePaths.layer(ctx, record.chainId), 'layer.json');
    // Not where it went meanwhile.
    if (existsSync(file)) writeRecord(file, { ...record, durable: true });
  }
  fsyncDirectory(storePaths.layers(ctx));
}

/**
 * Removes what crashes left among the layers and their locks, unless someone is at work on it.
 * @param names what is in the directory of layers
 * @param locks what is in the directory of locks
 */
export async function sweepLayers(
  ctx: Context,
  names: readonly string[],
  locks: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (!name.endsWith('.tmp')) continue;
    const lockFile = storePaths.lock(ctx, `layer-${name.slice(0, -'.tmp'.length)}`);
    using lock = tryAcquireLock(lockFile);
    if (!lock) continue;
    await removeTree(path.join(storePaths.layers(ctx), name));
    rmSync(lockFile, { force: true });
  }
  for (const name of locks) {
    if (!name.startsWith('layer-')) continue;
    const lockFile = storePaths.lock(ctx, name);
    using lock = tryAcquireLock(lockFile);
    if (lock) rmSync(lockFile, { force: true });
  }
}
