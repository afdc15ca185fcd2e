import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Context } from '../base/index.js';
import { randomBytes } from '../base/index.js';
import { acquireLock, ensureDirectory, type FileLock, readRecord, tryAcquireLock } from '../state/index.js';
import { lockRecords, namesIn } from './records.js';

/**
 * A claim on blobs and layers that no record names yet, held while an image is brought. Garbage collection spares what
 * is claimed; a claim dies with its process.
 */
export class Lease implements Disposable {
  readonly #file: string;
  readonly #lock: FileLock;
  readonly #ctx: Context;
  readonly #keep: string[];
  private constructor(ctx: Context, file: string, lock: FileLock, keep: readonly string[]) {
    this.#ctx = ctx;
    this.#file = file;
    this.#lock = lock;
    this.#keep = [...keep];
  }

  /** @param keep digests of blobs and chain IDs; it is taken before the store is asked what it has of them */
  static async take(ctx: Context, keep: readonly string[]): Promise<Lease> {
    // With the records' lock, so that none appears between a collection's look at the leases and its sweep.
    using _records = await lockRecords(ctx);
    const directory = path.join(ctx.root, 'leases');
    ensureDirectory(directory);
    const file = path.join(directory, randomBytes(8).toString('hex'));
    const lock = await acquireLock(file);
    writeFileSync(file, JSON.stringify(keep));
    return new Lease(ctx, file, lock, keep);
  }

  /** Claims what became known only now: to be called before it can be seen in the store. */
  async add(...digests: string[]): Promise<void> {
    using _records = await lockRecords(this.#ctx);
    this.#keep.push(...digests);
    writeFileSync(this.#file, JSON.stringify(this.#keep));
  }

  [Symbol.dispose](): void {
    rmSync(this.#file, { force: true });
    this.#lock[Symbol.dispose]();
  }
}

/** Everything that living leases claim. Leases of dead processes are removed. The caller holds the records' lock. */
export function leased(ctx: Context): Set<string> {
  const out = new Set<string>();
  for (const name of namesIn(path.join(ctx.root, 'leases'))) {
    const file = path.join(ctx.root, 'leases', name);
    using lock = tryAcquireLock(file);
    if (lock) rmSync(file, { force: true });
    else for (const digest of readRecord<string[]>(file) ?? []) out.add(digest);
  }
  return out;
}
