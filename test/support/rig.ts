import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { makeContext } from '../../src/base/index.js';
import {
  type CgroupOptions,
  type CgroupPlan,
  findGroups,
  type Groups,
  killAll,
  launchCgroup,
  planCgroup,
  readyCgroups,
  removeEmptyParents,
  removeGroups,
} from '../../src/cgroup/index.js';
import { type HostFacts, hostFacts } from '../../src/host/index.js';
import { attachDeviceProgram } from '../../src/kernel/index.js';
import type { SpecResources } from '../../src/spec/index.js';

/** A program in groups of its own, without any container around it: what limits do shows without the rest. */
export interface Running {
  plan: CgroupPlan;
  groups: Groups;
  child: ChildProcess;
  /** What it wrote so far. */
  output(): string;
  /** Waits for a text in its output. */
  seen(text: string | RegExp, timeoutMs?: number): Promise<string>;
  /** Lets a program go on that was started with `held`. */
  go(): void;
  /** Waits for its end. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; output: string }>;
}

/**
 * Gives a parent group the largest weight, so that what a test measures of CPU time doesn't depend on what else the
 * machine does. Nothing where there is no cpu controller for it.
 */
export function boost(host: HostFacts, parent: string): void {
  const { v1, unified } = host.cgroup;
  const [directory, file, value] = v1['cpu']
    ? [v1['cpu'] + parent, 'cpu.shares', '262144']
    : [`${unified}${parent}`, 'cpu.weight', '10000'];
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}/${file}`, value);
  } catch {
    // no cpu controller handed down so far
  }
}

/** Makes groups as a launch would, and removes all of them at the end. */
export class Rig implements AsyncDisposable {
  readonly directory = mkdtempSync(path.join(os.tmpdir(), 'nsbox-test-rig-'));
  readonly host: HostFacts;
  readonly parent = `/nsbox-test-${process.pid}`;
  #count = 0;
  #made: CgroupPlan[] = [];
  #children: ChildProcess[] = [];

  constructor() {
    this.host = hostFacts(makeContext({ root: this.directory, state: this.directory }));
    readyCgroups(this.host.cgroup);
  }

  /** Makes the groups of a plan, without a process. */
  make(resources: SpecResources, options: CgroupOptions = {}): CgroupPlan {
    const plan = planCgroup(resources, `${this.parent}/${this.#count++}`, this.host, options);
    this.#made.push(plan);
    const launch = launchCgroup(plan);
    for (const step of launch.steps) {
      if (step.op === 'mkdir') mkdirSync(step.path, { recursive: true });
      else
        try {
          writeFileSync(step.path, step.value);
        } catch (error) {
          if (!step.optional) throw error;
        }
    }
    boost(this.host, this.parent);
    if (launch.device) attachDeviceProgram(launch.device.cgroup, launch.device.program);
    return plan;
  }

  /** Starts a program inside new groups. */
  start(resources: SpecResources, argv: string[], options: CgroupOptions & { held?: boolean } = {}): Running {
    const plan = this.make(resources, options);
    const child = spawn('/bin/sh', ['-c', 'read -r _; exec "$@"', 'sh', ...argv], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#children.push(child);
    for (const group of plan.groups) writeFileSync(`${group.path}/cgroup.procs`, String(child.pid));
    let output = '';
    const waiting = new Set<() => void>();
    const take = (chunk: Buffer): void => {
      output += chunk.toString('latin1');
      for (const look of waiting) look();
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    const ended = new Promise<Awaited<Running['ended']>>((resolve) =>
      child.on('close', (code, signal) => resolve({ code, signal, output })),
    );
    if (!options.held) child.stdin?.end('\n');
    return {
      plan,
      groups: findGroups(this.host.cgroup, plan.path),
      child,
      output: () => output,
      go: () => void child.stdin?.end('\n'),
      ended,
      seen: (text, timeoutMs = 90_000) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            if (typeof text === 'string' ? !output.includes(text) : !text.test(output)) return;
            clearTimeout(timer);
            waiting.delete(look);
            resolve(output);
          };
          const timer = setTimeout(() => {
            waiting.delete(look);
            reject(new Error(`no ${text} within ${timeoutMs} ms; output so far: ${output}`));
          }, timeoutMs);
          waiting.add(look);
          look();
        }),
    };
  }

  /** The groups that exist now for a path. */
  find(path_: string): Groups {
    return findGroups(this.host.cgroup, path_);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const plan of this.#made.reverse()) {
      const groups = findGroups(this.host.cgroup, plan.path);
      killAll(groups);
      await removeGroups(groups);
    }
    for (const child of this.#children) child.kill('SIGKILL');
    removeEmptyParents(this.host.cgroup, `${this.parent}/x`);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
