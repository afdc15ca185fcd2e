import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { parseListen } from '../../src/cli/commands/metrics.js';
import { stateOf } from '../../src/engine/index.js';
import { metricsText } from '../../src/engine/metrics.js';
import { Place } from '../support/resource-containers.js';

const directory = mkdtempSync('/tmp/nsbox-test-metrics-');
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

function serve(listen: string): Promise<{ child: ChildProcess; said: string }> {
  const main = path.join(packageRoot(), 'build/js/src/cli/main.js');
  const places = ['--root', `${directory}/root`, '--state', `${directory}/state`];
  const child = spawn(process.execPath, [main, ...places, 'metrics', '--listen', listen], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('\n')) resolve({ child, said });
    });
    child.on('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
}

function get(options: http.RequestOptions): Promise<{ status: number; type: string; text: string }> {
  return new Promise((resolve, reject) => {
    http
      .get(options, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text }),
        );
      })
      .on('error', reject);
  });
}

/** Lines of the text format: comments, and `name{label="value",…} number`. */
function checkFormat(text: string): Map<string, string> {
  const types = new Map<string, string>();
  for (const line of text.trimEnd().split('\n')) {
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    if (type) types.set(type[1] ?? '', type[2] ?? '');
    else if (!line.startsWith('# HELP ')) {
      const m =
        /^([a-z_]+)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[\d.e+-]+)$/.exec(
          line,
        );
      assert.ok(m, `not in the format: ${line}`);
      assert.ok(types.has(m[1] ?? ''), `no type before ${line}`);
    }
  }
  return types;
}

test('metrics over HTTP on the loopback, and it ends at once on a signal', async () => {
  const { child, said } = await serve('127.0.0.1:0');
  const port = Number(/http:\/\/127\.0\.0\.1:(\d+)\/metrics/.exec(said)?.[1]);
  const { status, type, text } = await get({ host: '127.0.0.1', port, path: '/metrics' });
  assert.equal(status, 200);
  assert.match(type, /^text\/plain; version=0\.0\.4/);
  assert.ok(checkFormat(text).has('machine_memory_bytes'));
  assert.equal((await get({ host: '127.0.0.1', port, path: '/other' })).status, 404);
  const ended = new Promise((resolve) => child.on('exit', resolve));
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
});

test('metrics on a unix socket that root alone can open; a stale one is replaced', async () => {
  const socketPath = path.join(directory, 'metrics.sock');
  const first = await serve(`unix:${socketPath}`);
  const gone = new Promise((resolve) => first.child.on('exit', resolve));
  first.child.kill('SIGKILL');
  await gone;
  await serve(`unix:${socketPath}`);
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
  assert.equal((await get({ socketPath, path: '/metrics' })).status, 200);
});

test('only this machine: other addresses are refused', () => {
  assert.deepEqual(parseListen('localhost:9000'), { host: 'localhost', port: 9000 });
  assert.deepEqual(parseListen('[::1]:9000'), { host: '::1', port: 9000 });
  assert.deepEqual(parseListen('unix:///run/x.sock'), { socket: '/run/x.sock' });
  for (const text of ['0.0.0.0:9000', '10.0.0.1:9000', '[::]:9000']) {
    assert.throws(() => parseListen(text), /only loopback addresses/);
  }
  assert.throws(() => parseListen('127.0.0.1:99999'), /expected HOST:PORT/);
  assert.throws(() => parseListen('unix:relative'), /absolute path/);
});

/** Names of cAdvisor's (docs/storage/prometheus.md there, and container_pressure_* of 0.53) beside those of our own. */
const CADVISOR =
  /^(container_(cpu_(usage|user|system)_seconds_total|cpu_cfs_(periods_total|throttled_periods_total|throttled_seconds_total)|memory_(cache|failcnt|max_usage_bytes|rss|swap|usage_bytes|working_set_bytes)|oom_events_total|last_seen|threads|threads_max|fs_(reads|writes)(_bytes)?_total|network_(receive|transmit)_(bytes|packets|errors|packets_dropped)_total|pressure_(cpu|memory|io)_(waiting|stalled)_seconds_total|spec_cpu_(period|quota|shares)|spec_memory(_swap)?_limit_bytes)|machine_(cpu_cores|memory_bytes|swap_bytes))$/;

test('a container’s figures, with cAdvisor’s names and labels; the dashboard asks for nothing else', async () => {
  await using place = new Place();
  // Not in the page cache, so that reading it is a disk's work.
  const data = path.join(place.rootfs, 'data');
  execFileSync('dd', ['if=/dev/zero', `of=${data}`, 'bs=1M', 'count=2', 'oflag=direct', 'status=none']);
  const record = await place.start(
    ['cache', '/data'],
    { memory: 64 << 20, cpus: 0.5 },
    { labels: { 'a.b/c': 'say "hi"\n' } },
  );
  const { pid } = stateOf(place.ctx, record).running ?? {};
  execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', 'link', 'add', 'eth7', 'type', 'veth']);
  const device = statSync(data).dev >> 8 === 0 ? 'none' : 'a disk';
  let text = metricsText(place.ctx);
  for (let i = 0; i < 200 && device === 'a disk' && !text.includes('container_fs_reads_bytes_total'); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    text = metricsText(place.ctx);
  }
  const types = checkFormat(text);
  assert.equal(types.get('container_cpu_usage_seconds_total'), 'counter');
  for (const name of types.keys()) {
    if (name !== 'nsbox_containers') assert.match(name, CADVISOR);
  }
  const line = text.split('\n').find((l) => l.startsWith('container_memory_working_set_bytes')) ?? '';
  assert.ok(line.includes(`name="${record.name}"`) && line.includes(`id="/nsbox/${record.id}"`), line);
  assert.ok(line.includes('container_label_a_b_c="say \\"hi\\"\\n"'), line);
  assert.match(text, /^container_network_receive_bytes_total\{[^}]*interface="eth7"[^}]*\} 0$/m);
  const dashboard = readFileSync(path.join(packageRoot(), 'docs/grafana-dashboard.json'), 'utf8');
  const asked = new Set(dashboard.match(/\b(?:container|machine|nsbox)_[a-z_]+[a-z]\b(?=[{ )])/g) ?? []);
  assert.ok(asked.size > 8);
  for (const name of asked) {
    // A root on no disk has no block IO to tell of.
    const made = types.has(name) || (device === 'none' && name.startsWith('container_fs_'));
    assert.ok(made, `the dashboard asks for ${name}, which nsbox does not serve`);
  }
});
