import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { type CliResult, CliRig, collect, NSBOX } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox;

// Node's spawn gives sockets; a shell gives what people have: files, pipes, /dev/null.
describe('output of nsbox run in a shell', { skip }, () => {
  const rig = skip ? undefined! : new CliRig('out');
  after(() => rig?.[Symbol.asyncDispose]());

  /** A shell script in which `run` is nsbox run on the test's own root, and whose exit code is the pipeline's worst. */
  const sh = (script: string): Promise<CliResult> =>
    collect(
      spawn(
        'bash',
        [
          '-o',
          'pipefail',
          '-c',
          `run() { "$NSBOX" run --rm --network none --rootfs "$ROOTFS" "$@"; }; ${script}`,
        ],
        { env: { ...rig.env, NSBOX, ROOTFS: rig.box.rootfs }, cwd: rig.box.directory },
      ),
      { timeoutMs: 120_000 },
    );

  it('reaches a slow reader of a pipe whole, in order', async () => {
    const r = await sh('run seq 1 200000 | { sleep 1; cat; }');
    assert.deepEqual([r.code, r.stderr], [0, '']);
    assert.equal(r.stdout, Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join(''));
  });

  it('goes to files and to /dev/null, each stream to its own', async () => {
    const r = await sh("run sh -c 'echo out; echo err >&2; exit 7' > out.txt 2> err.txt");
    const read = (name: string) => readFileSync(path.join(rig.box.directory, name), 'utf8');
    assert.deepEqual([r.code, read('out.txt'), read('err.txt')], [7, 'out\n', 'err\n']);
    const none = await sh('run echo x > /dev/null');
    assert.deepEqual([none.code, none.stdout, none.stderr], [0, '', '']);
    await sh('run seq 1 200000 > big.txt');
    assert.equal(statSync(path.join(rig.box.directory, 'big.txt')).size, 1_288_895);
  });

  it('is appended to where the file is opened so', async () => {
    const r = await sh('echo first > log.txt; run echo second >> log.txt; cat log.txt');
    assert.equal(r.stdout, 'first\nsecond\n');
  });

  it('ends as by SIGPIPE when the reader goes', async () => {
    const r = await sh('run sh -c "for i in 1 2 3 4 5 6; do seq 1 100000; done" | head -n 1');
    assert.deepEqual([r.code, r.stdout], [141, '1\n']);
  });

  it('leaves the pipe as it was for those who share it', async () => {
    const r = await sh(
      '{ run echo x; grep flags: /proc/self/fdinfo/1 >&2; } | cat; { run -i cat < /dev/null; grep flags: /proc/self/fdinfo/1 >&2; } | cat',
    );
    assert.equal(r.stdout, 'x\n');
    const flags = r.stderr.match(/0\d+/g)!.map((text) => Number.parseInt(text, 8) & 0o4000);
    assert.deepEqual(flags, [0, 0]);
  });
});
