import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';
import { MonitorClient } from '../../src/engine/index.js';
import { connectUnix, encodeKeepConfig, type KeepConfig } from '../../src/kernel/index.js';
import { Capture, until } from '../support/kept.js';

const scratch = mkdtempSync('/tmp/nsbox-test-keepsan-');
const program = path.join(scratch, 'keep-driver');
after(() => rmSync(scratch, { recursive: true, force: true }));

before(() => {
  const root = packageRoot();
  const sources = readdirSync(path.join(root, 'native/init'))
    .filter((f) => f.startsWith('keep') && f.endsWith('.cc'))
    .map((f) => path.join('native/init', f));
  const flags = ['-std=c++20', '-g', '-O1', '-fno-exceptions', '-fno-rtti', '-D_GNU_SOURCE', '-Inative'];
  flags.push('-fsanitize=address,undefined', '-fno-sanitize-recover=all');
  execFileSync(
    'g++',
    [...flags, '-o', program, 'test/support/keep-driver.cc', 'native/launch/message.cc', ...sources],
    {
      cwd: root,
    },
  );
});

let count = 0;

/** Starts the sanitized loop around a shell script. */
function start(script: string, more: Partial<KeepConfig> = {}) {
  const directory = path.join(scratch, String(count++));
  mkdirSync(directory);
  const config = path.join(directory, 'config');
  writeFileSync(
    config,
    encodeKeepConfig({
      id: 'x'.repeat(64),
      stateDir: directory,
      dataDir: directory,
      eventsFile: path.join(directory, 'events'),
      event: { from: 'image', attributes: { name: 'driver' } },
      log: { driver: 'json-file', maxSize: 200_000, maxFiles: 2, attributes: { a: 'b' } },
      tty: false,
      openStdin: true,
      stdinOnce: false,
      restart: { name: 'no', maximumRetryCount: 0 },
      stopSignal: 15,
      stopTimeoutMs: 500,
      dieWithRuntime: false,
      autoRemove: false,
      oomFiles: [],
      ...more,
    }),
  );
  const child = spawn(program, [config, script], { stdio: ['ignore', 'inherit', 'pipe'] });
  const complaints = new Capture(child.stderr);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const socket = path.join(directory, 'monitor.sock');
  return {
    directory,
    socket,
    listening: () => until('the socket', () => existsSync(path.join(directory, 'running.json'))),
    finish: async (code: number) => {
      const got = await ended;
      assert.equal(complaints.text, '');
      assert.equal(got, code);
    },
  };
}

test('output of every kind, rotation and many clients, under AddressSanitizer and UBSan', async () => {
  const driver = start(
    'head -c 300000 /dev/urandom; i=0; while [ $i -lt 300 ]; do echo "line $i" >&2; i=$((i+1)); done; cat; exit 6',
    { stdinOnce: true },
  );
  await driver.listening();
  const clients = await Promise.all(Array.from({ length: 8 }, () => MonitorClient.connect(driver.socket)));
  for (const c of clients) await c!.request({ type: 'attach', stdin: true, stdout: true, stderr: true });
  for (const c of clients) c!.writeStdin(Buffer.alloc(100_000, 'i'));
  await clients[1]!.request({ type: 'eventAttributes', attributes: { name: 'n'.repeat(3000) } });
  await clients[2]!.request({ type: 'resize', size: { rows: 1, columns: 1 } });
  clients[0]!.close(); // and with it the program's stdin
  assert.equal((await clients[3]!.exit)?.exitCode, 6);
  for (const c of clients) c!.close();
  await driver.finish(6);
  const log = readFileSync(path.join(driver.directory, 'log.json'), 'utf8').trim().split('\n');
  for (const line of log) JSON.parse(line);
});

test('restarts, stop while a restart is awaited', async () => {
  const driver = start('echo out; exit 2', { restart: { name: 'always', maximumRetryCount: 0 } });
  await until('a restart', () => {
    const file = path.join(driver.directory, 'running.json');
    return existsSync(file) && /"restarting".*"restartCount":2/.test(readFileSync(file, 'utf8'));
  });
  const client = await MonitorClient.connect(driver.socket);
  client!.tell({ type: 'stop' });
  await client!.exit;
  await driver.finish(2);
});

test('health checks, one of which runs at the end', async () => {
  const seen = path.join(scratch, 'seen');
  const check = `echo x >> ${seen}; [ $(wc -l < ${seen}) -lt 4 ] || exec sleep 1000`;
  const driver = start('exec sleep 1000', {
    restart: { name: 'always', maximumRetryCount: 0 },
    health: {
      command: ['/bin/sh', '-c', check],
      intervalMs: 1,
      startIntervalMs: 20,
      startPeriodMs: 60_000,
    },
  });
  await until('the fourth check', () => existsSync(seen) && readFileSync(seen, 'utf8') === 'x\n'.repeat(4));
  const client = await MonitorClient.connect(driver.socket);
  client!.tell({ type: 'stop', timeoutMs: 5000 });
  await client!.exit;
  client!.close();
  await driver.finish(143);
});

test('clients that talk nonsense are heard or dropped, and harm nobody', async () => {
  const driver = start('while :; do echo x; sleep 0.01; done');
  await driver.listening();
  let seed = 1;
  const random = (n: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % n;
  };
  for (let i = 0; i < 300; i++) {
    const socket = new Socket({ fd: connectUnix(driver.socket) });
    socket.on('error', () => {});
    socket.resume();
    for (let frames = random(5); frames >= 0; frames--) {
      const length = random(60);
      const frame = Buffer.alloc(8 + random(length + 1));
      for (let k = 8; k < frame.length; k++) frame[k] = random(256);
      frame[0] = random(5);
      if (frame[0] === 3 && frame.length > 8) frame[8] = [1, 2, 3, 5, 6, 7, 8, 9, 10, 200][random(10)]!;
      // A signal would end the test's program.
      if (frame[8] === 5 && frame.length > 9) frame.fill(0, 9);
      frame.writeUInt32BE(random(10) ? frame.length - 8 : length * 1000, 4);
      socket.write(frame);
    }
    if (random(2)) socket.destroy();
    else setTimeout(() => socket.destroy(), random(50));
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  const client = await MonitorClient.connect(driver.socket);
  await client!.request({ type: 'stop', timeoutMs: 5000 });
  assert.equal((await client!.exit)?.signal, 15);
  await driver.finish(143);
});
