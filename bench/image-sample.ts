/** Images to measure with: their layers as gzip tars, and the same as an OCI layout and an oci-archive. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** An image on disk. */
export interface ImageSample {
  layers: string[];
  /** Directory of the OCI layout; the image's tag in it is `bench`. */
  layout: string;
  /** oci-archive of the same. */
  archive: string;
}

/** A gzip layer of random and repeating content, half and half. */
export function makeLayer(archive: string, files: number, bytes: number): string {
  const tree = `${archive}.tree`;
  const repeating = Buffer.alloc(bytes / 2, 'nsbox ');
  for (let i = 0; i < files; i++) {
    const folder = path.join(tree, `d${Math.floor(i / 100)}`);
    if (i % 100 === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, `f${i}`), Buffer.concat([randomBytes(bytes / 2), repeating]));
  }
  pack(archive, tree, ['.']);
  rmSync(tree, { recursive: true, force: true });
  return archive;
}

/** Splits the root filesystem of a tar into eight layers, as a Dockerfile's steps leave it. */
export function splitRoot(tar: string, directory: string): string[] {
  const tree = path.join(directory, 'split');
  mkdirSync(tree);
  execFileSync('tar', ['-xpf', tar, '--xattrs', '--xattrs-include=*', '-C', tree]);
  const parts = [
    ['./usr/bin', './bin', './sbin', './lib', './lib64'],
    ['./usr/sbin'],
    ['./usr/share/doc', './usr/share/man', './usr/share/info'],
    ['./usr/share/locale', './usr/share/i18n', './usr/share/zoneinfo'],
    ['./usr/lib/x86_64-linux-gnu', './usr/lib/aarch64-linux-gnu'],
    ['./var'],
    ['./etc'],
  ];
  const exists = (part: string) => statSync(path.join(tree, part), { throwIfNoEntry: false }) !== undefined;
  const taken = parts.flat().filter(exists);
  const layers = parts.map((names, i) =>
    pack(path.join(directory, `split-${i}.tar.gz`), tree, names.filter(exists)),
  );
  const rest = taken.map((name) => `--exclude=${name}`);
  layers.push(pack(path.join(directory, 'split-rest.tar.gz'), tree, ['.'], rest));
  rmSync(tree, { recursive: true, force: true });
  return layers;
}

function pack(archive: string, tree: string, names: string[], more: string[] = []): string {
  const how = ['--create', '--use-compress-program=gzip -1', '--xattrs', '--xattrs-include=*'];
  execFileSync('tar', [...how, ...more, '--file', archive, '-C', tree, ...names], { stdio: 'ignore' });
  return archive;
}

/** Makes an image of layers that lie as gzip tars. */
export function makeImage(directory: string, name: string, layers: string[]): ImageSample {
  const layout = path.join(directory, name);
  const blobs = path.join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const oci = 'application/vnd.oci.image';
  const put = (mediaType: string, document: object) => {
    const data = Buffer.from(JSON.stringify(document));
    const hex = createHash('sha256').update(data).digest('hex');
    writeFileSync(path.join(blobs, hex), data);
    return { mediaType, digest: `sha256:${hex}`, size: data.length };
  };
  const hashOf = (command: string, file: string) =>
    execFileSync('sh', ['-c', `${command} "$1" | sha256sum`, 'sh', file], { encoding: 'utf8' }).slice(0, 64);
  const described = layers.map((file) => {
    const hex = hashOf('cat', file);
    linkSync(file, path.join(blobs, hex));
    return { mediaType: `${oci}.layer.v1.tar+gzip`, digest: `sha256:${hex}`, size: statSync(file).size };
  });
  const config = put(`${oci}.config.v1+json`, {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: layers.map((file) => `sha256:${hashOf('gzip -dc', file)}`) },
  });
  const mediaType = `${oci}.manifest.v1+json`;
  const manifest = put(mediaType, { schemaVersion: 2, mediaType, config, layers: described });
  const annotations = {
    'org.opencontainers.image.ref.name': 'bench',
    'io.containerd.image.name': 'docker.io/library/bench:1',
  };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  writeFileSync(path.join(layout, 'index.json'), JSON.stringify(index));
  writeFileSync(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const archive = `${layout}.tar`;
  execFileSync('tar', ['--create', '--file', archive, '-C', layout, '.']);
  return { layers, layout, archive };
}

/** Processor time of a process so far in ns and the most memory it had in bytes: for daemons, which no wait4 tells of. */
export function usageOf(pid: number): { cpu: number; peak: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  // Ticks of 10 ms: fields 14 and 15 of proc(5).
  const cpu = (Number(fields[11]) + Number(fields[12])) * 10_000_000;
  return { cpu, peak: Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024 };
}
