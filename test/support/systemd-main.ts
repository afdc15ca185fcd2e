import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  removeContainer,
  sampleStats,
  startSandbox,
  stateOf,
  updateContainer,
  waitContainer,
} from '../../src/engine/index.js';
import { hostFacts } from '../../src/host/index.js';
import { NSBOX_OCI, OciWorld } from './oci-bundle.js';
import { Place } from './resource-containers.js';

/**
 * Runs on a host with systemd (systemd-host.ts): containers whose groups systemd makes. One JSON line per check. Where the
 * hierarchy has no memory, cpu and pids controllers, all but the limits' values is looked at.
 */
const MiB = 1024 ** 2;
const CGROUP = '/sys/fs/cgroup';

interface Check {
  name: string;
  run: (place: Place, limits: boolean) => Promise<void>;
}

const systemctl = (...args: string[]): string => execFileSync('systemctl', args, { encoding: 'utf8' });

/** Properties of a unit, as systemctl shows them. */
function show(unit: string, ...names: string[]): Record<string, string> {
  const text = systemctl('show', unit, ...names.map((n) => `--property=${n}`));
  return Object.fromEntries(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

const file = (group: string, name: string): string =>
  readFileSync(`${CGROUP}${group}/${name}`, 'latin1').trim();

const RESOURCES = { memory: 64 * MiB, memorySwap: 64 * MiB, pidsLimit: 9, cpus: 0.5, cpuShares: 2048 };

const checks: Check[] = [
  {
    name: 'a container has a scope with its limits, an update changes them, a daemon-reload keeps them',
    async run(place, limits) {
      const record = await place.start(['memory', String(MiB), '600'], limits ? RESOURCES : {}, {
        cgroupManager: 'systemd',
      });
      const unit = `nsbox-${record.id}.scope`;
      assert.equal(record.cgroup, `/machine.slice/${unit}/container`);
      const pid = stateOf(place.ctx, record).running?.pid ?? 0;
      assert.deepEqual(file(record.cgroup, 'cgroup.procs').split('\n'), [String(pid)]);
      assert.deepEqual(show(unit, 'ActiveState', 'Slice', 'Delegate', 'ControlGroup'), {
        ActiveState: 'active',
        Slice: 'machine.slice',
        Delegate: 'yes',
        ControlGroup: `/machine.slice/${unit}`,
      });
      if (limits) {
        assert.deepEqual(
          show(unit, 'MemoryMax', 'MemorySwapMax', 'CPUQuotaPerSecUSec', 'CPUWeight', 'TasksMax'),
          {
            MemoryMax: String(64 * MiB),
            MemorySwapMax: '0',
            CPUQuotaPerSecUSec: '500ms',
            CPUWeight: '200',
            TasksMax: '11',
          },
        );
        await updateContainer(place.ctx, record, {
          resources: { memory: 96 * MiB, memorySwap: 128 * MiB, cpus: 0.25, pidsLimit: 7 },
        });
      }
      for (const before of ['update', 'daemon-reload']) {
        if (before === 'daemon-reload') systemctl('daemon-reload');
        if (!limits) continue;
        assert.deepEqual(show(unit, 'MemoryMax', 'MemorySwapMax', 'CPUQuotaPerSecUSec', 'TasksMax'), {
          MemoryMax: String(96 * MiB),
          MemorySwapMax: String(32 * MiB),
          CPUQuotaPerSecUSec: '250ms',
          TasksMax: '9',
        });
        for (const group of [record.cgroup, path.dirname(record.cgroup)]) {
          assert.equal(file(group, 'memory.max'), String(96 * MiB), `${group} after ${before}`);
          assert.equal(file(group, 'cpu.max'), '25000 100000', `${group} after ${before}`);
        }
        assert.equal(file(record.cgroup, 'pids.max'), '7');
        assert.equal(sampleStats(place.ctx, record).usage?.memory.limit, 96 * MiB);
      }
      assert.equal(stateOf(place.ctx, record).status, 'running');
      await removeContainer(place.ctx, record, { force: true });
      assert.equal(show(unit, 'LoadState')['LoadState'], 'not-found');
      assert.ok(!existsSync(path.dirname(`${CGROUP}${record.cgroup}`)));
    },
  },
  {
    name: 'the scope lasts over restarts of the program, and goes with the container; only the monitor is spared by OOM',
    async run(place, limits) {
      const record = await place.start(
        ['memory', String(MiB), '600'],
        {},
        { cgroupManager: 'systemd', restart: { name: 'always', maximumRetryCount: 0 }, stopTimeout: 1 },
      );
      const unit = `nsbox-${record.id}.scope`;
      const invocation = (): string => show(unit, 'InvocationID')['InvocationID'] ?? '';
      const first = stateOf(place.ctx, record).running?.pid ?? 0;
      const before = invocation();
      process.kill(first, 'SIGKILL');
      for (;;) {
        const { running, status } = stateOf(place.ctx, record);
        if (status === 'running' && running && running.pid !== first) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.equal(invocation(), before);
      const { running } = stateOf(place.ctx, record);
      const score = (pid: number) => readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim();
      assert.equal(score(running!.pid), '0');
      // To lower it takes a right that the test VM's root has.
      if (limits) assert.equal(score(running!.monitorPid), '-1000');
      // Stopped from systemd's side: nothing of it stays.
      systemctl('stop', unit);
      assert.equal(show(unit, 'LoadState')['LoadState'], 'not-found');
      await removeContainer(place.ctx, record, { force: true });
    },
  },
  {
    name: "the library's containers too, and they leave nothing",
    async run(place) {
      const request = place.request(['memory', String(MiB), '600'], {}, { cgroupManager: 'systemd' });
      const root = { layers: [place.rootfs], config: undefined };
      const sandbox = await startSandbox(place.ctx, { request, root, stdio: [-1, -1, -1] });
      const unit = `nsbox-${sandbox.id}.scope`;
      assert.equal(show(unit, 'ActiveState')['ActiveState'], 'active');
      assert.equal(file(sandbox.cgroup, 'cgroup.procs'), String(sandbox.pid));
      sandbox.monitor.signal(9);
      assert.equal((await sandbox.exit)?.code, 137);
      sandbox.monitor.reap();
      while (show(unit, 'LoadState')['LoadState'] !== 'not-found') {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  },
  {
    name: 'a hog in a scope is killed and reported as OOMKilled',
    async run(place, limits) {
      if (!limits) return;
      const hog = await place.start(
        ['memory', String(200 * MiB)],
        { memory: 24 * MiB, memorySwap: 24 * MiB },
        { cgroupManager: 'systemd', cgroupParent: 'nsbox-test.slice' },
      );
      assert.match(hog.cgroup, /^\/nsbox\.slice\/nsbox-test\.slice\/nsbox-/);
      assert.equal(await waitContainer(place.ctx, hog), 137);
      assert.equal(stateOf(place.ctx, hog).exit?.oomKilled, true);
      await removeContainer(place.ctx, hog);
    },
  },
  {
    name: 'OCI: --systemd-cgroup takes slice:prefix:name; update, daemon-reload and device rules hold; delete removes it',
    async run(place, limits) {
      const wrapper = path.join(place.directory, 'oci');
      writeFileSync(wrapper, `#!/bin/sh\nexec ${NSBOX_OCI} --systemd-cgroup "$@"\n`);
      chmodSync(wrapper, 0o755);
      const world = new OciWorld(wrapper);
      try {
        const id = world.id();
        const unit = `libpod-${id}.scope`;
        const group = `/machine.slice/${unit}`;
        const bundle = world.bundle((spec) => {
          const all = ['CAP_MKNOD'];
          Object.assign(spec.process!.capabilities!, { bounding: all, effective: all, permitted: all });
          spec.linux!.cgroupsPath = `machine.slice:libpod:${id}`;
          if (limits)
            Object.assign(spec.linux!.resources!, { memory: { limit: 64 * MiB }, pids: { limit: 9 } });
        });
        const created = world.create(id, bundle);
        assert.equal(created.code, 0, created.stderr);
        assert.equal(show(unit, 'ActiveState')['ActiveState'], 'active');
        assert.equal(file(group, 'cgroup.procs'), String(world.state(id)?.['pid']));
        assert.deepEqual(world.call(['start', id]), { code: 0, stdout: '', stderr: '' });
        if (limits) {
          assert.equal(show(unit, 'MemoryMax')['MemoryMax'], String(64 * MiB));
          assert.equal(file(group, 'pids.max'), '9');
          assert.equal(world.call(['update', '--memory', '96m', '--pids-limit', '7', id]).code, 0);
        }
        systemctl('daemon-reload');
        if (limits) {
          assert.equal(show(unit, 'MemoryMax')['MemoryMax'], String(96 * MiB));
          assert.equal(file(group, 'memory.max'), String(96 * MiB));
          assert.equal(file(group, 'pids.max'), '7');
        }
        const open = 'mknod /tmp/fuse c 10 229 && mknod /tmp/null c 1 3 && : < /tmp/null && : < /tmp/fuse';
        assert.match(
          world.call(['exec', id, 'sh', '-c', open]).stderr,
          /can't open \/tmp\/fuse: Operation not permitted/,
        );
        assert.equal(world.call(['delete', '-f', id]).code, 0);
        assert.equal(show(unit, 'LoadState')['LoadState'], 'not-found');
        assert.ok(!existsSync(`${CGROUP}${group}`));
        const wrong = world.create(
          world.id(),
          world.bundle((spec) => {
            spec.linux!.cgroupsPath = '/machine/x';
          }),
        );
        assert.notEqual(wrong.code, 0);
        assert.match(wrong.stderr, /expected cgroupsPath to be of format "slice:prefix:name"/);
      } finally {
        world.close();
      }
    },
  },
  {
    name: 'the same over the system bus, where systemd has no private socket',
    async run(place, limits) {
      // Without what they depend on: that would be the boot of a machine.
      systemctl('start', '--job-mode=ignore-dependencies', 'dbus.socket', 'dbus.service');
      const socket = '/run/systemd/private';
      renameSync(socket, `${socket}.aside`);
      try {
        const record = await place.start(['memory', String(MiB), '600'], limits ? RESOURCES : {}, {
          cgroupManager: 'systemd',
        });
        const unit = `nsbox-${record.id}.scope`;
        assert.equal(show(unit, 'ActiveState')['ActiveState'], 'active');
        assert.equal(record.cgroup, `/machine.slice/${unit}/container`);
        if (limits) {
          assert.equal(show(unit, 'MemoryMax')['MemoryMax'], String(64 * MiB));
          await updateContainer(place.ctx, record, {
            resources: { memory: 96 * MiB, memorySwap: 128 * MiB },
          });
          assert.equal(show(unit, 'MemoryMax')['MemoryMax'], String(96 * MiB));
          assert.equal(file(record.cgroup, 'memory.max'), String(96 * MiB));
        }
        await removeContainer(place.ctx, record, { force: true });
        assert.equal(show(unit, 'LoadState')['LoadState'], 'not-found');
        assert.ok(!existsSync(path.dirname(`${CGROUP}${record.cgroup}`)));
      } finally {
        renameSync(`${socket}.aside`, socket);
      }
    },
  },
];

const place = new Place();
const limits = hostFacts(place.ctx).cgroup.controllers.includes('memory');
for (const { name, run } of checks) {
  const start = performance.now();
  let error: string | undefined;
  try {
    await run(place, limits);
  } catch (e) {
    error = (e as Error).stack ?? String(e);
  }
  process.stdout.write(`${JSON.stringify({ name, ms: Math.round(performance.now() - start), error })}\n`);
}
await place[Symbol.asyncDispose]();
