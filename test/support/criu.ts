import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** Run in a directory of its own: apt with a list of trixie's packages alone, nothing of it touches this machine's. */
const FETCH = `
set -eu
mkdir -p lists/partial cache/archives/partial tree
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > sources.list
: > status
apt="apt-get -q -o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State=$PWD -o Dir::State::status=$PWD/status -o Dir::Cache=$PWD/cache -o APT::Sandbox::User=root"
$apt update
$apt -y --no-install-recommends --download-only install criu
for deb in cache/archives/*.deb; do dpkg-deb -x "$deb" tree; done
rm -rf lists cache
`;

/**
 * A criu that works on this machine's kernel: Debian's own, else that of Debian trixie with its own libraries, fetched
 * once (bookworm's 3.17 can't read the vDSO of newer kernels).
 * @returns the program, or why there is none
 */
export function workingCriu(): { file: string } | { reason: string } {
  const own = ['/usr/sbin/criu', '/usr/bin/criu'].find(existsSync);
  if (own && works(own)) return { file: own };
  const cache = path.join(process.env['NSBOX_CACHE'] ?? path.join(homedir(), '.cache/nsbox'), 'criu-trixie');
  const file = path.join(cache, 'criu');
  if (!existsSync(file)) {
    const making = `${cache}.${process.pid}`;
    mkdirSync(making, { recursive: true });
    const r = spawnSync('sh', ['-c', FETCH], { cwd: making, encoding: 'utf8', timeout: 240_000 });
    if (r.status !== 0) {
      rmSync(making, { recursive: true, force: true });
      return { reason: `criu cannot be fetched: ${r.stderr.trim().split('\n').at(-1)}` };
    }
    const libraries = readdirSync(path.join(making, 'tree/usr/lib')).find((d) => d.endsWith('-linux-gnu'))!;
    const loader = readdirSync(path.join(making, 'tree/usr/lib', libraries)).find((f) =>
      /^ld-linux.*\.so\.\d$/.test(f),
    )!;
    writeFileSync(
      path.join(making, 'criu'),
      `#!/bin/sh\nt=${cache}/tree/usr\nexec $t/lib/${libraries}/${loader} --library-path $t/lib/${libraries} $t/sbin/criu "$@"\n`,
    );
    chmodSync(path.join(making, 'criu'), 0o755);
    try {
      renameSync(making, cache);
    } catch {
      rmSync(making, { recursive: true, force: true }); // another test was quicker
    }
  }
  return works(file) ? { file } : { reason: `${file} check: this kernel can't checkpoint` };
}

function works(criu: string): boolean {
  return spawnSync(criu, ['check'], { cwd: '/tmp', stdio: 'ignore' }).status === 0;
}
