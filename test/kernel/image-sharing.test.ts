import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openImageStore } from '../../src/image/index.js';
import { CliRig } from '../support/cli.js';
import { makeTar, TestStore } from '../support/images.js';
import { BUSYBOX, noBusybox } from '../support/rootfs.js';

const SIZE = 8 << 20;

describe('layers of an image in its containers', { skip: noBusybox }, () => {
  const rig = noBusybox ? undefined! : new CliRig('sharing');
  after(() => rig?.[Symbol.asyncDispose]());

  /** Bytes of a file that are in the page cache. */
  const cached = (file: string) =>
    Number(
      execFileSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', file], { encoding: 'utf8' }),
    );

  const image = async () => {
    const archive = path.join(rig.box.directory, 'image.tar');
    if (existsSync(archive)) return;
    writeFileSync(
      archive,
      makeTar([
        { path: 'bin/', type: 'directory' },
        { path: 'bin/busybox', content: readFileSync(BUSYBOX), mode: 0o755 },
        { path: 'bin/sh', type: 'symlink', linkPath: 'busybox' },
        { path: 'bin/cat', type: 'symlink', linkPath: 'busybox' },
        { path: 'bin/sleep', type: 'symlink', linkPath: 'busybox' },
        { path: 'proc/', type: 'directory' },
        { path: 'big', content: Buffer.alloc(SIZE, 'shared ') },
      ]),
    );
    await rig.ok('import', archive, 'shared');
  };

  it('what one container read is in memory for another, once', {
    skip: !existsSync('/usr/bin/fincore') && 'fincore is missing',
  }, async () => {
    await image();
    const layers = path.join(rig.box.root, 'layers');
    const big = readdirSync(layers)
      .map((l) => path.join(layers, l, 'fs/big'))
      .find((f) => existsSync(f))!;
    execFileSync('dd', [`of=${big}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
    assert.equal(cached(big), 0, 'nothing of it is in memory');
    const run = ['run', '--network', 'none'];
    const other = await rig.ok(...run, '-d', 'shared', 'sleep', '100');
    assert.equal((await rig.ok(...run, '--rm', 'shared', 'cat', '/big')).length, SIZE);
    assert.equal(cached(big), SIZE, 'the pages are those of the layer');
    const pid = await rig.ok('inspect', '--format', '{{.State.Pid}}', other);
    assert.equal(cached(`/proc/${pid}/root/big`), SIZE, 'the other container has them without reading');
  });

  it('a container with --rm has a volatile overlay, one that is kept has not', async () => {
    await image();
    const root = (text: string) => text.split('\n').find((l) => l.split(' ')[4] === '/')!;
    const run = ['run', '--network', 'none'];
    assert.match(root(await rig.ok(...run, '--rm', 'shared', 'cat', '/proc/self/mountinfo')), /\bvolatile\b/);
    const kept = root(await rig.ok(...run, 'shared', 'cat', '/proc/self/mountinfo'));
    assert.match(kept, / overlay /);
    assert.doesNotMatch(kept, /\bvolatile\b/);
  });

  it('garbage collection leaves the layers of a container, also of one that is stopped', async () => {
    await image();
    const id = await rig.ok('create', '--network', 'none', 'shared', 'cat', '/big');
    await rig.ok('image', 'prune', '-af');
    await rig.ok('system', 'prune', '-f', '--filter', 'until=1h');
    assert.equal((await rig.ok('start', '-a', id)).length, SIZE);
  });
});

describe('garbage collection beside an import', () => {
  it('takes nothing of what is being brought', async () => {
    using store = new TestStore();
    const images = openImageStore(store.ctx);
    const tar = makeTar([{ path: 'file', content: Buffer.alloc(SIZE, 'x') }]);
    const collect = () => images.prune({ inUse: () => undefined });
    let over = false;
    const collecting = (async () => {
      while (!over) {
        await collect();
        await sleep(60);
      }
    })();
    async function* slowly() {
      for (let at = 0; at < tar.length; at += 1 << 20) {
        await collect();
        yield tar.subarray(at, at + (1 << 20));
      }
    }
    const image = await images.import({ stream: slowly() }, { reference: 'slow:1' });
    over = true;
    await collecting;
    assert.deepEqual((await images.verify()).damages, []);
    assert.equal(readFileSync(path.join(images.layerPaths(image)[0]!, 'file')).length, SIZE);
  });
});
