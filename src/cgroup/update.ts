import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fromErrno, isErrno, NsboxError } from '../base/index.js';
import { attachDeviceProgram } from '../kernel/index.js';
import type { SpecResources } from '../spec/index.js';
import { deviceProgram } from './device-program.js';
import type { CgroupPlan, CgroupWrite } from './plan.js';
import { readUsage } from './stats.js';
import { type Groups, pidsIn } from './tree.js';

/**
 * Applies a plan made with `update: true` to a container that runs: new groups are made and its processes put into
 * them, then every value is written. Values written before a refusal stay.
 * @param groups those the container is in now
 * @throws NsboxError naming the file, the value and why the kernel refused it
 */
export function applyUpdate(plan: CgroupPlan, groups: Groups): void {
  for (const step of plan.steps) {
    if (step.op === 'mkdir') mkdirSync(step.path, { recursive: true });
    else if (step.controller === 'cgroup' || !plan.writes.includes(step)) {
      // A v1 cpuset that is there already keeps what it has.
      if (step.controller === 'cpuset' && isIn(groups, step.path)) continue;
      tryWrite(step);
    }
  }
  joinNewGroups(plan, groups);
  for (const write of inOrder(plan.writes)) tryWrite(write);
}

/**
 * Attaches the device program of a container that runs once more, in one step in the place of what is there: somebody
 * else (systemd at a daemon-reload, where the group is one of its own) may have taken it off or put another beside it.
 * @param plan made of the rules that the container started with
 * @throws NsboxError where the kernel refuses the program
 */
export function confineDevices(plan: CgroupPlan): void {
  // The list of a v1 devices group stays with the group.
  if (plan.devices?.how !== 'bpf' || !existsSync(plan.devices.directory)) return;
  const { directory, rules } = plan.devices;
  try {
    attachDeviceProgram(directory, deviceProgram(rules));
  } catch (error) {
    throw fromErrno(`attach the device program to ${directory}`, error, { path: directory });
  }
}

function isIn(groups: Groups, file: string): boolean {
  const directory = file.slice(0, file.lastIndexOf('/'));
  return Object.values(groups.v1).includes(directory);
}

/** A v1 hierarchy that the container had no group in so far: its processes move there, also those forked meanwhile. */
function joinNewGroups(plan: CgroupPlan, groups: Groups): void {
  const present = new Set([...(groups.unified ? [groups.unified] : []), ...Object.values(groups.v1)]);
  const missing = plan.groups.filter((g) => g.join === 'write' && !present.has(g.path));
  const source = groups.unified ?? Object.values(groups.v1)[0];
  if (missing.length === 0 || !source) return;
  // Seeds of a new cpuset come first: an empty one takes no process.
  for (const group of missing) {
    const moved = new Set<number>();
    for (let round = 0; round < 20; round++) {
      const left = pidsIn(source).filter((pid) => !moved.has(pid));
      if (left.length === 0) break;
      for (const pid of left) {
        moved.add(pid);
        try {
          writeFileSync(`${group.path}/cgroup.procs`, String(pid));
        } catch (error) {
          if (!isErrno(error, 'ESRCH')) throw fromErrno(`put process ${pid} into ${group.path}`, error);
        }
      }
    }
  }
}

/**
 * v1 refuses a memory limit above the limit of memory plus swap, and the reverse: which goes first depends on whether
 * they rise or fall. Trying in one order and then in the other covers both.
 */
function inOrder(writes: CgroupWrite[]): CgroupWrite[] {
  const memory = writes.find((w) => w.path.endsWith('/memory.limit_in_bytes'));
  const both = writes.find((w) => w.path.endsWith('/memory.memsw.limit_in_bytes'));
  if (!memory || !both) return writes;
  const others = writes.filter((w) => w !== memory && w !== both);
  try {
    writeFileSync(memory.path, memory.value);
    return [both, ...others];
  } catch {
    return [both, memory, ...others];
  }
}

function tryWrite(write: CgroupWrite): void {
  try {
    writeFileSync(write.path, write.value);
  } catch (error) {
    if (write.optional) return;
    const missing = isErrno(error, 'ENOENT') && existsSync(write.path.slice(0, write.path.lastIndexOf('/')));
    if (missing) {
      throw new NsboxError(
        'UNSUPPORTED',
        `cannot write ${write.value} to ${write.path}: this kernel has no such file`,
        {
          cause: error,
          path: write.path,
        },
      );
    }
    throw fromErrno(`write ${write.value} to ${write.path}`, error, {
      path: write.path,
      ...(isErrno(error, 'EBUSY')
        ? { hint: 'the container uses more than that now; stop what uses it, or choose a higher value' }
        : {}),
    });
  }
}

/**
 * Refuses a memory limit that is below what the container uses, where the caller asked for that (OCI
 * checkBeforeUpdate): the kernel would kill something to reach it.
 */
export function checkMemoryUpdate(resources: SpecResources, groups: Groups): void {
  const limit = resources.memory?.limit;
  if (limit === undefined || limit <= 0) return;
  const { total } = readUsage(groups).memory;
  if (total <= limit) return;
  throw new NsboxError(
    'CONFLICT',
    `a memory limit of ${limit} bytes is below what the container uses (${total} bytes)`,
    {
      hint: 'choose a higher limit, or make the container use less first',
    },
  );
}
