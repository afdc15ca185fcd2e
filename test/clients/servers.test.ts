import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { debianTar } from '../../rootfs-tools/debian.js';
import { packageRoot } from '../../src/base/index.js';

/** Real servers in a Debian made by rootfs-tools: detached, spoken to, stopped, restarted; data in a bind mount stays. */

const scratch = mkdtempSync('/tmp/nsbox-test-servers-');
const env = {
  ...process.env,
  NSBOX_ROOT: path.join(scratch, 'root'),
  NSBOX_STATE: path.join(scratch, 'state'),
  NODE_EXTRA_CA_CERTS: undefined,
};
const program = path.join(packageRoot(), 'bin/nsbox');

function nsbox(...argv: string[]): string {
  const r = spawnSync(program, argv, { env, encoding: 'utf8' });
  if (r.status !== 0)
    throw new Error(`nsbox ${argv.join(' ')} ended with ${r.status}: ${r.stderr}${r.stdout}`);
  return r.stdout.trim();
}

/** Both streams of a container's log. */
function logs(name: string): string {
  const r = spawnSync(program, ['logs', name], { env, encoding: 'utf8' });
  return r.stdout + r.stderr;
}

/** Repeats until it doesn't fail. */
async function eventually<T>(what: () => T, seconds = 30): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return what();
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(150);
    }
  }
}

function data(name: string): string {
  const directory = path.join(scratch, name);
  mkdirSync(directory, { mode: 0o755 });
  return directory;
}

let unavailable = existsSync('/usr/sbin/debootstrap') ? undefined : 'debootstrap is not installed';

before(async () => {
  if (unavailable) return;
  let tar: string;
  try {
    tar = await debianTar({ include: ['redis-server', 'redis-tools', 'nginx-light', 'postgresql'] });
  } catch (error) {
    unavailable = `no Debian root could be made: ${(error as Error).message.split('\n').at(-1)}`;
    return;
  }
  nsbox('import', tar, 'debian');
});

after(() => {
  spawnSync('sh', ['-c', `"${program}" ps -aq | xargs -r "${program}" rm -f; "${program}" system prune -f`], {
    env,
  });
  rmSync(scratch, { recursive: true, force: true });
});

test('redis: set, stop, start, get; its log says that it saved', async (t) => {
  if (unavailable) return t.skip(unavailable);
  const files = data('redis');
  const server = ['redis-server', '--dir', '/data', '--appendonly', 'yes', '--protected-mode', 'no'];
  nsbox('run', '-d', '--name', 'redis', '-v', `${files}:/data`, 'debian', ...server);
  await eventually(() => assert.equal(nsbox('exec', 'redis', 'redis-cli', 'ping'), 'PONG'));
  assert.equal(nsbox('exec', 'redis', 'redis-cli', 'set', 'key', 'value'), 'OK');
  assert.match(logs('redis'), /Ready to accept connections/);
  nsbox('stop', 'redis');
  assert.equal(nsbox('inspect', '--format', '{{.State.ExitCode}}', 'redis'), '0');
  assert.match(logs('redis'), /bye bye/);
  nsbox('start', 'redis');
  await eventually(() => assert.equal(nsbox('exec', 'redis', 'redis-cli', 'get', 'key'), 'value'));
  nsbox('restart', '-t', '5', 'redis');
  await eventually(() => assert.equal(nsbox('exec', 'redis', 'redis-cli', 'get', 'key'), 'value'));
  nsbox('rm', '-f', 'redis');
  // Data outlives the container that wrote it.
  nsbox('run', '-d', '--name', 'redis2', '-v', `${files}:/data`, 'debian', ...server);
  await eventually(() => assert.equal(nsbox('exec', 'redis2', 'redis-cli', 'get', 'key'), 'value'));
  nsbox('rm', '-f', 'redis2');
});

test('nginx: a page from a bind mount through a published port', async (t) => {
  if (unavailable) return t.skip(unavailable);
  const files = data('nginx');
  execFileSync('sh', ['-c', 'echo "a page" > "$1/index.html"', 'sh', files]);
  nsbox(
    'run',
    '-d',
    '--name',
    'nginx',
    '-p',
    '127.0.0.1::80',
    '-v',
    `${files}:/var/www/html:ro`,
    'debian',
    'nginx',
    '-g',
    'daemon off;',
  );
  const address = nsbox('port', 'nginx', '80');
  await eventually(() => {
    const page = execFileSync('busybox', ['wget', '-q', '-O', '-', `http://${address}/`], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    assert.equal(page, 'a page\n');
  });
  await eventually(() =>
    assert.match(nsbox('exec', 'nginx', 'cat', '/var/log/nginx/access.log'), /GET \/ HTTP/),
  );
  nsbox('stop', '-t', '5', 'nginx');
  nsbox('rm', 'nginx');
});

test('PostgreSQL: as its own user, rows survive stop, start and a new container', async (t) => {
  if (unavailable) return t.skip(unavailable);
  const files = data('postgres');
  const bin = '/usr/lib/postgresql/15/bin';
  const script = `chown postgres /data && exec setpriv --reuid=postgres --regid=postgres --init-groups sh -c '
    [ -e /data/db/PG_VERSION ] || ${bin}/initdb -D /data/db >/dev/null
    exec ${bin}/postgres -D /data/db -k /tmp'`;
  const start = (name: string): string =>
    nsbox(
      'run',
      '-d',
      '--name',
      name,
      '-v',
      `${files}:/data`,
      '--stop-signal',
      'SIGINT',
      'debian',
      'sh',
      '-c',
      script,
    );
  const sql = (name: string, text: string): string =>
    nsbox('exec', '-u', 'postgres', name, 'psql', '-h', '/tmp', '-tAc', text, 'postgres');
  start('pg');
  await eventually(() => sql('pg', 'select 1'));
  sql('pg', "create table t as select generate_series(1, 1000) as n, 'x' as s");
  nsbox('stop', '-t', '20', 'pg');
  assert.match(logs('pg'), /database system is shut down/);
  nsbox('start', 'pg');
  assert.equal(await eventually(() => sql('pg', 'select count(*) from t')), '1000');
  nsbox('rm', '-f', 'pg');
  start('pg2');
  assert.equal(await eventually(() => sql('pg2', 'select sum(n) from t')), '500500');
  nsbox('rm', '-f', 'pg2');
});
