import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Effect } from '../support/limit-effects.js';
import { EFFECTS } from '../support/limit-effects.js';
import { Rig } from '../support/rig.js';

/**
 * Runs inside the test VM: every check in one process (a start of Node takes seconds there), one JSON line each on
 * stdout, which resources.test.ts turns into tests.
 */
export interface GuestResult {
  name: string;
  ms: number;
  skipped?: string;
  error?: string;
}

/** 512 MiB of swap in a file, so that swap limits can be tried. */
function addSwap(): void {
  const file = '/var/tmp/swap';
  execFileSync('/bin/sh', [
    '-c',
    `fallocate -l 512M ${file} && chmod 600 ${file} && mkswap -q ${file} && swapon ${file}`,
  ]);
}

async function check(effect: Effect, rig: Rig): Promise<GuestResult> {
  const start = performance.now();
  const ms = (): number => Math.round(performance.now() - start);
  try {
    const skipped = effect.skip?.(rig);
    if (skipped) return { name: effect.name, ms: ms(), skipped };
    await effect.run(rig);
    return { name: effect.name, ms: ms() };
  } catch (error) {
    return { name: effect.name, ms: ms(), error: (error as Error).stack ?? String(error) };
  }
}

async function main(): Promise<void> {
  if (!existsSync('/run/vm')) throw new Error('this file is for the test VM: npm run test:vm');
  addSwap();
  const rig = new Rig();
  for (const effect of EFFECTS) {
    process.stdout.write(`${JSON.stringify(await check(effect, rig))}\n`);
  }
  await rig[Symbol.asyncDispose]();
}

await main();
