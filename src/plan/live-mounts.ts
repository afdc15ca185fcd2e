import type { HostFacts } from '../host/index.js';
import type { SpecMount } from '../spec/index.js';
import { mountSteps } from './mounts.js';
import type { LaunchPlan, NamespaceKind, Step } from './steps.js';

/** What decides how the mounts of a running container change. */
export interface LiveMountsInput {
  id: string;
  /** The container's first process, seen from the host. */
  pid: number;
  /** Namespaces to enter: those the container has of its own. */
  namespaces: NamespaceKind[];
  /** Attached in this order. */
  add: readonly SpecMount[];
  /** Paths, as the container sees them. */
  remove: readonly string[];
  host: HostFacts;
}

/**
 * Mounts for a container that runs → plan. Binds and filesystems of the host are made by the monitor and attached
 * inside, as at a start; what shows the container's own namespaces is made there. No program is run.
 * @throws InvalidError INVALID_SPEC for a mount that can't be made
 */
export function planLiveMounts(input: LiveMountsInput): LaunchPlan {
  let slots = 3;
  const parent: Step[] = [];
  const init: Step[] = [{ op: 'enterRoot' }];
  for (const mount of input.add) {
    const steps = mountSteps(mount, {
      userNamespace: input.namespaces.includes('user'),
      cgroupNamespace: input.namespaces.includes('cgroup'),
      host: input.host,
      v1Groups: [],
      nextSlot: () => slots++,
      idmapBinds: false,
    });
    parent.push(...steps.parent);
    init.push(...steps.init);
  }
  for (const path of input.remove) init.push({ op: 'unmount', path });
  init.push({ op: 'leave' });
  return {
    id: input.id,
    stdio: 'inherit',
    stdinOpen: false,
    leaveAfterStart: false,
    dieWithRuntime: false,
    passed: [],
    prepare: [],
    clone: {
      op: 'clone',
      namespaces: [],
      join: input.namespaces.length > 0 ? [{ namespaces: input.namespaces, pid: input.pid }] : [],
      keepNamespaces: false,
    },
    parent,
    init,
    exit: [],
    finish: [],
  };
}
