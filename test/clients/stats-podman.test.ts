import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { findGroups, type Groups, readNetwork, readUsage } from '../../src/cgroup/index.js';
import { hostFacts } from '../../src/host/index.js';
import { loadProgram } from '../support/load.js';

/**
 * The same container, asked about by podman and by us, beside the kernel's own files as this test reads them: the three
 * must say the same. podman runs in a network namespace of the test, with a bridge of its own.
 */
function missing(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root';
  for (const program of ['podman', 'runc', 'python3']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${program} is not installed`;
  }
  return existsSync('/usr/lib/podman/netavark') ? false : 'netavark is not installed';
}

const UNITS: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
function bytes(text: string): number {
  const m = /^([\d.]+)([kMG]?B)$/.exec(text.trim());
  return m ? Number(m[1]) * (UNITS[m[2] ?? ''] ?? Number.NaN) : Number.NaN;
}

/** `12.5MB / 3kB`. */
const pair = (text = ''): number[] => text.split('/').map(bytes);

/** `50.215626ms`, `1.5s`. */
function milliseconds(text: string): number {
  const m = /^([\d.]+)(µs|ms|s)$/.exec(text);
  return m ? Number(m[1]) * ({ µs: 1e-3, ms: 1, s: 1e3 }[m[2] ?? ''] ?? Number.NaN) : Number.NaN;
}

/** Numbers straight from the files of a container's groups, of whichever hierarchy has the controller. */
function kernelFigures({ unified, v1 }: Groups): Record<string, number> {
  const read = (directory: string | null | undefined, file: string): string =>
    readFileSync(path.join(directory ?? '', file), 'latin1');
  const key = (text: string, name: string): number =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
  const sum = (text: string, pattern: RegExp): number =>
    [...text.matchAll(pattern)].reduce((total, m) => total + Number(m[1]), 0);
  const { memory, pids, blkio } = v1;
  return {
    memory: memory
      ? Number(read(memory, 'memory.usage_in_bytes')) -
        key(read(memory, 'memory.stat'), 'total_inactive_file')
      : Number(read(unified, 'memory.current')) - key(read(unified, 'memory.stat'), 'inactive_file'),
    limit: Number(memory ? read(memory, 'memory.limit_in_bytes') : read(unified, 'memory.max')),
    cpu: key(read(unified, 'cpu.stat'), 'usage_usec') / 1000,
    pids: Number(read(pids ?? unified, 'pids.current')),
    ...(blkio
      ? {
          read: sum(read(blkio, 'blkio.throttle.io_service_bytes_recursive'), /^\S+ Read (\d+)$/gm),
          written: sum(read(blkio, 'blkio.throttle.io_service_bytes_recursive'), /^\S+ Write (\d+)$/gm),
        }
      : {
          read: sum(read(unified, 'io.stat'), / rbytes=(\d+)/g),
          written: sum(read(unified, 'io.stat'), / wbytes=(\d+)/g),
        }),
  };
}

/** Ethernet frames of a kilobyte that nobody answers. */
const SEND = `import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for _ in range(int(sys.argv[2])):
    s.send(b"\\xff" * 6 + b"\\x02" * 6 + b"\\x88\\xb5" + b"x" * 986)
`;

test('figures agree with the kernel’s files and with podman stats for the same load', {
  skip: missing(),
}, async (t) => {
  const directory = mkdtempSync('/tmp/nsbox-test-podman-stats-');
  const rootfs = path.join(directory, 'fs');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp'])
    mkdirSync(path.join(rootfs, name), { recursive: true });
  copyFileSync(loadProgram(), path.join(rootfs, 'bin/load'));
  execFileSync('dd', ['if=/dev/zero', `of=${rootfs}/data`, 'bs=1M', 'count=4', 'conv=fsync', 'status=none']);
  const net = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up && echo ready && exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => net.stdout.once('data', resolve));
  const inside = [`--net=/proc/${net.pid}/ns/net`];
  const podman = (...args: string[]): string => {
    const places = ['--root', `${directory}/root`, '--runroot', `${directory}/run`];
    places.push('--network-config-dir', `${directory}/networks`);
    const how = ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs'];
    const r = spawnSync('nsenter', [...inside, 'podman', ...places, ...how, ...args], { encoding: 'utf8' });
    assert.equal(r.status, 0, `podman ${args[0]}: ${r.stderr}`);
    return r.stdout.trim();
  };
  try {
    const limits = ['--memory', '128m', '--cpus', '0.5', '--pids-limit', '10'];
    limits.push('--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024');
    const id = podman(
      'run',
      '-d',
      ...limits,
      '--rootfs',
      rootfs,
      '/bin/load',
      'memory',
      `${64 << 20}`,
      '600',
    );
    while (!podman('logs', '--tail', '1', id).includes(`touched ${64 << 20}`)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    podman('exec', id, '/bin/load', 'read', '/data', `${3 << 20}`);
    podman('exec', id, '/bin/load', 'write', '/written', `${2 << 20}`);
    const pid = Number(podman('inspect', '--format', '{{.State.Pid}}', id));
    const its = ['-t', String(pid), '-n'];
    execFileSync('nsenter', [...its, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
    execFileSync('nsenter', [...inside, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
    execFileSync('nsenter', [...its, 'python3', '-c', SEND, 'eth0', '30']);
    execFileSync('nsenter', [...inside, 'python3', '-c', SEND, 'podman0', '80']);

    const group =
      /^(?:0::|\d+:memory:)(\/.*libpod.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? '';
    const { cgroup } = hostFacts(makeContext({ root: directory, state: directory }));
    const groups = findGroups(cgroup, group);
    const theirs = (
      JSON.parse(podman('stats', '--no-stream', '--format', 'json', id)) as Record<string, string>[]
    )[0];
    assert.ok(theirs);
    const ours = readUsage(groups);
    const kernel = kernelFigures(groups);
    const network = readNetwork(pid);
    const links = JSON.parse(execFileSync('nsenter', [...its, 'ip', '-s', '-j', 'link']).toString()) as {
      ifname: string;
      stats64: { rx: { bytes: number }; tx: { bytes: number } };
    }[];
    assert.deepEqual(
      network.map((n) => n.name),
      links.map((l) => l.ifname).filter((name) => name !== 'lo'),
    );
    const [eth0, link] = [network.find((n) => n.name === 'eth0'), links.find((l) => l.ifname === 'eth0')];
    const [used, limit] = pair(theirs['mem_usage']);
    const [read, written] = pair(theirs['block_io']);
    // podman before 5 names the two from the other end of the cable: they are told apart by their size.
    const io = pair(theirs['net_io']);
    const total = (what: 'readBytes' | 'writeBytes'): number => ours.io.reduce((n, d) => n + d[what], 0);
    type Figure = number | null | undefined;
    const rows: [what: string, kernel: Figure, podman: Figure, nsbox: Figure, tolerance: number][] = [
      ['memory used, bytes', kernel['memory'], used, ours.memory.usage, 1 << 20],
      ['memory limit, bytes', kernel['limit'], limit, ours.memory.limit, 1e5],
      ['CPU time, ms', kernel['cpu'], milliseconds(theirs['cpu_time'] ?? ''), ours.cpu.usageUsec / 1000, 5],
      ['processes', kernel['pids'], Number(theirs['pids']), ours.pids.current, 0],
      ['read from disks, bytes', kernel['read'], read, total('readBytes'), 1e4],
      ['written to disks, bytes', kernel['written'], written, total('writeBytes'), 1e4],
      ['received by eth0, bytes', link?.stats64.rx.bytes, Math.max(...io), eth0?.rxBytes, 1e3],
      ['sent by eth0, bytes', link?.stats64.tx.bytes, Math.min(...io), eth0?.txBytes, 1e3],
    ];
    assert.ok(total('readBytes') >= 3 << 20 && total('writeBytes') >= 2 << 20);
    t.diagnostic('what: kernel, podman, nsbox');
    for (const [what, ...values] of rows) {
      const [kernels, podmans, nsboxs, tolerance = 0] = values.map((v) => v ?? Number.NaN);
      t.diagnostic(`${what}: ${kernels}, ${podmans}, ${nsboxs}`);
      const near = (a = Number.NaN, b = Number.NaN): boolean => Math.abs(a - b) <= tolerance;
      assert.ok(near(kernels, nsboxs), `${what}: the kernel says ${kernels}, nsbox ${nsboxs}`);
      assert.ok(near(podmans, nsboxs), `${what}: podman says ${podmans}, nsbox ${nsboxs}`);
    }
  } finally {
    podman('rm', '-f', '-t', '0', '-a');
    net.kill('SIGKILL');
    // podman leaves its storage mounted on itself.
    spawnSync('umount', ['-l', `${directory}/root/overlay`]);
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});
