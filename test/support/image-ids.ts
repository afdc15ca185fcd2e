import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { FeatureName } from '../../src/host/index.js';
import { CliRig } from './cli.js';
import { makeTar, writeLayout } from './images.js';
import { BUSYBOX } from './rootfs.js';

/** More than one `lowerdir` string of fsconfig(2) has room for. */
export const LAYERS = 60;
/** Node is slow in the test VM. */
const SLOW_MS = 240_000;

/** An image of many layers, all of root's: busybox at the bottom, each further one with a file and its own /top. */
function manyLayers(): Buffer[] {
  const tools = makeTar([
    { path: 'bin/', type: 'directory' },
    { path: 'bin/busybox', mode: 0o755, content: readFileSync(BUSYBOX) },
    { path: 'layers/', type: 'directory' },
    { path: 'tmp/', type: 'directory' },
  ]);
  const more = Array.from({ length: LAYERS - 1 }, (_, i) =>
    makeTar([
      { path: `layers/${i}`, content: `${i}\n` },
      { path: 'top', content: `layer ${i}\n` },
    ]),
  );
  return [tools, ...more];
}

/** Loads layers as an image; its id. */
export async function loadLayers(rig: CliRig, layers: readonly Buffer[]): Promise<string> {
  const layout = path.join(rig.box.directory, 'layout');
  writeLayout(layout, layers);
  const r = await rig.nsbox(['load', '-i', layout], { timeoutMs: SLOW_MS });
  const id = /sha256:[0-9a-f]{64}/.exec(r.stdout)?.[0];
  assert.ok(id, r.stderr + r.stdout);
  return id;
}

/** Makes nsbox in this rig's state directory believe that the kernel lacks features, through the facts it keeps. */
export async function without(rig: CliRig, features: readonly FeatureName[]): Promise<void> {
  await rig.ok('info');
  const file = path.join(rig.box.state, 'host.json');
  const cache = JSON.parse(readFileSync(file, 'utf8'));
  for (const name of features) cache.facts.features[name].have = false;
  writeFileSync(file, JSON.stringify(cache));
}

/**
 * A container of an image has a user namespace of its own and root's files in it, on whatever way overlayfs is made.
 * @param lacks features that are taken away from this kernel
 */
export async function checkImageIds(lacks: readonly FeatureName[] = []): Promise<void> {
  await using rig = new CliRig('image-ids');
  const run = async (...args: string[]): Promise<string> => {
    const r = await rig.nsbox(args, { timeoutMs: SLOW_MS });
    assert.equal(r.code, 0, `nsbox ${args.join(' ')}: ${r.stderr}${r.stdout}`);
    assert.equal(r.stderr, '', `nsbox ${args.join(' ')}`);
    return r.stdout.trimEnd();
  };
  if (lacks.length > 0) await without(rig, lacks);
  const image = await loadLayers(rig, manyLayers());
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');

  const script = [
    'b=/bin/busybox',
    '$b cat /proc/self/uid_map',
    '$b stat -c "%u:%g" /bin/busybox /layers/7',
    '$b ls /layers | $b wc -l',
    '$b cat /top',
    'echo new >> /layers/7; $b rm /layers/8; $b mkdir /made; echo x > /made/file',
    '$b stat -c "%u:%g" /layers/7 /made/file',
    '$b ls /layers | $b wc -l',
    '$b cat /layers/7',
    '$b mknod /layers/null c 1 3 2>/dev/null || echo refused',
  ].join('\n');
  const box = ['--network', 'none', '--name', 'many', image, '/bin/busybox', 'sh', '-c', script];
  const [map, ...seen] = (await run('run', ...box)).split('\n');
  const [inside, outside, size] = map!.trim().split(/\s+/).map(Number);
  assert.equal(inside, 0);
  assert.ok(outside! > 0 && size === 65536, map);
  assert.deepEqual(seen, [
    '0:0',
    '0:0',
    String(LAYERS - 1),
    `layer ${LAYERS - 2}`,
    '0:0',
    '0:0',
    String(LAYERS - 2),
    '7',
    'new',
    'refused',
  ]);
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), mounts, 'the host sees no mount of ours');
  const containers = path.join(rig.box.root, 'containers');
  const upper = path.join(containers, readdirSync(containers)[0]!, 'upper');
  assert.equal(statSync(path.join(upper, 'made/file')).uid, outside, 'what root inside writes is its range');

  // The stopped container's view, and a second start over what the first has left.
  const copy = path.join(rig.box.directory, 'copy');
  await run('cp', 'many:/layers/7', copy);
  assert.equal(readFileSync(copy, 'utf8'), '7\nnew\n');
  writeFileSync(copy, 'top of all\n');
  await run('cp', copy, 'many:/top');
  await run('commit', 'many', 'again');
  const again = ['--rm', '--network', 'none', 'again', '/bin/busybox', 'cat', '/top', '/layers/7'];
  assert.equal(await run('run', ...again), 'top of all\n7\nnew');
}
