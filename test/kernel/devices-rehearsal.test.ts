import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { writeTree } from '../support/device-tree.js';
import { gpuTree } from '../support/gpu-tree.js';

/** The script for machines with a GPU, run against a fake driver: every check of it is carried out. */
const skip =
  process.geteuid?.() !== 0
    ? 'needs root'
    : process.arch !== 'x64'
      ? 'the fake driver is one for x86-64'
      : false;

test('npm run test:gpu, rehearsed', { skip }, () => {
  const dir = mkdtempSync('/tmp/nsbox-test-rehearsal-');
  try {
    const tree = gpuTree();
    // A program of the image's own C library, where the real one would be a binary of the driver's.
    tree.set('/usr/bin/nvidia-smi', {
      kind: 'file',
      content: '#!/bin/sh\necho "GPU 0: NVIDIA Test 100"\n',
      mode: 0o755,
    });
    writeTree(tree, dir);
    const root = packageRoot();
    const cc = (source: string, to: string, ...args: string[]) =>
      execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-o', to, path.join(root, source), ...args]);
    const library = `${dir}/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14`;
    cc('test/fixtures/fake-cuda.c', library, '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1');
    mkdirSync(path.join(root, 'build/gpu'), { recursive: true });
    cc('test/gpu/cuda-check.c', path.join(root, 'build/gpu/cuda-check'));
    const done = spawnSync(process.execPath, [path.join(root, 'build/js/test/gpu/main.js')], {
      env: { ...process.env, NSBOX_DRIVER_ROOT: dir, LD_LIBRARY_PATH: path.dirname(library) },
    });
    const out = done.stdout.toString() + done.stderr.toString();
    assert.equal(done.status, 0, out);
    assert.equal(out.match(/^ok /gm)?.length, /^skip .*daemon-reload/m.test(out) ? 6 : 7, out);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
