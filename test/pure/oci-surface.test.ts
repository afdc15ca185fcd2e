import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { helpText } from '../../src/oci/help.js';
import { oci } from '../../src/oci/oci.js';

const directory = mkdtempSync(path.join(tmpdir(), 'nsbox-oci-surface-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const CREATE =
  '-b= --bundle= --console-socket= --pid-file= --no-pivot --no-new-keyring --preserve-fds=1 --pidfd-socket= -f= --config=';
const CRIU =
  '--image-path= --work-path= --tcp-established --shell-job --file-locks --ext-unix-sk --lazy-pages --manage-cgroups-mode=soft --empty-ns=network --auto-dedup';

/** What engines call runc and crun with: `=` after those that take a value. */
const FLAGS: Record<string, string> = {
  create: `${CREATE} --no-subreaper`,
  run: `${CREATE} -d --detach --keep --no-subreaper`,
  start: '',
  state: '',
  kill: '-a --all',
  delete: '-f --force --regex',
  pause: '',
  resume: '',
  ps: '-f=json --format=json',
  list: '-f=json --format=json -q --quiet',
  events: '--stats --interval=1s',
  update:
    '-r= --resources= --memory=1 --memory-reservation=1 --memory-swap=1 --kernel-memory=1 --kernel-memory-tcp=1 --cpu-period=1 --cpu-quota=1 --cpu-burst=1 --cpu-rt-period=1 --cpu-rt-runtime=1 --cpu-share=1 --cpu-idle=1 --cpuset-cpus=0 --cpuset-mems=0 --blkio-weight=10 --pids-limit=1 --l3-cache-schema= --mem-bw-schema=',
  exec: '-p= --process= --console-socket= --pidfd-socket= --cwd= -e=A=1 --env=A=1 -t --tty -u=0 --user=0 -g=1 --additional-gids=1 -d --detach --pid-file= --process-label= --apparmor= --no-new-privs -c=CAP_KILL --cap=CAP_KILL --preserve-fds=1 --cgroup= --ignore-paused',
  spec: '-b= --bundle= --rootless',
  features: '',
  mounts: '',
  checkpoint: `${CRIU} --parent-path= --leave-running --pre-dump --tcp-skip-in-flight --link-remap --status-fd=3 --page-server=`,
  restore: `${CRIU} -b= --bundle= --console-socket= -d --detach --pid-file= --no-subreaper --no-pivot --lsm-profile= --lsm-mount-context=`,
};
const GLOBAL =
  '--debug --log= --log-format=text --root= --rootless=false --systemd-cgroup --cgroup-manager=cgroupfs --criu=';

const names = (flags: string) =>
  flags
    .split(' ')
    .filter(Boolean)
    .map((f) => f.replace(/=.*/, ''));
const has = (help: string, flag: string) => new RegExp(`[[|]${flag}[ |\\]]`).test(help);

test('every flag of the commands is in --help, and is read', async () => {
  const commands = Object.keys(FLAGS);
  const all = helpText(commands);
  for (const flag of [...names(GLOBAL), '-h', '--help', '-v', '--version']) {
    assert.ok(has(all, flag), `--help names ${flag}`);
  }
  for (const [command, flags] of Object.entries(FLAGS)) {
    const help = helpText(commands, command);
    assert.match(help, new RegExp(`^Usage: nsbox-oci .* ${command}( |\n)`));
    for (const flag of names(flags)) assert.ok(has(help, flag), `${command} --help names ${flag}`);
    // Flags are read before anything is done: the first that isn't known is the one that no command has.
    const log = path.join(directory, `${command}.log`);
    const given = [...GLOBAL.split(' '), `--log=${log}`, command, ...flags.split(' ').filter(Boolean)];
    assert.equal(await oci([...given, '--nonsense']), command === 'exec' ? 255 : 1);
    assert.match(readFileSync(log, 'utf8'), /flag provided but not defined: -nonsense/, command);
  }
});
