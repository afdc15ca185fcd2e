import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { NSBOX } from '../support/cli.js';
import { noBusybox, TestRoot } from '../support/rootfs.js';

/**
 * Runs a script with nsbox's root on a small filesystem of its own, in a private mount namespace: nothing of it is
 * left when the script has ended.
 */
function onSmallDisk(
  box: TestRoot,
  size: string,
  script: string,
): { code: number | null; stdout: string; stderr: string } {
  mkdirSync(box.root, { recursive: true });
  const r = spawnSync(
    'unshare',
    [
      '-m',
      '-n',
      '--propagation',
      'private',
      'sh',
      '-c',
      `ip link set lo up; mount -t tmpfs -o size=${size} small "$NSBOX_ROOT" && ${script}`,
    ],
    {
      encoding: 'utf8',
      env: { ...process.env, NSBOX_ROOT: box.root, NSBOX_STATE: box.state, NSBOX, ROOTFS: box.rootfs },
      cwd: box.directory,
      timeout: 60_000,
    },
  );
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

describe('a full disk', { skip: noBusybox }, () => {
  test('import says so in one line, and leaves no image and no part of one', () => {
    using box = new TestRoot('full');
    writeFileSync(path.join(box.directory, 'big'), Buffer.alloc(12 << 20, 1));
    spawnSync('tar', ['-C', box.directory, '-cf', path.join(box.directory, 'big.tar'), 'big']);
    const r = onSmallDisk(
      box,
      '4m',
      '"$NSBOX" import big.tar big:1; echo "code $?"; "$NSBOX" images -q big; du -sk "$NSBOX_ROOT" | cut -f1',
    );
    assert.match(r.stdout, /^code 1$/m, r.stderr);
    assert.match(r.stderr, /no space left on device/);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
    const kilobytes = Number(r.stdout.trim().split('\n').at(-1));
    assert.ok(kilobytes < 2500, `${kilobytes} KiB are left of the import`);
  });

  test('run says so, and leaves no container', () => {
    using box = new TestRoot('full');
    const r = onSmallDisk(
      box,
      '256k',
      'dd if=/dev/zero of="$NSBOX_ROOT/fill" bs=1k 2>/dev/null; "$NSBOX" run --network none --rootfs "$ROOTFS" true; echo "code $?"; rm "$NSBOX_ROOT/fill"; "$NSBOX" ps -aq; ls "$NSBOX_ROOT/names" "$NSBOX_ROOT/ids" 2>/dev/null | grep -v -e : -e "^$"; "$NSBOX" run --rm --network none --rootfs "$ROOTFS" echo works',
    );
    assert.match(r.stdout, /^code 125\nworks\n$/, r.stdout + r.stderr);
    assert.match(r.stderr, /no space left on device/);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
  });

  test('a program that fills it fails by itself, and its logs do not stop it', () => {
    using box = new TestRoot('full');
    const r = onSmallDisk(
      box,
      '1m',
      '"$NSBOX" run --network none --name filler -v "$NSBOX_ROOT/d:/d" --rootfs "$ROOTFS" sh -c "dd if=/dev/zero of=/d/fill bs=64k count=100; yes text | head -c 300000; echo end >&2"; echo "code $?"; "$NSBOX" rm filler; "$NSBOX" ps -aq',
    );
    assert.match(r.stderr, /No space left on device/);
    assert.match(r.stderr, /^end$/m);
    assert.match(r.stdout, /code 0\nfiller\n$/);
  });

  test('the end of a program that filled it is not lost', () => {
    using box = new TestRoot('full');
    const status = '"$NSBOX" ps -a --format "{{.Status}}" | cut -c1-10';
    const r = onSmallDisk(
      box,
      '1m',
      `"$NSBOX" run --network none --name filler -v "$NSBOX_ROOT/d:/d" --rootfs "$ROOTFS" sh -c "yes >/d/fill; exit 3" 2>/dev/null; echo "code $?"; ${status}; rm "$NSBOX_ROOT/d/fill"; ${status}; ls "$NSBOX_ROOT"/containers/*/exit.json | wc -l; "$NSBOX" wait filler`,
    );
    assert.equal(r.stdout, 'code 3\nExited (3)\nExited (3)\n1\n3\n', r.stderr);
  });
});
