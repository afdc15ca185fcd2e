/** What limits and figures cost: the groups of a start, and `stats` of many containers. */
import { spawn } from 'node:child_process';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, makeContext } from '../../src/base/index.js';
import { type CgroupOptions, launchCgroup, planCgroup } from '../../src/cgroup/index.js';
import {
  createContainer,
  listContainers,
  removeContainer,
  sampleAll,
  startContainer,
} from '../../src/engine/index.js';
import { hostFacts } from '../../src/host/index.js';
import { emptyRequest, type SpecResources } from '../../src/spec/index.js';
import type { Row } from '../harness.js';
import type { Setup } from '../setup.js';

const MiB = 1024 ** 2;

export async function resourceRows(setup: Setup): Promise<Row[]> {
  return [groupRow(setup), await statsRow(setup)];
}

/**
 * Makes the groups of a start, puts a process into them and removes them, from JavaScript: the same system calls as
 * the monitor's, and some more (the process must leave again). Aim: at most 0.5 ms.
 */
function groupRow(setup: Setup): Row {
  const ctx = makeContext({ root: setup.place.root, state: setup.place.state });
  const host = hostFacts(ctx);
  const child = spawn('sleep', ['1000000'], { stdio: 'ignore' });
  const pid = String(child.pid);
  const roots = [...(host.cgroup.unified ? [host.cgroup.unified] : []), ...Object.values(host.cgroup.v1)];
  let count = 0;
  const round = (resources: SpecResources, options: CgroupOptions) => async (): Promise<number> => {
    const start = process.hrtime.bigint();
    const plan = planCgroup(resources, `/nsbox-bench/${count++}`, host, options);
    const launch = launchCgroup(plan);
    for (const step of launch.steps) {
      if (step.op === 'mkdir') mkdirSync(step.path, { recursive: true });
      else writeFileSync(step.path, step.value);
    }
    for (const group of plan.groups) writeFileSync(`${group.path}/cgroup.procs`, pid);
    const made = process.hrtime.bigint();
    // A container's process ends by itself: that it must leave here isn't counted.
    for (const root of roots) {
      if (plan.groups.some((g) => g.path.startsWith(`${root}/nsbox-bench/`)))
        writeFileSync(`${root}/cgroup.procs`, pid);
    }
    const left = process.hrtime.bigint();
    for (const directory of launch.remove) rmdirSync(directory);
    return Number(made - start + (process.hrtime.bigint() - left));
  };
  return {
    suite: 'resources',
    id: 'cgroup',
    title: 'Groups of one start: made, joined and removed',
    unit: 'ns',
    base: 'nothing but a group',
    rounds: setup.quick ? 50 : 300,
    sides: [
      { name: 'nothing but a group', run: round({}, { statistics: false }) },
      { name: 'with figures', run: round({}, {}) },
      {
        name: 'with figures and limits',
        run: round(
          {
            memory: { limit: 64 * MiB, swap: 64 * MiB },
            cpu: { quota: 50_000, period: 100_000 },
            pids: { limit: 100 },
          },
          {},
        ),
      },
    ],
    close: async () => {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.on('exit', resolve));
      for (const root of roots) {
        try {
          rmdirSync(`${root}/nsbox-bench`);
        } catch {
          // not every hierarchy had one
        }
      }
    },
  };
}

/** Idle containers in a root of their own. */
async function idle(setup: Setup, count: number): Promise<Context> {
  const { place } = setup;
  const ctx = makeContext({
    root: path.join(place.directory, `root-${count}`),
    state: path.join(place.directory, `state-${count}`),
  });
  for (let i = 0; i < count; i++) {
    const record = await createContainer(ctx, {
      ...emptyRequest(),
      rootfs: place.rootfs,
      name: `idle-${i}`,
      command: ['sleep', '1000000'],
      networks: [{ network: 'none' }],
    });
    (await startContainer(ctx, record))?.monitor.close();
  }
  return ctx;
}

/** Aim: with 200 containers at most 1.5 times as much per container as with 10. */
async function statsRow(setup: Setup): Promise<Row> {
  const few = await idle(setup, 10);
  const many = await idle(setup, 200);
  const perContainer = (ctx: Context) => async (): Promise<number> => {
    const start = process.hrtime.bigint();
    const samples = sampleAll(ctx);
    return Number(process.hrtime.bigint() - start) / samples.length;
  };
  return {
    suite: 'resources',
    id: 'stats',
    title: 'stats, per container',
    unit: 'ns',
    base: '10 containers',
    rounds: setup.quick ? 20 : 100,
    sides: [
      { name: '10 containers', run: perContainer(few) },
      { name: '200 containers', run: perContainer(many) },
    ],
    close: async () => {
      for (const ctx of [few, many]) {
        for (const record of listContainers(ctx)) await removeContainer(ctx, record, { force: true });
      }
    },
  };
}
