import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { closeFd, openChannel, unixDatagram } from '../../src/kernel/index.js';
import type { Spec } from '../../src/spec/index.js';
import { OciWorld } from '../support/oci-bundle.js';

const world = new OciWorld();
after(() => world.close());

/** Listens as systemd does: what was said, with the fds of barriers closed once they are read. */
function systemd(name: string): { address: string; said: string[]; close(): void } {
  const address = path.join(world.directory, name);
  const said: string[] = [];
  const channel = openChannel(unixDatagram(address, true), (data, fds) => {
    if (data) said.push(data.toString());
    for (const fd of fds) closeFd(fd);
  });
  return { address, said, close: () => channel.close() };
}

/** Runs the runtime with NOTIFY_SOCKET, its output to a file; the exit status. */
function withSocket(address: string, ...args: string[]): { pid: number; ended: Promise<number | null> } {
  const out = openSync(path.join(world.directory, 'notify.out'), 'a');
  const child = spawn(world.runtime, ['--root', world.root, ...args], {
    stdio: ['ignore', out, out],
    env: { ...process.env, NOTIFY_SOCKET: address, NSBOX_STATE: path.join(world.directory, 'state') },
  });
  closeSync(out);
  return { pid: child.pid!, ended: new Promise((resolve) => child.on('exit', (code) => resolve(code))) };
}

/** A container with the host's python, which can send datagrams; busybox can't. */
function sender(then: string): (s: Spec) => void {
  for (const link of ['lib', 'lib64']) {
    try {
      symlinkSync(`usr/${link}`, path.join(world.rootfs, link));
    } catch {
      // there from a test before
    }
  }
  mkdirSync(path.join(world.rootfs, 'usr'), { recursive: true });
  const code = [
    'import os, socket, sys, time',
    's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)',
    's.connect(os.environ["NOTIFY_SOCKET"])',
    'while not os.path.exists("/data/go"): time.sleep(0.02)',
    's.send(b"STATUS=warming up\\n")',
    's.send(b"STATUS=warm\\nREADY=1")',
    then,
  ].join('\n');
  return (s) => {
    s.process!.args = ['/usr/bin/python3', '-c', code];
    s.mounts!.push(
      { destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] },
      { destination: '/data', type: 'bind', source: world.directory, options: ['bind'] },
    );
  };
}

test('NOTIFY_SOCKET: start ends when the container is ready, and its pid is told', async () => {
  const host = systemd('host.sock');
  const id = world.id();
  const bundle = world.bundle(sender('time.sleep(1000)'));
  assert.equal(await withSocket(host.address, 'create', '-b', bundle, id).ended, 0);
  let ended = false;
  const starting = withSocket(host.address, 'start', id);
  void starting.ended.then(() => {
    ended = true;
  });
  await world.until(() => world.state(id)?.['status'] === 'running');
  assert.deepEqual([ended, host.said], [false, []], 'start waits');
  writeFileSync(path.join(world.directory, 'go'), '');
  assert.equal(await starting.ended, 0, readFileSync(path.join(world.directory, 'notify.out'), 'utf8'));
  assert.deepEqual(host.said, ['READY=1\n', `MAINPID=${String(world.state(id)!['pid'])}\n`, 'BARRIER=1']);
  world.call(['delete', '-f', id]);
  host.close();
});

test('a container that ends without a word ends the waiting; in the foreground the runtime is the main process', async () => {
  const host = systemd('second.sock');
  const id = world.id();
  const silent = world.bundle((s) => {
    s.process!.args = ['true'];
  });
  assert.equal(await withSocket(host.address, 'run', '-d', '-b', silent, id).ended, 0);
  assert.deepEqual(host.said, []);
  const loud = world.bundle(sender('time.sleep(1)'));
  writeFileSync(path.join(world.directory, 'go'), '');
  const run = withSocket(host.address, 'run', '-b', loud, world.id());
  assert.equal(await run.ended, 0, readFileSync(path.join(world.directory, 'notify.out'), 'utf8'));
  assert.deepEqual(host.said, ['READY=1\n', `MAINPID=${run.pid}\n`, 'BARRIER=1']);
  host.close();
});
