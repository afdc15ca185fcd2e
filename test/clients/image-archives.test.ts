import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { CliRig } from '../support/cli.js';

/** Archives that other programs write load and run here, and what nsbox saves loads there. */

const BUSYBOX = path.join(packageRoot(), 'dist/images/busybox.tar');
const directory = mkdtempSync('/tmp/nsbox-test-archives-');
const at = (name: string) => path.join(directory, name);
let rig: CliRig;

const storage = ['--root', at('c/root'), '--runroot', at('c/run'), '--storage-driver', 'vfs'];

function must(command: string, args: string[], input?: Buffer): string {
  const r = spawnSync(command, args, { encoding: 'utf8', input, maxBuffer: 1 << 26, timeout: 50_000 });
  assert.equal(r.status, 0, `${command} ${args.join(' ')}: ${r.stderr}${r.error?.message ?? ''}`);
  return r.stdout.trim();
}
const podman = (...args: string[]) => must('podman', [...storage, ...args]);
const buildah = (...args: string[]) => must('buildah', [...storage, ...args]);
const skopeo = (...args: string[]) => must('skopeo', args);

before(async () => {
  rig = new CliRig('archives');
  // Two layers: busybox, and a program on it; made by buildah.
  podman('load', '-q', '-i', BUSYBOX);
  const work = buildah('from', '--pull-never', 'busybox');
  mkdirSync(at('more'));
  execFileSync('sh', ['-c', `printf '#!/bin/sh\\necho it runs\\n' > more/hi; chmod 755 more/hi`], {
    cwd: directory,
  });
  buildah('copy', work, at('more'), '/opt');
  buildah('config', '--cmd', '/opt/hi', '--label', 'by=buildah', work);
  buildah('commit', '-q', work, 'made:1');
  podman('save', '-q', '--format', 'oci-archive', '-o', at('made.tar'), 'made:1');
});
after(async () => {
  // Layers of vfs have files that only their own tool names.
  spawnSync('podman', [...storage, 'system', 'reset', '-f']);
  await rig?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

/** Loads, runs, and removes again. */
async function loadsAndRuns(source: string, name: string | undefined): Promise<string> {
  const said = await rig.ok('load', '-i', source);
  const shown = /^Loaded image(?: ID)?: (.+)$/m.exec(said)?.[1];
  if (name !== undefined) assert.equal(shown, name, source);
  const id = (await rig.ok('image', 'inspect', '--format', '{{.Id}}', shown!)).trim();
  assert.equal(await rig.ok('run', '--rm', '--network', 'none', shown!), 'it runs', source);
  await rig.ok('rmi', '-f', shown!);
  return id;
}

test('buildah and podman: docker-archive, oci-archive, oci-dir and docker-dir load and run', async () => {
  const id = podman('image', 'inspect', '--format', '{{.Id}}', 'made:1');
  for (const format of ['docker-archive', 'oci-archive', 'oci-dir', 'docker-dir']) {
    podman('save', '-q', '--format', format, '-o', at(format), 'made:1');
    const named = format === 'docker-archive' || format === 'oci-archive' ? 'localhost/made:1' : undefined;
    const loaded = await loadsAndRuns(at(format), named);
    // Docker's forms are converted by podman, config and all.
    if (format.startsWith('oci')) assert.equal(loaded, `sha256:${id}`);
  }
  // By its transport, one tag of the layout.
  await loadsAndRuns(`dir:${at('docker-dir')}`, undefined);
});

test('several images in one archive, of podman and of nsbox', async () => {
  podman('save', '-q', '-m', '-o', at('many.tar'), 'made:1', 'busybox');
  const said = await rig.ok('load', '-i', at('many.tar'));
  assert.deepEqual(
    said.split('\n').sort(),
    ['Loaded image: busybox:latest', 'Loaded image: localhost/made:1'].sort(),
  );
  assert.equal(await rig.ok('run', '--rm', '--network', 'none', 'localhost/made:1'), 'it runs');
  await rig.ok('tag', 'localhost/made:1', 'localhost/made:2');

  for (const format of ['docker-archive', 'oci-archive']) {
    await rig.ok(
      'save',
      '--format',
      format,
      '-o',
      at(`ours-${format}.tar`),
      'localhost/made:1',
      'localhost/made:2',
      'busybox',
    );
  }
  const ids = await rig.ok('images', '--no-trunc', '--format', '{{.ID}}', 'localhost/made');
  podman('rmi', '-f', '-a');
  podman('load', '-q', '-i', at('ours-docker-archive.tar'));
  for (const name of ['localhost/made:1', 'localhost/made:2', 'busybox']) podman('image', 'exists', name);
  assert.equal(
    `sha256:${podman('image', 'inspect', '--format', '{{.Id}}', 'localhost/made:2')}`,
    ids.split('\n')[0],
  );
  // One of several, by its name within.
  skopeo(
    'copy',
    '-q',
    `docker-archive:${at('ours-docker-archive.tar')}:localhost/made:2`,
    `dir:${at('picked')}`,
  );
  await rig.ok('rmi', '-f', 'localhost/made:1', 'localhost/made:2');
  await rig.ok(
    'image',
    'cp',
    '-q',
    `docker-archive:${at('ours-docker-archive.tar')}:localhost/made:2`,
    'picked:1',
  );
  assert.equal(await rig.ok('run', '--rm', '--network', 'none', 'picked:1'), 'it runs');
  await rig.ok('rmi', '-f', 'picked:1');
  assert.match(await rig.ok('load', '-i', at('ours-oci-archive.tar')), /localhost\/made:2/);
  podman('load', '-q', '-i', BUSYBOX);
  podman('load', '-q', '-i', at('ours-docker-archive.tar'));
  podman('tag', 'localhost/made:1', 'made:1');
});

test('skopeo: oci, dir and docker-archive of one image are one image; standard input too', async () => {
  await rig.ok('load', '-q', '-i', at('made.tar'));
  const source = `oci-archive:${at('made.tar')}`;
  skopeo('copy', '-q', source, `oci:${at('s-oci')}:v1`);
  skopeo('copy', '-q', source, `dir:${at('s-dir')}`);
  skopeo('copy', '-q', source, `docker-archive:${at('s-docker.tar')}:made:3`);
  const ids = [
    await loadsAndRuns(`oci:${at('s-oci')}:v1`, undefined),
    await loadsAndRuns(at('s-dir'), undefined),
  ];
  assert.equal(new Set(ids).size, 1);
  await loadsAndRuns(at('s-docker.tar'), 'made:3');
  const gz = execFileSync('gzip', ['-c', at('s-docker.tar')], { maxBuffer: 1 << 26 });
  const r = await rig.nsbox(['load'], { input: gz });
  assert.match(r.stdout, /Loaded image: made:3/, r.stderr);
  await rig.ok('rmi', 'made:3');
});

test('umoci: what it repacks runs, and it unpacks what nsbox copied', async () => {
  const layout = at('umoci');
  skopeo('copy', '-q', `oci-archive:${at('made.tar')}`, `oci:${layout}:base`);
  must('umoci', ['insert', '--image', `${layout}:base`, '--tag', 'more', at('more'), '/srv']);
  must('umoci', ['config', '--image', `${layout}:more`, '--config.cmd', '/srv/hi']);
  await loadsAndRuns(`oci:${layout}:more`, undefined);
  await rig.ok('load', '-q', '-i', at('made.tar'));
  await rig.ok('image', 'cp', '-q', 'localhost/made:1', `oci:${at('ours')}:1`);
  must('umoci', ['unpack', '--image', `${at('ours')}:1`, at('bundle')]);
  assert.match(readFileSync(at('bundle/rootfs/opt/hi'), 'utf8'), /it runs/);
});

const docker = existsSync('/usr/sbin/dockerd') && existsSync('/usr/bin/docker');
test('docker: docker save of one and of two images', {
  skip: docker ? false : 'docker.io is not installed',
}, async () => {
  const socket = ['-H', `unix://${at('d.sock')}`];
  const daemon: ChildProcess = spawn(
    'dockerd',
    [
      ...socket,
      '--data-root',
      at('d/data'),
      '--exec-root',
      at('d/exec'),
      '-p',
      at('d.pid'),
      '--iptables=false',
      '--bridge=none',
      '--storage-driver',
      'vfs',
    ],
    { stdio: 'ignore' },
  );
  try {
    for (let i = 0; spawnSync('docker', [...socket, 'version']).status !== 0; i++) {
      assert.ok(i < 300 && daemon.exitCode === null, 'dockerd answers');
      await new Promise((r) => setTimeout(r, 100));
    }
    podman('save', '-q', '-o', at('for-docker.tar'), 'made:1');
    must('docker', [...socket, 'load', '-q', '-i', at('for-docker.tar')]);
    must('docker', [...socket, 'tag', 'localhost/made:1', 'made:4']);
    podman('save', '-q', '-o', at('busybox-for-docker.tar'), 'busybox');
    must('docker', [...socket, 'load', '-q', '-i', at('busybox-for-docker.tar')]);
    must('docker', [...socket, 'save', '-o', at('docker-1.tar'), 'made:4']);
    await loadsAndRuns(at('docker-1.tar'), 'made:4');
    must('docker', [...socket, 'save', '-o', at('docker-2.tar'), 'made:4', 'busybox']);
    const said = await rig.ok('load', '-i', at('docker-2.tar'));
    assert.deepEqual(said.split('\n').sort(), ['Loaded image: busybox:latest', 'Loaded image: made:4']);
    assert.equal(await rig.ok('run', '--rm', '--network', 'none', 'made:4'), 'it runs');
    // And back.
    await rig.ok('save', '-o', at('back.tar'), 'made:4');
    must('docker', [...socket, 'rmi', 'made:4', 'localhost/made:1']);
    assert.match(must('docker', [...socket, 'load', '-i', at('back.tar')]), /made:4/);
  } finally {
    const gone = new Promise((resolve) => daemon.on('exit', resolve));
    daemon.kill();
    await gone;
    const netns = at('d/exec/netns');
    for (const n of existsSync(netns) ? readdirSync(netns) : []) spawnSync('umount', [path.join(netns, n)]);
  }
});
