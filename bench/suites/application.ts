/** Real programs and their own load generators, the same Debian files bare and in containers. Time for a request. */
import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { RunOptions } from '../../src/index.js';
import { bareNumber, debian, number } from '../debian.js';
import type { Row, Side } from '../harness.js';
import { runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';

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
  nginx: `
mkdir -p "$2/www"; head -c 1024 /dev/zero > "$2/www/page"
cat > /tmp/nginx.conf <<CONF
daemon on; user root; worker_processes 1; pid /tmp/nginx.pid; error_log stderr crit;
events { worker_connections 512; }
http { access_log off; client_body_temp_path /tmp; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u;
  scgi_temp_path /tmp/s; server { listen 127.0.0.1:18080; root $2/www; } }
CONF
nginx -c /tmp/nginx.conf
timeout -s INT "$1" wrk -t 1 -c 16 -d 60s http://127.0.0.1:18080/page > /tmp/wrk || true
nginx -c /tmp/nginx.conf -s quit 2>/dev/null
awk '/^Requests.sec/ { printf "%d\\n", 1e9 / $2 }' /tmp/wrk`,
  node: `
node -e 'require("http").createServer((q, a) => a.end("hello")).listen(18081, "127.0.0.1")' &
/net wait 127.0.0.1 20 18081 >/dev/null
timeout -s INT "$1" wrk -t 1 -c 16 -d 60s http://127.0.0.1:18081/ > /tmp/wrk || true
kill %1
awk '/^Requests.sec/ { printf "%d\\n", 1e9 / $2 }' /tmp/wrk`,
  sqlite: `
rm -f "$2/db"
start=$(date +%s%N)
sqlite3 "$2/db" "PRAGMA journal_mode=WAL; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
  INSERT INTO t SELECT i, hex(i * 7919) FROM n; CREATE INDEX x ON t (b);
  SELECT count(*) FROM t AS p JOIN t AS q ON p.b = q.b;" >/dev/null
end=$(date +%s%N)
echo $(( (end - start) / $1 ))`,
} as const;

export async function applicationRows(setup: Setup): Promise<Row[]> {
  const { place } = setup;
  const tree = await debian(place);
  const row = (id: keyof typeof SCRIPTS, title: string, amount: number | string): Row => {
    const volume = path.join(place.scratch, id);
    const command = ['bash', '-c', SCRIPTS[id], 'bash', String(amount), '/data'];
    const side = (name: string, options: Partial<RunOptions>): Side => ({
      name,
      run: async () =>
        number(
          (
            await runHere(place, command, {
              rootfs: tree,
              mounts: [
                { type: 'tmpfs', target: '/tmp' },
                { source: volume, target: '/data' },
              ],
              ...options,
            })
          ).stdout,
        ),
    });
    // One sample takes seconds: a quick run leaves the peers to the network suite.
    const peers = setup.quick
      ? []
      : setup.peers.peers.filter((p) => ['crun', 'runc', 'podman', 'docker'].includes(p.name));
    return {
      suite: 'application',
      id,
      title,
      unit: 'ns',
      base: 'bare',
      rate: { amount: 1, unit: '/s' },
      rounds: setup.quick ? 7 : 21,
      sides: [
        { name: 'bare', run: () => bareNumber(tree, volume, command) },
        side('nsbox', {}),
        ...(setup.quick
          ? []
          : [
              side('nsbox --security-opt seccomp=unconfined', { securityOpt: ['seccomp=unconfined'] }),
              side('nsbox --userns=host', { request: { namespaces: { user: 'host' } } }),
              side('nsbox, data in the layer', { mounts: [{ type: 'tmpfs', target: '/tmp' }] }),
            ]),
        ...peers.map(
          (p): Side => ({
            name: p.name,
            run: async () =>
              number(await p.timer.output(p.argv(command, { rootfs: tree, volumes: { '/data': volume } }))),
          }),
        ),
      ],
    };
  };
  for (const id of Object.keys(SCRIPTS)) {
    await mkdir(path.join(place.scratch, id), { recursive: true });
    await chmod(path.join(place.scratch, id), 0o777);
  }
  const rows = [
    row('redis', 'redis: GET and SET by redis-benchmark, 20 clients', setup.quick ? 10_000 : 20_000),
    row('nginx', 'nginx: a page of 1 KiB by wrk, 16 connections', setup.quick ? '0.4' : '1'),
    row('sqlite', 'SQLite: rows inserted, indexed and joined', setup.quick ? 20_000 : 80_000),
  ];
  if (setup.quick) {
    setup.skip('PostgreSQL and Node', '--quick');
    return rows;
  }
  return [
    ...rows,
    row('postgres', 'PostgreSQL: pgbench -S, 4 clients', 1600),
    row('node', 'Node: an HTTP server of one line by wrk, 16 connections', '1'),
  ];
}
