/** What it costs to put an image's layer on disk, beside tar itself and other engines. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Row, Side } from '../harness.js';
import { commandLine } from '../nsbox.js';
import type { Setup } from '../setup.js';

interface Sample {
  id: string;
  title: string;
  files: number;
  bytes: number;
}

/** A gzip layer of random and repeating content, half and half. */
function makeLayer(directory: string, sample: Sample): string {
  const tree = path.join(directory, `image-${sample.id}`);
  const repeating = Buffer.alloc(sample.bytes / 2, 'nsbox ');
  for (let i = 0; i < sample.files; i++) {
    const folder = path.join(tree, `d${Math.floor(i / 100)}`);
    if (i % 100 === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, `f${i}`), Buffer.concat([randomBytes(sample.bytes / 2), repeating]));
  }
  const archive = `${tree}.tar.gz`;
  execFileSync('tar', ['--create', '--use-compress-program=gzip -1', '--file', archive, '-C', tree, '.']);
  rmSync(tree, { recursive: true, force: true });
  return archive;
}

export function imageRows(setup: Setup): Row[] {
  const { place, timer, peers } = setup;
  const samples: Sample[] = [
    { id: 'small', title: 'small files', files: setup.quick ? 4000 : 20_000, bytes: 2048 },
    { id: 'large', title: 'large files', files: setup.quick ? 10 : 50, bytes: 10 << 20 },
  ];
  const out = path.join(place.directory, 'image-out');
  const podman = ['podman', '--root', path.join(out, 'podman'), '--runroot', path.join(out, 'podman-run')];
  return samples.map((sample): Row => {
    const archive = makeLayer(place.directory, sample);
    // Each side begins with nothing: what an earlier round left would be found and skipped.
    const fresh = (command: readonly string[]) => async () => {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out);
      return (await timer.run(command)).wall;
    };
    const own = { ...place, root: path.join(out, 'root'), state: path.join(out, 'state') };
    const sides: Side[] = [
      { name: 'tar -xzf', run: fresh(['tar', '-xzf', archive, '-C', out]) },
      { name: 'nsbox import', run: fresh(commandLine(own, 'import', archive, 'bench:1')) },
    ];
    if (peers.peers.some((p) => p.name.startsWith('podman'))) {
      sides.push({ name: 'podman import', run: fresh([...podman, 'import', '-q', archive, 'bench:1']) });
    }
    return {
      suite: 'image',
      id: `image-${sample.id}`,
      title: `A layer of ${sample.files} ${sample.title}, unpacked`,
      unit: 'ns',
      base: 'tar -xzf',
      rounds: setup.quick ? 3 : 7,
      sides,
      close: async () => {
        rmSync(out, { recursive: true, force: true });
        rmSync(archive, { force: true });
      },
    };
  });
}
