import { InvalidError } from '../base/index.js';
import { CAPABILITY_NAMES } from '../host/index.js';
import type { SpecCapabilities, SpecProcess } from '../spec/index.js';
import { isRlimit } from './encode.js';
import type { Step } from './steps.js';

/** A mask of capabilities by name; names this table doesn't know are an error, as the OCI spec asks. */
export function capabilityMask(names: readonly string[] | undefined): bigint {
  let mask = 0n;
  for (const name of names ?? []) {
    const index = CAPABILITY_NAMES.indexOf(name.replace(/^CAP_/, '') as (typeof CAPABILITY_NAMES)[number]);
    if (index === -1)
      throw new InvalidError(`unknown capability ${JSON.stringify(name)}`, { code: 'INVALID_SPEC' });
    mask |= 1n << BigInt(index);
  }
  return mask;
}

/** Rlimits of the spec as prlimit(2) takes them. */
export function rlimitStep(process: SpecProcess): Step[] {
  const limits = process.rlimits ?? [];
  if (limits.length === 0) return [];
  for (const l of limits) {
    if (!isRlimit(l.type)) {
      throw new InvalidError(`process.rlimits: unknown limit ${JSON.stringify(l.type)}`, {
        code: 'INVALID_SPEC',
      });
    }
  }
  return [
    {
      op: 'rlimits',
      limits: limits.map((l) => ({ name: l.type, soft: BigInt(l.soft), hard: BigInt(l.hard) })),
    },
  ];
}

/** Capability steps; without a section all that the process has is kept. */
export function capabilitySteps(capabilities: SpecCapabilities | undefined): {
  bounding: Step[];
  sets: Step[];
} {
  if (!capabilities) return { bounding: [], sets: [] };
  const permitted = capabilityMask(capabilities.permitted);
  const inheritable = capabilityMask(capabilities.inheritable);
  return {
    bounding: [{ op: 'bounding', keep: capabilityMask(capabilities.bounding) }],
    sets: [
      {
        op: 'caps',
        effective: capabilityMask(capabilities.effective),
        permitted,
        inheritable,
        // The kernel raises only what is in both (capabilities(7)); `crun spec` writes documents that ask for more, and
        // runc and crun pass over it.
        ambient: capabilityMask(capabilities.ambient) & permitted & inheritable,
      },
    ],
  };
}

const POLICIES = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};
const SCHED_FLAGS: Record<string, number> = {
  SCHED_FLAG_RESET_ON_FORK: 0x01,
  SCHED_FLAG_RECLAIM: 0x02,
  SCHED_FLAG_DL_OVERRUN: 0x04,
  SCHED_FLAG_KEEP_POLICY: 0x08,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
};
const IO_CLASSES = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 };

/** Scheduler and I/O priority. */
export function schedulingSteps(process: SpecProcess): Step[] {
  const steps: Step[] = [];
  const s = process.scheduler;
  if (s) {
    steps.push({
      op: 'scheduler',
      policy: POLICIES[s.policy],
      flags: (s.flags ?? []).reduce((all, f) => all | (SCHED_FLAGS[f] ?? 0), 0),
      nice: s.nice ?? 0,
      priority: s.priority ?? 0,
      runtime: BigInt(s.runtime ?? 0),
      deadline: BigInt(s.deadline ?? 0),
      period: BigInt(s.period ?? 0),
    });
  }
  if (process.ioPriority) {
    steps.push({
      op: 'ioPriority',
      class: IO_CLASSES[process.ioPriority.class],
      priority: process.ioPriority.priority,
    });
  }
  return steps;
}

/** A CPU or node list such as `0-3,7` as a bit mask of bytes. @throws InvalidError */
export function listMask(list: string): Uint8Array {
  const bits: number[] = [];
  for (const part of list.split(',').map((p) => p.trim())) {
    if (part === '') continue;
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) throw new InvalidError(`invalid list ${JSON.stringify(list)}`, { code: 'INVALID_SPEC' });
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (to < from || to > 8191)
      throw new InvalidError(`invalid range ${JSON.stringify(part)}`, { code: 'INVALID_SPEC' });
    for (let i = from; i <= to; i++) bits.push(i);
  }
  const mask = new Uint8Array(Math.ceil((Math.max(0, ...bits) + 1) / 64) * 8);
  for (const bit of bits) mask[bit >> 3]! |= 1 << (bit & 7);
  return mask;
}
