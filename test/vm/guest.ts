import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkImageIds } from '../support/image-ids.js';
import type { Effect } from '../support/limit-effects.js';
import { EFFECTS } from '../support/limit-effects.js';
import { checkFlags } from '../support/limit-flags.js';
import { checkNestedLimits } from '../support/nested.js';
import { RAW_EFFECTS } from '../support/raw-limit-effects.js';
import { CONTAINER_CHECKS, Place } from '../support/resource-containers.js';
import { Rig } from '../support/rig.js';
import { checkQuota, noQuotas } from '../support/storage-quota.js';
import { noSystemd, SystemdHost } from '../support/systemd-host.js';
import { type GuestResult, print, report } from './report.js';

/** 512 MiB of swap in a file, so that swap limits can be tried. */
function addSwap(): void {
  const file = '/var/tmp/swap';
  execFileSync('/bin/sh', [
    '-c',
    `fallocate -l 512M ${file} && chmod 600 ${file} && mkswap -q ${file} && swapon ${file}`,
  ]);
}

const check = ({ name, skip, run }: Effect, rig: Rig): Promise<void> =>
  report(name, async () => {
    const skipped = skip?.(rig);
    if (!skipped) await run(rig);
    return skipped;
  });

/** A container's view: a cgroup namespace of its own, in a group that already holds processes. */
async function nested(): Promise<void> {
  const group = '/sys/fs/cgroup/outer';
  const view = path.join(import.meta.dirname, '../support/view-main.js');
  const script = [
    `mkdir -p ${group}`,
    `echo '+memory +pids +cpu +io' > /sys/fs/cgroup/cgroup.subtree_control`,
    `echo $$ > ${group}/cgroup.procs`,
    `exec unshare -C -m --propagation private sh -ec 'umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh "$@"`,
  ].join('; ');
  const out = execFileSync(
    '/bin/sh',
    ['-ec', script, 'sh', process.execPath, view, 'effects', 'pids:', 'memory: a hog'],
    {
      encoding: 'utf8',
    },
  );
  const result = JSON.parse(out) as { realRoot: boolean; results: { name: string; error?: string }[] };
  assert.equal(result.realRoot, false);
  assert.equal(result.results.length, 2);
  for (const one of result.results) assert.equal(one.error, undefined, `${one.name}: ${one.error}`);
}

/** Containers whose groups systemd makes: each check of systemd-main.ts as one result. */
async function withSystemd(): Promise<GuestResult[]> {
  const skipped = noSystemd();
  if (skipped) return [{ name: 'systemd', ms: 0, skipped }];
  const main = path.join(import.meta.dirname, '../support/systemd-main.js');
  try {
    await using host = await SystemdHost.boot('/sys/fs/cgroup');
    const out = await host.run([process.execPath, main], 240_000);
    return out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as GuestResult)
      .map((result) => ({ ...result, name: `systemd: ${result.name}` }));
  } catch (error) {
    return [{ name: 'systemd', ms: 0, error: (error as Error).stack ?? String(error) }];
  }
}

/** Runs inside the test VM: every check in one process, because a start of Node takes seconds there. */
async function main(): Promise<void> {
  if (!existsSync('/run/vm')) throw new Error('this file is for the test VM: npm run test:vm');
  addSwap();
  writeFileSync('/proc/sys/vm/nr_hugepages', '8');
  const rig = new Rig();
  const more: Effect[] = [
    { name: 'nested: limits inside a container whose root group holds processes', run: nested },
  ];
  for (const effect of [...EFFECTS, ...RAW_EFFECTS, ...more]) {
    await check(effect, rig);
  }
  await rig[Symbol.asyncDispose]();
  const place = new Place();
  for (const { name, skip, run } of CONTAINER_CHECKS) {
    const effect: Effect = {
      name: `container: ${name}`,
      skip: () => skip?.(place),
      run: () => run(place),
    };
    await check(effect, rig);
  }
  await place[Symbol.asyncDispose]();
  await check(
    { name: 'each flag of a limit is in the kernel’s file, and after an update', run: checkFlags },
    rig,
  );
  const inner: Effect = { name: 'nsbox in nsbox: limits of inner containers hold', run: checkNestedLimits };
  await check(inner, rig);
  await check(
    { name: 'an image of 60 layers has a user namespace of its own', run: () => checkImageIds() },
    rig,
  );
  for (const type of ['ext4', 'xfs'] as const) {
    const effect: Effect = {
      name: `--storage-opt size= on ${type}: the layer is full at its size`,
      skip: () => noQuotas(type),
      run: async () => checkQuota(type),
    };
    await check(effect, rig);
  }
  for (const result of await withSystemd()) print(result);
}

await main();
