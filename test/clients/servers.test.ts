import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { debianTar } from '../../rootfs-tools/debian.js';
import { makeContext } from '../../src/base/index.js';
import { openImageStore } from '../../src/image/index.js';
import { CliRig, collect, NSBOX } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

const skip = noBusybox || (existsSync('/usr/sbin/debootstrap') ? false : 'debootstrap is missing');
const NETNS = `nsbox-test-${process.pid}`;

/** Real servers from Debian's packages, operated as people operate them. */
describe('servers in a Debian image', { skip }, () => {
  let rig: CliRig;
  const n = async (...args: string[]) => {
    const child = spawn('nsenter', [`--net=/run/netns/${NETNS}`, NSBOX, ...args], {
      env: rig.env,
      cwd: rig.box.directory,
    });
    const r = await collect(child, { timeoutMs: 60_000 });
    assert.equal(r.code, 0, `nsbox ${args.join(' ')}: ${r.stderr}${r.stdout}`);
    // A server's messages may be on either stream.
    return `${r.stdout}${args[0] === 'logs' ? r.stderr : ''}`.trimEnd();
  };
  /** Repeats a command until it succeeds and says what is wanted. */
  const until = async (wanted: RegExp, ...args: string[]) => {
    let last = '';
    for (const end = Date.now() + 30_000; Date.now() < end; ) {
      last = await n(...args).catch(String);
      if (wanted.test(last)) return last;
      await new Promise((done) => setTimeout(done, 100));
    }
    return assert.fail(`${args.join(' ')} never said ${wanted}: ${last}`);
  };

  before(
    async () => {
      rig = new CliRig('servers');
      const tar = await debianTar({
        include: ['redis-server', 'redis-tools', 'nginx-light', 'postgresql', 'procps'],
      });
      const store = openImageStore(makeContext({ root: rig.box.root, state: rig.box.state }));
      await store.import({ path: tar }, { reference: 'servers:1' });
      assert.equal(spawnSync('ip', ['netns', 'add', NETNS]).status, 0);
      spawnSync('ip', ['-n', NETNS, 'link', 'set', 'lo', 'up']);
    },
    { timeout: 600_000 },
  );

  after(async () => {
    const ids = (await rig.nsbox(['ps', '-aq'])).stdout.split('\n').filter(Boolean);
    if (ids.length > 0) await n('rm', '-f', '-v', ...ids);
    spawnSync('ip', ['netns', 'delete', NETNS]);
    await rig[Symbol.asyncDispose]();
  });

  test('redis: run, exec a client, logs, stop, restart, data in a bind mount survives', async () => {
    const data = path.join(rig.box.directory, 'redis');
    mkdirSync(data, { mode: 0o777 });
    await n(
      'run',
      '-d',
      '--name',
      'redis',
      '-v',
      `${data}:/data`,
      '-w',
      '/data',
      'servers:1',
      'redis-server',
      '--save',
      '',
      '--appendonly',
      'yes',
      '--protected-mode',
      'no',
    );
    await until(/PONG/, 'exec', 'redis', 'redis-cli', 'ping');
    assert.match(await n('exec', 'redis', 'redis-cli', 'set', 'key', 'kept'), /OK/);
    assert.match(await n('logs', 'redis'), /Ready to accept connections/);
    assert.ok(readdirSync(data).length > 0);
    await n('stop', 'redis');
    assert.match(await n('ps', '-a', '--filter', 'name=redis', '--format', '{{.Status}}'), /^Exited \(0\)/);
    await n('start', 'redis');
    await until(/PONG/, 'exec', 'redis', 'redis-cli', 'ping');
    assert.equal(await n('exec', 'redis', 'redis-cli', 'get', 'key'), 'kept');
    await n('restart', 'redis');
    await until(/kept/, 'exec', 'redis', 'redis-cli', 'get', 'key');
    await n('rm', '-f', 'redis');
    await n(
      'run',
      '-d',
      '--name',
      'redis',
      '-v',
      `${data}:/data`,
      '-w',
      '/data',
      'servers:1',
      'redis-server',
      '--save',
      '',
      '--appendonly',
      'yes',
    );
    await until(/kept/, 'exec', 'redis', 'redis-cli', 'get', 'key');
  });

  test('two containers reach each other by address', async () => {
    const address = await n(
      'inspect',
      '--format',
      '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
      'redis',
    );
    assert.match(address, /^172\./);
    await n('exec', 'redis', 'redis-cli', 'config', 'set', 'protected-mode', 'no');
    assert.match(await n('run', '--rm', 'servers:1', 'redis-cli', '-h', address, 'ping'), /PONG/);
  });

  test('nginx: workers under another user, logs to stdout, reload by signal', async () => {
    const script =
      'ln -sf /dev/stdout /var/log/nginx/access.log; ln -sf /dev/stderr /var/log/nginx/error.log; exec nginx -g "daemon off;"';
    await n('run', '-d', '--name', 'web', 'servers:1', 'sh', '-c', script);
    const get = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    await until(/Welcome to nginx/, 'exec', 'web', 'bash', '-c', get);
    await until(/"GET \/ HTTP\/1\.0" 200/, 'logs', 'web');
    assert.match(await n('exec', 'web', 'ps', '-o', 'user=', '-C', 'nginx'), /www-data/);
    await n('kill', '-s', 'HUP', 'web');
    await until(/Welcome to nginx/, 'exec', 'web', 'bash', '-c', get);
    assert.match(await n('top', 'web'), /nginx/);
    await n('stop', 'web');
    await n('rm', 'web');
  });

  test('PostgreSQL: a user of its own, a named volume, a query, a clean shutdown', async () => {
    const bin = '/usr/lib/postgresql/15/bin';
    await n(
      'run',
      '--rm',
      '-v',
      'pgdata:/pg',
      'servers:1',
      'sh',
      '-c',
      'chown postgres:postgres /pg; chmod 700 /pg',
    );
    await n(
      'run',
      '--rm',
      '-u',
      'postgres',
      '-v',
      'pgdata:/pg',
      'servers:1',
      `${bin}/initdb`,
      '-D',
      '/pg',
      '-A',
      'trust',
      '--no-sync',
    );
    await n(
      'run',
      '-d',
      '--name',
      'pg',
      '-u',
      'postgres',
      '--stop-signal',
      'INT',
      '-v',
      'pgdata:/pg',
      'servers:1',
      `${bin}/postgres`,
      '-D',
      '/pg',
      '-k',
      '/tmp',
    );
    const sql = (query: string) => ['exec', '-u', 'postgres', 'pg', 'psql', '-h', '/tmp', '-Atc', query];
    await until(/1/, ...sql('select 1'));
    await n(...sql('create table t as select generate_series(1, 1000) as n'));
    await n('stop', 'pg');
    assert.match(await n('logs', 'pg'), /database system is shut down/);
    await n('start', 'pg');
    assert.match(await until(/^500500$/, ...sql('select sum(n) from t')), /500500/);
    await n('rm', '-f', 'pg');
    assert.match(await n('volume', 'ls', '-q'), /^pgdata$/m);
    await n('volume', 'rm', 'pgdata');
  });
});
