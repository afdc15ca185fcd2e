/** Real servers and their own load generators, the same Debian files bare and in containers. Time for a request. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { debianTar } from '../../rootfs-tools/debian.js';
import { type RunOptions, run } from '../../src/index.js';
import type { Row, Side } from '../harness.js';
import type { Setup } from '../setup.js';
import { output } from '../timer.js';

/** Prints nanoseconds for a request as its last line; $1 is how many requests, $2 a directory for data. */
const SCRIPTS = {
  redis: `
redis-server --port 0 --unixsocket /tmp/redis.sock --save "" --daemonize yes --logfile /dev/null --dir "$2" >/dev/null
while ! redis-cli -s /tmp/redis.sock ping >/dev/null 2>&1; do :; done
start=$(date +%s%N)
redis-benchmark -s /tmp/redis.sock -n "$1" -c 20 -t set,get -q >/dev/null
end=$(date +%s%N)
redis-cli -s /tmp/redis.sock shutdown nosave >/dev/null 2>&1
echo $(( (end - start) / (2 * $1) ))`,
  postgres: `
bin=/usr/lib/postgresql/15/bin
chown postgres "$2"
exec setpriv --reuid=postgres --regid=postgres --clear-groups sh -c '
  export PATH='$bin':$PATH PGHOST=/tmp
  [ -e "$2/db/PG_VERSION" ] || { initdb -D "$2/db" >/dev/null; first=1; }
  pg_ctl -w -D "$2/db" -o "-k /tmp -c listen_addresses= -c shared_buffers=64MB" -l /dev/null start >/dev/null
  [ -z "$first" ] || pgbench -q -i -s 2 postgres >/dev/null 2>&1
  pgbench -n -S -c 4 -t "$1" postgres | sed -n "s/^tps = \\([0-9.]*\\).*/\\1/p" > /tmp/tps
  pg_ctl -w -m fast -D "$2/db" stop >/dev/null
  awk "{ printf \\"%d\\n\\", 1e9 / \\$1 }" /tmp/tps' sh "$1" "$2"`,
};

export async function applicationRows(setup: Setup): Promise<Row[]> {
  const { place } = setup;
  const tar = await debianTar({ include: ['redis-server', 'redis-tools', 'nginx-light', 'postgresql'] });
  const debian = path.join(place.directory, 'debian');
  if (!existsSync(debian)) {
    await mkdir(debian, { mode: 0o755 });
    execFileSync('tar', ['-C', debian, '-xf', tar]);
  }
  const number = (text: string): number => {
    const value = Number(text.trim().split('\n').at(-1));
    if (!(value > 0)) throw new Error(`expected a time for each request, received ${JSON.stringify(text)}`);
    return value;
  };
  const row = (id: keyof typeof SCRIPTS, title: string, amount: number): Row => {
    const bare = `/bench-${id}`;
    const volume = path.join(place.scratch, id);
    const command = (directory: string): string[] => [
      'bash',
      '-c',
      SCRIPTS[id],
      'bash',
      String(amount),
      directory,
    ];
    // A mount namespace with proc and a tmp of its own, as the container has: the files are the same.
    const script =
      'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount -t tmpfs none "$0/tmp"; exec chroot "$0" "$@"';
    const inside = async (options: Partial<RunOptions>): Promise<number> => {
      const r = await run({
        rootfs: debian,
        root: place.root,
        state: place.state,
        command: command('/data'),
        mounts: [
          { type: 'tmpfs', target: '/tmp' },
          { source: volume, target: '/data' },
        ],
        ...options,
      });
      if (r.exitCode !== 0)
        throw new Error(`${id} ended with ${r.exitCode ?? r.signal}: ${r.stderr.trim().split('\n')[0]}`);
      return number(r.stdout);
    };
    const side = (name: string, options: Partial<RunOptions>): Side => ({ name, run: () => inside(options) });
    return {
      suite: 'application',
      id,
      title,
      unit: 'ns',
      base: 'bare',
      rounds: setup.quick ? 7 : 21,
      sides: [
        {
          name: 'bare',
          run: async () => {
            await mkdir(path.join(debian, bare), { recursive: true });
            const argv = [
              'unshare',
              '--mount',
              '--pid',
              '--fork',
              '--propagation',
              'private',
              'sh',
              '-ec',
              script,
            ];
            return number(await output([...argv, debian, ...command(bare)]));
          },
        },
        side('nsbox', {}),
        side('nsbox --security-opt seccomp=unconfined', { securityOpt: ['seccomp=unconfined'] }),
      ],
    };
  };
  for (const id of Object.keys(SCRIPTS)) {
    await mkdir(path.join(place.scratch, id), { recursive: true });
    await chmod(path.join(place.scratch, id), 0o777);
  }
  const many = setup.quick ? 1 : 4;
  return [
    row('redis', 'redis: GET and SET by redis-benchmark, 20 clients', 20_000 * many),
    row('postgres', 'PostgreSQL: pgbench -S, 4 clients', 1500 * many),
  ];
}
