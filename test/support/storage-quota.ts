import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';
import { projectQuota } from '../../src/kernel/index.js';
import { NSBOX } from './cli.js';

/** --storage-opt size= on real filesystems in files, mounted through a loop device. */

const MiB = 1024 ** 2;

/** One filesystem with nsbox's root on it. */
export class QuotaDisk implements Disposable {
  readonly directory = mkdtempSync('/tmp/nsbox-test-quota-');
  readonly mount = path.join(this.directory, 'disk');
  readonly root = path.join(this.mount, 'root');
  readonly #env: NodeJS.ProcessEnv;

  /** @throws where this machine can't make or mount it */
  constructor(type: 'ext4' | 'xfs', options: string) {
    const image = path.join(this.directory, 'image');
    writeFileSync(image, '');
    truncateSync(image, 320 * MiB);
    const make =
      type === 'ext4' && options === 'prjquota' ? ['-q', '-O', 'quota,project', image] : ['-q', image];
    execFileSync(`mkfs.${type}`, make, { stdio: ['ignore', 'ignore', 'pipe'] });
    mkdirSync(this.mount);
    try {
      execFileSync('mount', ['-t', type, '-o', `loop,${options}`, image, this.mount], { stdio: 'pipe' });
    } catch (error) {
      rmSync(this.directory, { recursive: true, force: true });
      throw error;
    }
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
    this.#env = { ...env, NSBOX_ROOT: this.root, NSBOX_STATE: path.join(this.directory, 'state') };
  }

  nsbox(...args: string[]): { code: number | null; stdout: string; stderr: string } {
    const r = spawnSync(NSBOX, args, { env: this.#env, encoding: 'utf8', timeout: 120_000 });
    return { code: r.status, stdout: r.stdout, stderr: r.stderr };
  }

  ok(...args: string[]): string {
    const r = this.nsbox(...args);
    assert.equal(r.code, 0, `nsbox ${args.join(' ')}: ${r.stderr}${r.stdout}`);
    return r.stdout;
  }

  load(): void {
    this.ok('load', '-i', path.join(packageRoot(), 'dist/images/busybox.tar'));
  }

  [Symbol.dispose](): void {
    spawnSync('umount', [this.mount], { stdio: 'ignore' });
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Why a filesystem with project quotas can't be had here; undefined where it can. */
export function noQuotas(type: 'ext4' | 'xfs'): string | undefined {
  if (!['/usr/sbin', '/sbin'].some((d) => existsSync(`${d}/mkfs.${type}`))) return `there is no mkfs.${type}`;
  try {
    using _disk = new QuotaDisk(type, 'prjquota');
    return undefined;
  } catch (error) {
    return `this kernel mounts no ${type} with project quotas: ${(error as Error).message
      .split('\n')
      .find((l) => l.startsWith('mount:'))}`;
  }
}

/** A container's layer takes its size and no more, over restarts too; the next one has its own; rm gives the limit back. */
export function checkQuota(type: 'ext4' | 'xfs'): void {
  using disk = new QuotaDisk(type, 'prjquota');
  disk.load();
  const script =
    'test -e /first || dd if=/dev/zero of=/first bs=1M count=6 || exit 9; df -k / | tail -n 1 | tr -s " " | cut -d" " -f2; dd if=/dev/zero of=/big bs=1M count=20; echo "code $?"';
  const box = ['--network', 'none', '--storage-opt', 'size=8m', 'busybox', 'sh', '-c', script];
  const first = disk.nsbox('run', '--name', 'full', ...box);
  assert.match(first.stderr, /(No space left on device|Disk quota exceeded)/, first.stdout + first.stderr);
  assert.match(first.stdout, /^8192\ncode 1$/m);
  const record = JSON.parse(
    readFileSync(
      path.join(disk.root, 'containers', disk.ok('ps', '-aq', '--no-trunc').trim(), 'container.json'),
      'utf8',
    ),
  ) as { project: number };
  const quota = projectQuota(disk.root, record.project);
  assert.equal(quota.limit, 8 * MiB);
  assert.ok(quota.used > 6 * MiB && quota.used <= 8 * MiB, `${quota.used} bytes used`);
  // Full still when it is started again.
  assert.match(disk.ok('start', '-a', 'full'), /^8192\ncode 1$/m);
  disk.ok('rm', 'full');
  assert.deepEqual(projectQuota(disk.root, record.project), { limit: 0, used: 0, inodes: 0 });
  // Another one has its own eight, and no trace of the first.
  assert.match(disk.nsbox('run', '--rm', ...box).stdout, /^8192\ncode 1$/m);
}
