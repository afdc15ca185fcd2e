import type { CgroupFacts } from '../host/index.js';
import { legacyController } from './legacy.js';
import { noController } from './plan.js';

/** Where limits and figures of one controller come from on this host. */
export interface ControllerReport {
  /** cgroup2's name. */
  controller: string;
  /** Mount point of the hierarchy that has it; undefined: it can't be used. */
  place: string | undefined;
  version: 1 | 2 | undefined;
  /** Why not, and what would change that. */
  why?: string | undefined;
  remedy?: string | undefined;
}

/** The controllers that Docker's flags need, and hugetlb. */
const CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids', 'io', 'hugetlb'];

/** What `doctor` and `info` say about controllers. */
export function controllerReport(facts: CgroupFacts): ControllerReport[] {
  return CONTROLLERS.map((controller) => {
    const mount = facts.v1[legacyController(controller)];
    if (mount) return { controller, place: mount, version: 1 };
    if (facts.unified && facts.controllers.includes(controller)) {
      if (facts.writable) return { controller, place: facts.unified, version: 2 };
      return {
        controller,
        place: undefined,
        version: undefined,
        why: `cgroup2 at ${facts.unified} is mounted read-only`,
        remedy: 'run nsbox where it is writable (in a container: with --privileged)',
      };
    }
    const { why, hint } = noController(controller, facts);
    return { controller, place: undefined, version: undefined, why, remedy: hint };
  });
}
