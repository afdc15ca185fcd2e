import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';
import { CliRig } from './cli.js';

/**
 * nsbox in a container of nsbox: the outer one is --privileged, with the machine's programs and this checkout mounted;
 * its script runs the inner ones.
 */
const PRELUDE = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin NSBOX_ROOT=/tmp/root NSBOX_STATE=/run/nsbox
mkdir -p /tmp/fs/bin /tmp/fs/proc /tmp/fs/dev /tmp/fs/sys /tmp/fs/tmp
cp /usr/bin/busybox /tmp/fs/bin/ && ln -s busybox /tmp/fs/bin/sh
nsbox() { ${'$'}NSBOX "$@"; }
box() { nsbox run --network none "$@"; }
cg=/sys/fs/cgroup
`;

/** Runs a script in the outer container; its output, both streams in one. */
async function inContainer(rig: CliRig, script: string): Promise<string> {
  const fs = path.join(rig.box.directory, 'outer');
  for (const d of ['proc', 'sys', 'dev', 'etc', 'tmp', 'usr', 'run', 'var', 'work']) {
    mkdirSync(path.join(fs, d), { recursive: true });
  }
  for (const link of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${link}`, path.join(fs, link));
  const node = path.dirname(path.dirname(process.execPath));
  const mounts = ['/usr:/usr:ro', '/etc:/etc:ro', `${packageRoot()}:/work:ro`];
  if (!node.startsWith('/usr')) mounts.push(`${node}:/var/node:ro`);
  const flags = [
    '--privileged',
    '--network',
    'none',
    '--tmpfs',
    '/tmp:exec',
    '--tmpfs',
    '/run',
    '--tmpfs',
    '/var',
  ];
  const env = ['-e', 'NSBOX=/work/bin/nsbox'];
  const where = node.startsWith('/usr') ? '' : 'export PATH=/var/node/bin:$PATH\n';
  const r = await rig.nsbox(
    [
      'run',
      '--rm',
      ...flags,
      ...env,
      ...mounts.flatMap((m) => ['-v', m]),
      '--rootfs',
      fs,
      'sh',
      '-c',
      `exec 2>&1${PRELUDE}${where}${script}`,
    ],
    { timeoutMs: 240_000 },
  );
  assert.equal(r.stderr, '');
  return r.stdout;
}

/** What holds on every host: inner containers run, are paused, stopped and removed, whatever happened to their groups. */
export async function checkNestedLife(): Promise<void> {
  await using rig = new CliRig('nested');
  const out = await inContainer(
    rig,
    `
box --rm --rootfs /tmp/fs sh -c 'echo ran as $$'
id=$(box -d --name gone --rootfs /tmp/fs sh -c 'exec busybox sleep 1000')
group=$cg/nsbox/$id
test -d $group && echo grouped
kill -9 $(busybox sed 's/.*"monitorPid":\\([0-9]*\\).*/\\1/' $NSBOX_STATE/containers/$id/running.json)
while busybox grep -q 'populated 1' $group/cgroup.events 2>/dev/null; do busybox usleep 20000; done
busybox rmdir $group 2>/dev/null
nsbox rm -f gone
id=$(box -d --name busy --rootfs /tmp/fs sh -c 'exec busybox sleep 1000')
group=$cg/nsbox/$id
busybox sleep 1000 & other=$!
echo $other > $group/cgroup.procs
nsbox rm -f busy
wait $other; echo "the other ended with $?"
test -e $group || echo removed
id=$(box -d --name below --cgroup-parent /a/b --rootfs /tmp/fs sh -c 'exec busybox sleep 1000')
test -d $cg/a/b/$id && echo below
nsbox pause below; nsbox rm -f below
test -e $cg/a/b/$id || echo gone from below
nsbox ps -aq
`,
  );
  assert.equal(
    out,
    'ran as 1\ngrouped\ngone\nbusy\nthe other ended with 137\nremoved\nbelow\nbelow\nbelow\ngone from below\n',
  );
}

/** With controllers: limits of inner containers hold within the outer's, and a threaded root is told. */
export async function checkNestedLimits(): Promise<void> {
  await using rig = new CliRig('nested');
  const out = await inContainer(
    rig,
    `
mkdir $cg/t && echo threaded > $cg/t/cgroup.type
box --rm -m 32m --rootfs /tmp/fs true
rmdir $cg/t
box --rm -m 32m --pids-limit 7 --userns host --rootfs /tmp/fs sh -c 'cd /sys/fs/cgroup; busybox cat memory.max pids.max'
box --name hog -m 24m --memory-swap 24m --userns host --rootfs /tmp/fs sh -c 'busybox dd if=/dev/zero of=/dev/null bs=200M count=1'
echo "code $?"
nsbox inspect --format '{{.State.OOMKilled}}' hog
nsbox rm hog
test -e $cg/nsbox || echo nothing left
`,
  );
  const lines = out.trim().split('\n');
  assert.match(lines.shift() ?? '', /is of type "domain threaded": it cannot hand controllers down/);
  assert.deepEqual(lines, ['33554432', '7', 'code 137', 'true', 'hog', 'nothing left']);
}

/** Where the controllers are bound to v1, which the outer container doesn't see: a limit is refused with the reason. */
export async function checkNestedRefusal(): Promise<void> {
  await using rig = new CliRig('nested');
  const out = await inContainer(
    rig,
    `
box --rm -m 32m --rootfs /tmp/fs true; echo "code $?"
box --rm -m 32m --force-limits=warn --rootfs /tmp/fs sh -c 'echo ran'
`,
  );
  assert.match(
    out,
    /cannot set memory.max to 33554432: the memory controller is bound to a cgroup v1 hierarchy/,
  );
  assert.match(out, /code 125\n/);
  assert.match(out, /the container runs without this limit\nran\n$/);
}
